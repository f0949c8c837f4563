// A backup of configuration: the server's files and settings, and whatever files the user names, with owner, mode and links.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "codec/compression.h"
#include "logical/stream_reader.h"
#include "postgres/connection.h"
#include "repository/manifest.h"
#include "repository/repository.h"

namespace pgmint::logical {

struct ConfigRequest {
  repository::Cluster& cluster;
  postgres::ConnectOptions connect;
  fs::path data_directory{};
  bool is_remote = false;  ///< the server's files are on another machine: only what it says is taken
  std::vector<std::string> paths{};  ///< of further files and directories; '*', '?' and [...] as the shell has them. Each names something
  fs::path bin_directory{};
  std::string note{};
  codec::CodecChoice codec{};
  const CancelToken* cancel = nullptr;
};

struct ConfigReport {
  std::string name, parent;
  repository::SessionId session{};
  TimePoint started{}, finished{};
  std::size_t files = 0;
  std::uint64_t total_bytes = 0, stored_bytes = 0;
  std::vector<std::string> warnings;
  bool server_answered = true;  ///< false: its settings, extensions, roles or tablespaces are not in the backup; `warnings` say what
  bool has_all_files = true;    ///< false: likewise a file that is there to be had
};

/// What cannot be had is left out, and the report says so: the rest is taken all the same. @errors Storage, Key, Cancelled
Result<ConfigReport> back_up_config(const ConfigRequest& request);

/// Files of area 3, made from what the server said.
inline constexpr std::string_view kSettingsFile = "settings.json", kExtensionsFile = "extensions.json";

/// What such a backup has: files by area and path.
using ConfigTree = std::map<std::pair<repository::FileArea, std::string>, repository::FileEntry>;
/// @errors Precondition (a backup of another kind), NotFound, Corruption, Storage, Key
Result<ConfigTree> read_config_tree(const repository::Cluster& cluster, const repository::ManifestRoot& root);
/// The content of one of its files. @errors also ResourceLimit: above 64 MiB
Result<Bytes> read_config_file(const repository::Cluster& cluster, const repository::FileEntry& entry, const CancelToken* cancel);

/// Writes the files below `directory`, which must be empty or absent: those of the host under their absolute path, those that were made beside them.
/// Owners are set where that is allowed. @return how many. @errors Precondition, Io, and as read_config_file
Result<std::size_t> extract_config(const repository::Cluster& cluster, const ConfigTree& tree, const fs::path& directory, const CancelToken* cancel);

/// One difference between two trees, for people; `text` holds the lines that changed as `diff -u` writes them, where that makes sense.
struct ConfigDifference {
  std::string path, what, text;
};
/// @errors as read_config_file
Result<std::vector<ConfigDifference>> compare_config(const repository::Cluster& a_cluster, const ConfigTree& a, const repository::Cluster& b_cluster,
                                                     const ConfigTree& b, const CancelToken* cancel);

}  // namespace pgmint::logical

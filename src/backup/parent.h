// The backup that an incremental builds on: which one, and what it holds. Rules: POSTGRES 9.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "backup/stored_content.h"
#include "postgres/control_file.h"
#include "postgres/history.h"
#include "repository/manifest.h"
#include "repository/repository.h"

namespace pgmint::backup {

/// The newest live physical backup of the cluster's current identity: by its position in the WAL, not by a clock. nullptr: none.
const repository::LiveSnapshot* newest_physical(const repository::LogState& state);

struct ParentChoice {
  std::optional<repository::ManifestRoot> root;  ///< nullopt: none will do
  bool damaged = false;                          ///< the newest cannot be read
  std::string reason;                            ///< why none will do, for people; about the newest that might have
};
/// The newest live physical backup of the cluster's current identity, if an incremental may build on it as far as can be told
/// before the server was asked to start one. Not older ones: what makes the newest unfit is nearly always true of them too.
/// @errors Storage, Key
Result<ParentChoice> choose_parent(repository::Cluster& cluster, const postgres::ControlFile& control);

/// Why a backup that starts at `start` on history.target() cannot build on `parent`; nullopt: it can.
std::optional<std::string> history_problem(const repository::ManifestRoot& parent, const postgres::TimelineHistory& history,
                                           postgres::Lsn start);

/// What is kept of an entry of the parent's manifest; borrows its path.
struct ParentFile {
  StoredContent content;
  std::uint64_t size = 0;
  repository::FileArea area = repository::FileArea::Data;
  repository::FileKind kind = repository::FileKind::Empty;
  std::uint16_t path_length = 0;
  const char* path_text = nullptr;

  std::string_view path() const { return {path_text, path_length}; }
};

/// Texts that stay where they are, one behind the other.
class TextPool {
 public:
  const char* add(std::string_view text);
  std::uint64_t bytes() const { return blocks_.size() * kBlock; }

 private:
  static constexpr std::size_t kBlock = 64U << 10;
  std::vector<std::unique_ptr<char[]>> blocks_;
  std::size_t used_ = kBlock;  ///< of the last one
};

/// What the parent's manifest lists.
struct ParentFiles {
  std::deque<ParentFile> entries;  ///< in the order of the tree; millions, which a vector would hold twice while it grows
  TextPool paths;
  /// Every node of its tree by the SHA-256 of its plaintext: one that comes out the same again is not stored again.
  std::map<crypto::Digest, repository::RecordLocation> nodes;
  /// Likewise the pieces of its account of packs.
  std::map<crypto::Digest, repository::RecordLocation> account;

  /// The next one, in order. @param records  the same for all
  void add(const repository::FileEntry& entry, SharedRecords& records);
  /// nullptr: the parent has no such file.
  const ParentFile* find(repository::FileArea area, std::string_view path) const;
  /// Of memory that grows with the number of files.
  std::uint64_t bytes() const { return entries.size() * sizeof(ParentFile) + paths.bytes(); }
};
/// @errors NotFound (a pack is missing), Corruption, Storage, Key
Result<ParentFiles> read_parent_files(repository::Cluster& cluster, const repository::ManifestRoot& root);

}  // namespace pgmint::backup

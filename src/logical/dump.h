// A logical backup: pg_dump's archives and the globals, streamed into the repository. No plaintext touches a disk.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "codec/compression.h"
#include "logical/archive_scanner.h"
#include "postgres/connection.h"
#include "repository/manifest.h"
#include "repository/repository.h"

namespace pgmint::logical {

struct DumpProgress {
  std::string database;      ///< that is being dumped; empty: the globals, or the end
  std::uint64_t bytes = 0;   ///< of all archives so far
  std::uint64_t stored = 0;  ///< of packs
};

struct DumpRequest {
  repository::Cluster& cluster;
  postgres::ConnectOptions connect;       ///< to any database of the server
  std::vector<std::string> databases{};   ///< none: all that take connections and are no templates
  std::vector<std::string> schemas{}, tables{};  ///< patterns as pg_dump takes them; none: everything
  bool consistent = false;                ///< all databases as of one moment
  fs::path bin_directory{};               ///< of PostgreSQL's programs; empty: found
  std::string note{};
  codec::CodecChoice codec{};
  unsigned workers = 0;                   ///< 0: the cores
  const CancelToken* cancel = nullptr;
  std::function<void(const DumpProgress&)> progress{};
};

struct DumpedDatabase {
  std::string name;
  std::uint64_t length = 0;      ///< of the archive
  std::uint64_t shared = 0;      ///< of it: stored by the dump before
  std::uint64_t resembling = 0;  ///< of it: stored as what differs from the dump before
  std::uint64_t rows = 0;
  std::size_t tables = 0;
};

struct DumpReport {
  std::string name, parent;
  repository::SessionId session{};
  TimePoint started{}, finished{};
  std::vector<DumpedDatabase> databases;
  std::string moment;  ///< RFC 3339: that all databases show; empty: each shows its own
  std::size_t attempts = 0;  ///< that it took to see them so
  std::uint64_t total_bytes = 0, stored_bytes = 0;
  std::vector<std::string> warnings;
};

/// Dumps one database after the other; each is consistent in itself, and with `consistent` all show one moment (postgres/one_moment.h). Roles
/// and tablespaces are read apart, a moment earlier.
/// @errors Postgres (server, or pg_dump failed: its own words), Precondition (no pg_dump for this server, a database that is not there,
///         no moment that all databases could be seen at), Storage, Key, Cancelled
Result<DumpReport> dump(const DumpRequest& request);

/// Names in a logical backup's manifest. A database's name may hold any character; in paths, all but letters, digits, '_' and '-' are
/// written as %XX.
std::string database_directory(std::string_view database);
std::string database_of(std::string_view directory);
inline constexpr std::string_view kArchiveFile = "archive", kContentsFile = "contents.json", kGlobalsFile = "globals.sql";
/// A setting of the manifest, once for each database.
inline constexpr std::string_view kDumpedDatabaseSetting = "dumped_database";
/// A setting of the manifest where all databases show one moment: that moment, RFC 3339.
inline constexpr std::string_view kMomentSetting = "dumped_moment";
/// A setting of the manifest of a dump that was made by other means and imported: the file's name. Then `started` is the time that the
/// file tells, and `finished` when it had come in.
inline constexpr std::string_view kImportedFromSetting = "imported_from";

/// The contents list as it stands in the repository. Format: docs/format/logical.md.
std::string encode_contents(const DumpContents& contents);
/// @errors Corruption
Result<DumpContents> parse_contents(std::string_view text);

}  // namespace pgmint::logical

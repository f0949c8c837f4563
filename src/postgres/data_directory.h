// What is in a data directory, and what of it belongs in a backup.
// Rules: POSTGRES.md 3; source: src/backend/backup/basebackup.c (replication/basebackup.c before 15).
#pragma once

#include <sys/types.h>

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/cancel.h"
#include "base/file.h"
#include "postgres/relation.h"
#include "postgres/version_table.h"

namespace pgmint::postgres {

enum class EntryKind : std::uint8_t {
  Directory,
  Symlink,          ///< recorded, not followed (pg_wal among them when it is a link)
  TablespaceLink,   ///< pg_tblspc/<oid>; its contents are listed under the link's path
  RelationSegment,  ///< `relation` is set
  Slru,             ///< a segment of pg_xact, pg_multixact, pg_commit_ts, ...: fixed pages, no checksums
  ControlFile,      ///< global/pg_control: read last
  Required,         ///< PG_VERSION, pg_filenode.map, postgresql.auto.conf and other configuration: must not vanish
  Other             ///< always stored by content
};

/// One thing to be stored. Paths are relative to the data directory and use '/'; tablespace contents appear below
/// pg_tblspc. There may be millions: what few of them have stands in DirectoryScan.
struct DirectoryEntry {
  std::string path{};
  EntryKind kind = EntryKind::Other;
  mode_t mode = 0;  ///< permission bits only
  uid_t uid = 0;
  gid_t gid = 0;
  std::uint64_t size = 0;     ///< bytes when scanned
  std::int64_t mtime_ns = 0;  ///< since the epoch
  std::optional<RelationSegment> relation{};  ///< RelationSegment only
};

enum class Vanishing {
  Tolerated,  ///< relation and SLRU files: WAL replay knows what became of them
  Noted,      ///< other files: the backup goes on and says so
  Refused     ///< the backup is worthless without it; but see database_directory_of
};
/// What it means when an entry is gone by the time it is read.
Vanishing vanishing_rule(const DirectoryEntry& entry);
/// "base/5" or "pg_tblspc/16400/PG_15_202209061/5" for anything at or below a database's directory. When that directory
/// is itself gone by the end of the backup, DROP DATABASE explains even a missing pg_filenode.map; replay repeats the
/// drop.
std::optional<std::string> database_directory_of(std::string_view path);

struct ScannedTablespace {
  Oid oid;
  std::string location;   ///< link target; empty when in place
  bool in_place = false;  ///< a directory in pg_tblspc (allow_in_place_tablespaces): stays one
};

struct DirectoryScan {
  std::vector<DirectoryEntry> entries;         ///< sorted by path bytes; a directory precedes its contents
  std::map<std::string, std::string, std::less<>> link_targets;  ///< of Symlink and TablespaceLink, by path
  std::vector<ScannedTablespace> tablespaces;  ///< sorted by oid
  std::optional<std::string> wal_link;         ///< target of pg_wal when it is a symbolic link
  std::uint64_t total_bytes = 0;               ///< of files to be read
  std::uint64_t excluded_files = 0;
  std::vector<std::string> notes;  ///< what was passed over or treated specially, for the report; at most 1,000
};

struct ScanOptions {
  const CancelToken* cancel = nullptr;
  std::uint64_t entries_max = 50'000'000;
};

/// Walks the directory of a running or stopped cluster. Temporary files and relations, unlogged relations (all forks
/// but init), contents of pg_wal and the like are left out. Links where PostgreSQL keeps data (a linked pg_xact, a
/// linked relation file) are followed and noted, since a link alone would lose it; pg_wal and foreign links are
/// recorded.
/// @errors NotFound, Key, Io, Precondition (not a data directory, a version unknown, a link to data that leads
/// nowhere),
///         ResourceLimit, Cancelled
Result<DirectoryScan> scan_data_directory(const fs::path& data_directory, const ScanOptions& options = {});

/// Classification and exclusion by path alone, for names that come from elsewhere (a manifest, a base backup's tar).
/// Unlogged relations cannot be told by name. nullopt: excluded. Pure.
std::optional<EntryKind> classify_path(std::string_view path);
/// The relation segment that a path such as "base/5/16384.1" or "pg_tblspc/16400/PG_15_202209061/5/16385_vm" names.
std::optional<RelationSegment> relation_of_path(std::string_view path);
/// "PG_15_202209061": the directory inside a tablespace that belongs to this major.
std::string tablespace_version_directory(const VersionEntry& version);

}  // namespace pgmint::postgres

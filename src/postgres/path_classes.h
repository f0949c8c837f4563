// What PostgreSQL keeps where in a data directory, by name alone. Shared by the scan and by classify_path.
#pragma once

#include "postgres/data_directory.h"

namespace pgmint::postgres {

/// What kind of directory a file name stands in.
struct Place {
  enum class Kind : std::uint8_t {
    Root,               ///< the data directory
    Base,               ///< base/: database directories
    Global,             ///< global/
    Database,           ///< base/5, pg_tblspc/16400/PG_15_202209061/5
    TablespaceLinks,    ///< pg_tblspc/
    Tablespace,         ///< pg_tblspc/16400
    TablespaceVersion,  ///< pg_tblspc/16400/PG_15_202209061
    Slru,               ///< pg_xact, pg_multixact/members, ...
    Emptied,            ///< pg_wal, pg_replslot, ...: only the directory is kept
    Server,             ///< another directory of PostgreSQL's own: pg_twophase, pg_logical, ...
    Foreign             ///< anything that PostgreSQL does not know
  };
  Kind kind = Kind::Foreign;
  Oid tablespace;
  Oid database;
};

/// Where a directory of this name inside `parent` leads.
Place enter(const Place& parent, std::string_view name);

struct NameClass {
  bool excluded = false;
  EntryKind kind = EntryKind::Other;  ///< for a regular file
  std::optional<RelationSegment> relation;
};
/// For a file (or a directory about to be entered) of this name inside `place`.
NameClass classify_name(const Place& place, std::string_view name);

/// Directories that are kept although their parent is emptied: "archive_status" and "summaries" in pg_wal.
bool kept_in_wal_directory(std::string_view name);
/// A link of this name inside `place` stands for data of the server's own: it must be followed.
bool holds_server_data(const Place& place, std::string_view name);

}  // namespace pgmint::postgres

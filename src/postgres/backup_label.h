// backup_label and tablespace_map: texts in, texts out.
// Source: src/backend/access/transam/xlogbackup.c, xlogrecovery.c (read_backup_label, read_tablespace_map), xlog.c
// before 15.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "postgres/relation.h"
#include "postgres/version_table.h"
#include "postgres/wal_name.h"

namespace pgmint::postgres {

struct BackupLabel {
  Lsn start_lsn;                   ///< redo point of the backup's checkpoint
  TimelineId start_timeline;       ///< START TIMELINE
  std::string start_segment_file;  ///< as named in the label
  Lsn checkpoint_lsn;
  bool from_standby = false;  ///< BACKUP FROM: standby
  std::string method;         ///< "streamed"
  std::string start_time;     ///< PostgreSQL's words
  std::string label;
  std::optional<Lsn> incremental_from_lsn;  ///< 17+: an incremental, which cannot be started directly
};
/// @errors Corruption: not a label, or a line that PostgreSQL itself would not read
Result<BackupLabel> parse_backup_label(std::string_view text);
/// The label of an incremental as that of the whole backup that it makes together with its parent: without the lines that keep a server
/// from starting on it (pg_combinebackup leaves out the same). Other lines byte for byte. Pure.
std::string label_of_whole(std::string_view text);

struct TablespaceMapEntry {
  Oid oid;
  std::string location;
  bool operator==(const TablespaceMapEntry&) const = default;
};
/// Locations may hold blanks, line ends and backslashes; how they are escaped depends on the major.
/// @errors Corruption
Result<std::vector<TablespaceMapEntry>> parse_tablespace_map(std::string_view text, const VersionEntry& version);
/// The bytes that parse_tablespace_map, and the server, read back as `entries`; empty for none (then write no file).
/// @errors Usage: a location that this major's format cannot hold (13: a backslash before a line end or at the end)
Result<std::string> format_tablespace_map(const std::vector<TablespaceMapEntry>& entries, const VersionEntry& version);

}  // namespace pgmint::postgres

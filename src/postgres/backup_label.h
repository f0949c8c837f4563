// backup_label, tablespace_map and the recovery settings that a restore writes: texts in, texts out.
// Source: src/backend/access/transam/xlogbackup.c, xlogrecovery.c (read_backup_label, read_tablespace_map), xlog.c
// before 15.
#pragma once

#include <map>
#include <vector>

#include "base/error.h"
#include "postgres/relation.h"
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

struct TablespaceMapEntry {
  Oid oid;
  std::string location;
  bool operator==(const TablespaceMapEntry&) const = default;
};
/// Locations may hold newlines and backslashes, escaped in the file (backslash before newline, carriage return,
/// backslash; 13 and 14.0 escaped newlines only, which reads the same for every location without a backslash).
/// @errors Corruption
Result<std::vector<TablespaceMapEntry>> parse_tablespace_map(std::string_view text);
std::string format_tablespace_map(const std::vector<TablespaceMapEntry>& entries);

/// Configuration settings in order; names compare without case.
struct Setting {
  std::string name;
  std::string value;  ///< without quotes
};

/// Settings that say where recovery ends or whom to follow: recovery_target*, restore_command, archive_cleanup_command,
/// recovery_end_command, primary_conninfo, primary_slot_name, promote_trigger_file.
bool is_recovery_setting(std::string_view name);
/// The text of a postgresql.auto.conf without the settings that `drop` selects; comments and everything else stay as
/// they were. A text that cannot be understood line by line keeps the line.
std::string strip_settings(std::string_view text, bool (*drop)(std::string_view name) = is_recovery_setting);
/// Same, for given names.
std::string strip_settings(std::string_view text, const std::vector<std::string>& names);
/// Appends `settings` after a comment line, each "name = 'value'", quotes and backslashes as guc-file.l reads them.
/// @errors Usage: a name that is none, or a value with a newline or zero byte
Result<std::string> append_settings(std::string_view text, std::string_view comment,
                                    const std::vector<Setting>& settings);
/// The last value of a setting in a configuration text; nullopt when absent.
std::optional<std::string> find_setting(std::string_view text, std::string_view name);

}  // namespace pgmint::postgres

// PostgreSQL's configuration files as texts: what a restore strips from postgresql.auto.conf and what it adds.
// Source: src/backend/utils/misc/guc-file.l, 13 to 18 alike.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace pgmint::postgres {

/// Names compare without case.
struct Setting {
  std::string name;
  std::string value;  ///< without quotes
};

/// Settings that say where recovery ends or whom to follow: recovery_target*, restore_command, archive_cleanup_command,
/// recovery_end_command, primary_conninfo, primary_slot_name, promote_trigger_file,
/// recovery_min_apply_delay.
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

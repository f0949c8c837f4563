// Which keys of the configuration file differ from what this host's commands saw before: for the audit log. No value is told, nor kept.
#pragma once

#include <string>

#include "cli/config.h"

namespace pgmint::cli {

/// "/etc/pgmint/pgmint.toml: wal.batch added, jobs changed, recovery.high removed"; empty when nothing has, or nothing was seen before.
/// @errors Storage, Io: the state directory or the file cannot be read
Result<std::string> configuration_changes(const Configuration& configuration, const fs::path& state_directory);
/// From now on this is what was seen. @errors as above
Status remember_configuration(const Configuration& configuration, const fs::path& state_directory);

}  // namespace pgmint::cli

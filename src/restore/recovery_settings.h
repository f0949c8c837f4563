// The texts that tell PostgreSQL where to recover to, and a clone to leave its origin alone. Pure.
#pragma once

#include "postgres/configuration_text.h"
#include "restore/restore.h"

namespace pgmint::restore {

/// Where PostgreSQL is told to stop. As soon as consistent: for a standby's backup the record that its manifest names, since
/// recovery_target = 'immediate' waits for another one, which an idle primary does not write.
Target recovery_target(const Target& wanted, const repository::ManifestRoot& root);

/// What goes at the end of postgresql.auto.conf. @param timeline  written as a number, never "latest"
std::vector<postgres::Setting> recovery_settings(const Target& target, Action action, postgres::TimelineId timeline,
                                                 const std::string& restore_command, bool clone);

/// postgresql.auto.conf as the restored server shall read it: what the backup carried, without recovery settings, then ours.
Result<std::string> recovery_auto_conf(std::string_view carried, const std::vector<postgres::Setting>& settings, const std::string& backup);

/// A postgresql.conf without recovery targets, and, where it came from outside the data directory, without the settings that
/// point back there (data_directory, hba_file, ident_file, external_pid_file).
std::string usable_main_conf(std::string_view text, bool from_outside);

}  // namespace pgmint::restore

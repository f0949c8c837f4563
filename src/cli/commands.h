// One line per command: where the table finds it. Each is defined in cmd_<verb>.cc with its manual page.
#pragma once

#include "cli/command_table.h"

namespace pgmint::cli {

const CommandSpec& init_command();
const CommandSpec& backup_command();
const CommandSpec& list_command();
const CommandSpec& show_command();
const CommandSpec& restore_command();
const CommandSpec& plan_command();
const CommandSpec& validate_command();
const CommandSpec& backup_db_command();
const CommandSpec& restore_db_command();
const CommandSpec& diff_command();
const CommandSpec& export_command();
const CommandSpec& import_command();
const CommandSpec& wal_push_command();
const CommandSpec& wal_get_command();
const CommandSpec& wal_status_command();
const CommandSpec& wal_drain_command();
const CommandSpec& wal_show_command();
const CommandSpec& wal_prefetch_command();  ///< run by wal get itself; in no manual
const CommandSpec& verify_command();
const CommandSpec& expire_command();
const CommandSpec& collect_command();
const CommandSpec& lock_command();
const CommandSpec& hold_command();
const CommandSpec& release_command();
const CommandSpec& recover_command();
const CommandSpec& runbook_command();
const CommandSpec& repair_command();
const CommandSpec& replicate_command();
const CommandSpec& replicate_promote_command();
const CommandSpec& key_list_command();
const CommandSpec& key_add_command();
const CommandSpec& key_remove_command();
const CommandSpec& key_rotate_command();
const CommandSpec& key_check_command();
const CommandSpec& audit_list_command();
const CommandSpec& audit_verify_command();
const CommandSpec& audit_anchor_command();
const CommandSpec& cluster_adopt_command();
const CommandSpec& daemon_command();
const CommandSpec& schedule_show_command();
const CommandSpec& schedule_install_command();
const CommandSpec& status_command();
const CommandSpec& policy_aws_command();
const CommandSpec& roles_command();
const CommandSpec& report_command();
const CommandSpec& doctor_command();
const CommandSpec& metrics_command();
const CommandSpec& alert_check_command();
const CommandSpec& alert_test_command();
const CommandSpec& alert_list_command();
const CommandSpec& alert_dismiss_command();

}  // namespace pgmint::cli

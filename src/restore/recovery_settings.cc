#include "restore/recovery_settings.h"

#include <fmt/format.h>

namespace pgmint::restore {

std::string_view action_name(Action action) {
  switch (action) {
    case Action::Promote: return "promote";
    case Action::Pause: return "pause";
    case Action::Shutdown: return "shutdown";
  }
  return "promote";
}

Target recovery_target(const Target& wanted, const repository::ManifestRoot& root) {
  if (wanted.kind != TargetKind::Immediate) return wanted;
  for (const auto& [name, value] : root.settings) {
    if (name != repository::kConsistentAfterSetting) continue;
    const auto lsn = postgres::parse_lsn(value);
    if (!lsn) break;
    Target target = wanted;
    target.kind = TargetKind::Lsn;
    target.lsn = *lsn;
    return target;
  }
  return wanted;
}

std::vector<postgres::Setting> recovery_settings(const Target& target, Action action, postgres::TimelineId timeline,
                                                 const std::string& restore_command, bool clone) {
  std::vector<postgres::Setting> settings;
  settings.push_back({"restore_command", restore_command});
  settings.push_back({"recovery_target_timeline", fmt::format("{}", timeline.value())});
  bool bounded = true;
  switch (target.kind) {
    case TargetKind::Latest: bounded = false; break;
    case TargetKind::Immediate: settings.push_back({"recovery_target", "immediate"}); break;
    case TargetKind::Time: settings.push_back({"recovery_target_time", format_postgres(target.time)}); break;
    case TargetKind::Lsn: settings.push_back({"recovery_target_lsn", postgres::format(target.lsn)}); break;
    case TargetKind::Xid: settings.push_back({"recovery_target_xid", fmt::format("{}", target.xid)}); break;
    case TargetKind::Name: settings.push_back({"recovery_target_name", target.name}); break;
  }
  if (bounded) {
    settings.push_back({"recovery_target_inclusive", target.exclusive ? "off" : "on"});
    settings.push_back({"recovery_target_action", std::string(action_name(action))});
  }
  if (clone) {
    // A clone must not archive into its origin's repository, follow its primary, pull from its publishers, or make commits wait
    // for its standbys.
    settings.push_back({"archive_mode", "off"});
    settings.push_back({"primary_conninfo", ""});
    settings.push_back({"primary_slot_name", ""});
    settings.push_back({"max_logical_replication_workers", "0"});
    settings.push_back({"synchronous_standby_names", ""});
  }
  return settings;
}

Result<std::string> recovery_auto_conf(std::string_view carried, const std::vector<postgres::Setting>& settings, const std::string& backup) {
  std::string text = postgres::strip_settings(carried);
  std::vector<std::string> ours;
  for (const auto& s : settings) ours.push_back(s.name);
  text = postgres::strip_settings(text, ours);
  return postgres::append_settings(text, fmt::format("Written by pgmint restore of {}", backup), settings);
}

std::string usable_main_conf(std::string_view text, bool from_outside) {
  std::string usable = postgres::strip_settings(text, [](std::string_view name) { return name.starts_with("recovery_target"); });
  if (!from_outside) return usable;
  return postgres::strip_settings(usable, std::vector<std::string>{"data_directory", "hba_file", "ident_file", "config_file", "external_pid_file"});
}

}  // namespace pgmint::restore

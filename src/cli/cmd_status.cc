#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/units.h"
#include "cli/commands.h"
#include "cli/health.h"
#include "cli/mirror_facts.h"

namespace pgmint::cli {
namespace {

Json problems_json(const std::vector<Problem>& problems) {
  Json array = Json::array();
  for (const auto& problem : problems)
    array.push_back(
        {{"code", problem.code}, {"message", problem.message}, {"hint", problem.hint}, {"breach", problem.breach}});
  return array;
}

/// The newest ones, each of what it can bring back: a configuration backup of an hour ago brings back no row.
struct NewestBackups {
  const BackupFacts *cluster, *dump, *configuration;
};
NewestBackups newest_backups(const ClusterHealth& health) {
  const auto of_type = [&](repository::BackupType type) { return health.newest_backup([type](const BackupFacts& backup) { return backup.snap.type == type; }); };
  return {health.newest_backup(needs_wal), of_type(repository::BackupType::Logical), of_type(repository::BackupType::Config)};
}

Json to_json(const ClusterHealth& health) {
  const auto newest = health.recovery.newest();
  const auto last = newest_backups(health);
  const auto of = [](const BackupFacts* backup) { return backup == nullptr ? Json(nullptr) : to_json(*backup); };
  const auto takes = health.restore.total();
  return {{"name", health.name},
          {"state", health.state()},
          {"environment",
           health.settings == nullptr ? Json(nullptr) : Json(environment_name(health.settings->environment))},
          {"last_backup", of(last.cluster)},
          {"last_dump", of(last.dump)},
          {"last_config", of(last.configuration)},
          {"rpo",
           {{"objective_s", health.objectives.rpo.count()},
            {"current_s", health.exposure ? Json(health.exposure->count()) : Json(nullptr)}}},
          {"rto",
           {{"objective_s", health.objectives.rto.count()},
            {"estimated_s", takes ? Json(std::chrono::duration<double>(*takes).count()) : Json(nullptr)},
            {"at_least", takes && health.restore.is_partial()}}},
          {"last_proof", proof_json(health.proof)},
          {"recovery_window", newest ? window_json(*newest) : Json(nullptr)},
          {"wal", health.unreadable ? Json(nullptr) : wal_json(health.recovery)},
          {"verified", health.unreadable ? Json(nullptr) : proofs_json(health.proofs)},
          {"wal_verified", proofs_json(health.wal_proofs)},
          {"problems", problems_json(health.problems)}};
}

void print(Output& out, const ClusterHealth& health) {
  const std::string state(health.state());
  out.line(fmt::format("cluster {}: {}", health.name, state));
  const auto last = newest_backups(health);
  const auto tell = [&](std::string_view what, const BackupFacts* backup) {
    if (backup != nullptr) out.line(fmt::format("  {}: {}, {}", what, backup->snap.name, ago(backup->started())));
  };
  tell("newest backup", last.cluster);
  tell("newest dump", last.dump);
  tell("newest configuration backup", last.configuration);
  if (const auto newest = health.recovery.newest()) {
    const auto window = window_text(*newest);
    out.line(fmt::format("  recovery window: from {} to {}", window.from, window.to));
  }
  if (!health.unreadable)
    out.line(fmt::format("  could be lost now: {} (objective: {})",
                       !health.exposure                ? std::string(health.recovery.newest() ? "not known" : "everything")
                       : health.exposure->count() == 0 ? std::string("nothing")
                                                       : fmt::format("at most the last {}", human(*health.exposure)),
                       human(health.objectives.rpo)));
  if (const auto takes = health.restore.total())
    out.line(fmt::format("  a restore would take: {} {} (objective: {})", health.restore.is_partial() ? "at least" : "about", human(*takes), human(health.objectives.rto)));
  if (!health.backups.empty()) out.line(fmt::format("  read and found sound: {}", proofs_text(health.proofs)));
  if (!health.unreadable) out.line(fmt::format("  WAL read and found sound: {}", proofs_text(health.wal_proofs)));
  if (!health.backups.empty()) out.line(fmt::format("  last proven restore: {}", proof_text(health.proof)));
  for (const auto& problem : health.problems) {
    out.line(fmt::format("  {}: {}", problem.breach ? "PROBLEM" : "warning", problem.message));
    out.line(fmt::format("    next: {}", problem.hint));
  }
}

Result<int> run(Context& context) {
  const auto all = TRY(health_of_all(context, context.arguments().position("CLUSTER")));
  auto warnings = TRY(repository_warnings(context));
  const auto& repository = *TRY(context.repository());
  const auto mirrors = TRY(look_at_mirrors(context));
  for (auto& problem : mirror_problems(repository, mirrors, nullptr)) warnings.push_back(std::move(problem));
  Json clusters = Json::array(), mirrors_json = Json::array();
  if (repository.is_mirror()) context.output().line(fmt::format("repository: {}", mirror_text(repository)));
  for (const auto& mirror : mirrors) {
    mirrors_json.push_back(to_json(mirror));
    context.output().line(describe(mirror));
  }
  for (const auto& health : all) {
    clusters.push_back(to_json(health));
    print(context.output(), health);
  }
  if (all.empty()) context.output().line("no cluster is configured, and the repository holds none");
  for (const auto& warning : warnings) {
    context.output().line(fmt::format("warning: {}", warning.message));
    context.output().line(fmt::format("  next: {}", warning.hint));
  }
  context.output().document(
      {{"clusters", std::move(clusters)}, {"mirror", mirror_json(repository)}, {"mirrors", std::move(mirrors_json)}, {"warnings", problems_json(warnings)}});
  const bool breached =
      std::ranges::any_of(all, [](const ClusterHealth& health) { return health.state() == "breached"; });
  const auto unread = std::ranges::find_if(all, [](const ClusterHealth& health) { return health.unreadable.has_value(); });
  if (unread != all.end()) {
    print_error(*unread->unreadable);
    return exit_code(unread->unreadable->code());
  }
  return breached ? exit_code(Errc::Objective) : 0;
}

}  // namespace

const CommandSpec& status_command() {
  static const CommandSpec command = {
      .verb = "status",
      .summary = "say whether every cluster could be brought back now, and to which moment",
      .description = {"For monitoring. Each cluster's newest backup, its recovery window, and how much would be lost "
                      "if the host went now, against the objective of its environment: production 1 h, staging 24 h, "
                      "development 48 h. Missing WAL, a failing archiver, a missing backup or damage that verify found breach it.",
                      "How long a restore would take, by what earlier restores took, against production 4 h, staging 24 h, development 48 h; where none was "
                      "measured nothing is said. When a restored server was last validated (pgmint validate).",
                      "A cluster that cannot be read is named, beside all that can be said of the others; the exit code is that of its error.",
                      "How far each mirror ([[mirror]]) lags behind; of a repository that is one itself, which moment it shows.",
                      "Warns until a key that lives off this host has been opened once."},
      .positionals =
          {{.name = "CLUSTER", .text = "Default: all clusters.", .required = false, .completes = Completes::Cluster}},
      .options = {},
      .exits = {{10, "An objective is breached; the problems are named."}},
      .examples = {{"pgmint status --json", "For a monitoring system: alert on exit 10."}},
      .see_also = {"doctor", "list", "wal status"},
      .only_reads = true,
      .repositories = Repositories::Each,
      .run = run,
  };
  return command;
}

}  // namespace pgmint::cli

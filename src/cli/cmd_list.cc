#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "cli/cluster_choice.h"
#include "cli/commands.h"
#include "cli/mirror_facts.h"
#include "cli/recovery_facts.h"

namespace pgmint::cli {
namespace {

struct Listed {
  std::vector<BackupFacts> backups;
  RecoveryFacts recovery;
};

Json to_json(repository::Cluster& cluster, const Listed& listed) {
  Json backups = Json::array(), windows = Json::array();
  for (const auto& backup : listed.backups) backups.push_back(to_json(backup));
  for (const auto& window : listed.recovery.windows) windows.push_back(window_json(window));
  const auto newest = listed.recovery.newest();
  return {{"name", cluster.state().cluster_name()},
          {"id", cluster.id().hex()},
          {"system_identifier", std::to_string(cluster.state().system_id())},
          {"incarnation", cluster.state().incarnation().value()},
          {"backups", std::move(backups)},
          {"recovery_window", newest ? window_json(*newest) : Json(nullptr)},
          {"recovery_windows", std::move(windows)},
          {"wal", wal_json(listed.recovery)}};
}

void print(Output& out, repository::Cluster& cluster, const Listed& listed) {
  out.line(
      fmt::format("cluster {} (system identifier {})", cluster.state().cluster_name(), cluster.state().system_id()));
  if (listed.backups.empty()) {
    out.line("no backups");
  } else {
    std::vector<std::vector<std::string>> rows;
    for (const auto& backup : listed.backups) rows.push_back(backup_row(backup));
    out.line(text_table(backup_headings(), rows));
  }
  if (listed.recovery.min) out.line(fmt::format("WAL: {} to {}", *listed.recovery.min, *listed.recovery.max));
  for (const auto& gap : listed.recovery.gaps)
    out.line(fmt::format("WAL MISSING: {}", repository::describe(gap, listed.recovery.inventory.segment_size())));
  std::size_t moments = 0;
  for (const auto& window : listed.recovery.windows) {
    if (window.from == window.to && &window != &listed.recovery.windows.back()) {
      ++moments;
    } else {
      const auto text = window_text(window);
      out.line(fmt::format("recovery window: from {} to {}", text.from, text.to));
    }
  }
  if (moments > 0)
    out.line(fmt::format("and {} with --immediate, as {} when {} ended", counted(moments, "older backup"),
                         moments == 1 ? "it was" : "they were", moments == 1 ? "it" : "they"));
  if (listed.recovery.windows.empty() && !listed.backups.empty()) out.line("recovery window: none");
}

Result<int> run(Context& context) {
  auto clusters = TRY(clusters_to_show(context, context.arguments().position("CLUSTER")));
  Json all = Json::array();
  bool damaged = false, first = true;
  const auto& repository = *TRY(context.repository());
  if (repository.is_mirror()) context.output().line(fmt::format("repository: {}", mirror_text(repository)));
  for (const auto& cluster : clusters) {
    Listed listed;
    listed.backups = TRY(backups_of(*cluster));
    listed.recovery = TRY(recovery_facts(*cluster, listed.backups));
    for (const auto& backup : listed.backups) {
      if (backup.problem.empty()) continue;
      damaged = true;
      print_warning(fmt::format("{}: {}", backup.snap.name, backup.problem));
    }
    all.push_back(to_json(*cluster, listed));
    if (!first) context.output().line("");
    first = false;
    print(context.output(), *cluster, listed);
  }
  if (clusters.empty()) context.output().line("no clusters yet: pgmint backup takes the first backup");
  context.output().document({{"clusters", std::move(all)}, {"mirror", mirror_json(repository)}});
  return damaged ? exit_code(Errc::Corruption) : 0;
}

}  // namespace

const CommandSpec& list_command() {
  static const CommandSpec command = {
      .verb = "list",
      .summary = "list backups, archived WAL and the recovery window",
      .description = {"Shows each backup, how long it took, its size as restored and as stored, the WAL that it needs, "
                      "and from when to when the cluster can be recovered: "
                      "restore --time takes any moment in that window.",
                      "Missing WAL is named. It ends a window: a recovery cannot cross it, and a later backup begins "
                      "another one."},
      .positionals = {{.name = "CLUSTER",
                       .text = "Default: all clusters of the repository.",
                       .required = false,
                       .completes = Completes::Cluster}},
      .options = {},
      .exits = {{8, "A backup's manifest is damaged; the listing is complete otherwise."}},
      .examples = {{"pgmint list", "What there is, and how far back one can go."}},
      .see_also = {"show", "restore", "status"},
      .only_reads = true,
      .repositories = Repositories::Each,
      .run = run,
  };
  return command;
}

}  // namespace pgmint::cli

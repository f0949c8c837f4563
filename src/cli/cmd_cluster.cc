#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "cli/cluster_choice.h"
#include "cli/commands.h"

namespace pgmint::cli {
namespace {

Result<int> run_adopt(Context& context) {
  const auto name = *context.arguments().position("CLUSTER");
  const auto* settings = TRY(configured_cluster(context, name));
  const auto identifier = TRY(control_of(*settings)).system_identifier;
  auto& repository = *TRY(context.repository());
  const auto reason = context.arguments().get("--reason").value_or("");
  auto& out = context.output();

  auto cluster = TRY(repository.find_cluster(name, identifier.value()));
  if (!cluster) {
    // A copy that lives on by itself: the same system identifier, a place of its own.
    const auto lock = TRY(lock_repository(context));
    cluster = TRY(repository.create_cluster(name, identifier.value()));
    out.document({{"cluster", name},
                  {"system_identifier", std::to_string(identifier.value())},
                  {"incarnation", cluster->state().incarnation().value()},
                  {"new", true}});
    out.line(fmt::format("cluster {} is new in the repository (system identifier {}). Next: pgmint backup {}", name,
                         identifier.value(), name));
    return 0;
  }
  const auto& state = cluster->state();
  if (state.system_id() == identifier.value())
    return Error(Errc::Precondition,
                 fmt::format("cluster {} is system identifier {} already", name, identifier.value()),
                 Hint{fmt::format("pgmint backup {}", name)});
  const auto before = state.system_id();
  TRY(cluster->log().append(cluster->actor(), [&](const repository::LogState& now) -> Result<repository::EntryContent> {
    std::uint32_t highest = now.incarnation().value();
    for (const auto& [system_id, incarnation] : now.identities()) highest = std::max(highest, incarnation.value());
    return repository::EntryContent(
        repository::AdoptEntry{identifier.value(), repository::Incarnation(highest + 1), reason});
  }));
  out.document({{"cluster", name},
                {"system_identifier", std::to_string(identifier.value())},
                {"incarnation", cluster->state().incarnation().value()},
                {"new", false}});
  out.line(
      fmt::format("cluster {} is now system identifier {} (before: {}). What was stored stays and restores; next, a "
                  "full backup: pgmint backup {}",
                  name, identifier.value(), before, name));
  return 0;
}

}  // namespace

const CommandSpec& cluster_adopt_command() {
  static const CommandSpec command = {
      .verb = "cluster adopt",
      .summary = "let a new server take a cluster's place",
      .description = {"After initdb anew or pg_upgrade, a server has another system identifier: its WAL and backups do "
                      "not go with those from before. Until it is adopted, backup and wal push refuse it, "
                      "since a wrong data_directory looks the same.",
                      "Adopting opens a new incarnation: from now on the name means the new server; backups and WAL "
                      "from before stay, restore, and never meet those from after.",
                      "A name that the repository does not know yet is entered as a cluster of its own, even where "
                      "another cluster has the same system identifier: a copy that was restored and lives on."},
      .positionals = {{.name = "CLUSTER", .text = "A configured cluster.", .completes = Completes::Cluster}},
      .options = {{.name = "--reason", .value = "TEXT", .text = "For the audit log."}},
      .exits = {{4, "The cluster is that server already; nothing was changed."}},
      .examples = {{"pgmint cluster adopt main --reason \"pg_upgrade 15 to 17\"", "Then take a full backup."}},
      .see_also = {"backup", "audit list"},
      .changes_repository = true,
      .repositories = Repositories::Each,
      .run = run_adopt,
  };
  return command;
}

}  // namespace pgmint::cli

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "cli/cluster_choice.h"
#include "cli/commands.h"
#include "repository/layout.h"
#include "repository/rebuild.h"

namespace pgmint::cli {
namespace {

/// A damaged log cannot say its cluster's name, so that a cluster may be named by its id; without a name there must be
/// one.
Result<repository::ClusterId> cluster_to_repair(Context& context, repository::Repository& repository) {
  const auto ids = TRY(repository.environment().store.list_parts(std::string(repository::kClustersPrefix)));
  const auto given = context.arguments().position("CLUSTER");
  if (given) {
    if (const auto id = repository::ClusterId::parse(*given)) return *id;
    auto found = repository.find_cluster(*given, std::nullopt);
    if (found && *found) return (*found)->id();
  } else if (ids.size() == 1) {
    if (const auto id = repository::ClusterId::parse(ids.front())) return *id;
  }
  std::string known;
  for (const auto& id : ids) known += (known.empty() ? "" : ", ") + id;
  return Error(given ? Errc::Configuration : Errc::Usage,
               fmt::format("which cluster? {}",
                           ids.empty() ? "the repository holds none" : "the repository holds the ids " + known),
               Hint{"pgmint repair --rebuild-log CLUSTER, by name or by id"});
}

Result<int> run(Context& context) {
  if (context.arguments().has("--undelete"))
    return Error(Errc::Precondition, fmt::format("repair --undelete: not in this version (pgmint {})", PGMINT_VERSION),
                 Hint{"pgmint repair --help"});
  if (!context.arguments().has("--rebuild-log"))
    return Error(Errc::Usage, "repair needs --rebuild-log", Hint{"pgmint repair --help"});
  auto& repository = *TRY(context.repository());
  const auto id = TRY(cluster_to_repair(context, repository));
  const auto report = TRY(repository::rebuild_log(repository, id));
  auto& out = context.output();
  out.document({{"cluster", id.hex()},
                {"generation", report.generation},
                {"recovered", report.recovered},
                {"incomplete", report.incomplete},
                {"unreadable", report.unreadable}});
  out.line(fmt::format("cluster {}: the log goes on in generation {} with {}", id.hex(), report.generation,
                       counted(report.recovered.size(), "backup")));
  for (const auto& name : report.recovered) out.line("  " + name);
  for (const auto& name : report.incomplete) out.line(fmt::format("  left out, objects are missing: {}", name));
  for (const auto& name : report.unreadable) out.line(fmt::format("  left out, cannot be read: {}", name));
  out.line("Next: pgmint verify --read-data");
  return report.incomplete.empty() && report.unreadable.empty() ? 0 : exit_code(Errc::Corruption);
}

}  // namespace

const CommandSpec& repair_command() {
  static const CommandSpec command = {
      .verb = "repair",
      .summary = "make a damaged log anew",
      .description =
          {"When log entries are damaged or gone, the backups are still there: each has a manifest of its own. "
           "--rebuild-log opens a new generation of the log, signed by the root key, from the manifests and from what "
           "can "
           "still be read of the old log. Backups whose objects are not all there are left out and named. Nothing is "
           "removed.",
           "restore --from-manifest needs no log at all: when there is no time, restore first and repair later."},
      .positionals = {{.name = "CLUSTER",
                       .text =
                           "By name, or by the id that stands in the repository; may be left out when there is one.",
                       .required = false,
                       .completes = Completes::Cluster}},
      .options = {{.name = "--rebuild-log", .value = "", .text = "Open a new generation of the log."},
                  {.name = "--undelete", .value = "", .text = "Not in this version."}},
      .exits = {{8, "Done, but something could not be taken over; it is named."}},
      .examples = {{"pgmint repair --rebuild-log main", "After audit verify or list reported a damaged log."}},
      .see_also = {"verify", "audit verify", "restore"},
      .run = run,
  };
  return command;
}

}  // namespace pgmint::cli

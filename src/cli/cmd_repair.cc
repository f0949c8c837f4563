#include <fmt/format.h>
#include <fmt/ranges.h>

#include <nlohmann/json.hpp>

#include "cli/cluster_choice.h"
#include "cli/commands.h"
#include "cli/undelete_run.h"
#include "repository/layout.h"
#include "repository/rebuild.h"

namespace pgmint::cli {
namespace {

struct ToRepair {
  repository::ClusterId id{};
  std::string name_if_lost;  ///< for when not even the log's first entry can be read
};

/// The name that a log without one will bear: --name, or that of the only configured cluster.
Result<std::string> name_if_lost(Context& context) {
  if (const auto name = context.arguments().get("--name")) return *name;
  const auto& clusters = TRY(context.configuration())->clusters;
  return clusters.size() == 1 ? clusters.front().name : std::string();
}

/// The cluster whose log says `name`, however damaged it is behind that; else the only one whose log says no name at
/// all.
Result<std::optional<ToRepair>> cluster_by_name(repository::Repository& repository, const std::string& name,
                                                const std::vector<std::string>& ids) {
  std::vector<repository::ClusterId> named, nameless;
  for (const auto& text : ids) {
    const auto id = repository::ClusterId::parse(text);
    if (!id) continue;
    auto cluster = repository.open_cluster(*id);
    if (!cluster && cluster.error().code() == Errc::Key && ids.size() > 1) continue;  // another host's
    if (!cluster) return std::move(cluster.error());
    const auto said = TRY((*cluster)->log().salvage()).state.cluster_name();
    if (said == name) named.push_back(*id);
    // A key ring alone is a creation that was cut off: its log is sound, and there is nothing to repair.
    if (said.empty() && !(*cluster)->log().refresh()) nameless.push_back(*id);
  }
  if (named.size() == 1) return ToRepair{named.front(), name};
  if (named.empty() && nameless.size() == 1) return ToRepair{nameless.front(), name};
  return std::optional<ToRepair>();
}

/// A damaged log may not say its cluster's name any more, so that a cluster may be named by its id; without either
/// there must be one.
Result<ToRepair> cluster_to_repair(Context& context, repository::Repository& repository) {
  const auto ids = TRY(repository.environment().store.list_parts(std::string(repository::kClustersPrefix)));
  const auto given = context.arguments().position("CLUSTER");
  if (given) {
    if (const auto id = repository::ClusterId::parse(*given)) return ToRepair{*id, TRY(name_if_lost(context))};
    if (auto found = TRY(cluster_by_name(repository, *given, ids))) return std::move(*found);
  } else if (ids.size() == 1) {
    if (const auto id = repository::ClusterId::parse(ids.front())) return ToRepair{*id, TRY(name_if_lost(context))};
  }
  return Error(given ? Errc::Configuration : Errc::Usage,
               fmt::format("which cluster? {}",
                           ids.empty() ? std::string("the repository holds none")
                                       : fmt::format("the repository holds the ids {}", fmt::join(ids, ", "))),
               Hint{"pgmint repair --rebuild-log CLUSTER, by name or by id; with an id, --name NAME when the log has "
                    "lost the name"});
}

Result<int> run(Context& context) {
  context.look_past_copies();
  if (context.arguments().has("--undelete"))
    return run_undelete(context);
  if (!context.arguments().has("--rebuild-log"))
    return Error(Errc::Usage, "repair needs --rebuild-log or --undelete", Hint{"pgmint repair --help"});
  auto& repository = *TRY(context.repository());
  const auto [id, lost_name] = TRY(cluster_to_repair(context, repository));
  const auto report = TRY(repository::rebuild_log(repository, id, lost_name));
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
      .summary = "make a damaged log anew, or bring back what was deleted from a bucket",
      .description =
          {"When log entries are damaged or gone, the backups are still there: each has a manifest of its own. "
           "--rebuild-log opens a new generation of the log, signed by the root key, from the manifests and from what "
           "can "
           "still be read of the old log. Backups whose objects are not all there are left out and named. Nothing is "
           "removed.",
           "--undelete is for a bucket with versioning in which somebody has deleted or overwritten objects: each comes back as it was first written, as a copy before all other versions, and "
           "nothing is removed. Without --yes it only shows what would come back. Then all that the logs promise is looked for, and key slots that the log says were removed are "
           "removed again. Without --since what collect has removed comes back too, where its versions still stand; the next collect removes it again.",
           "restore --from-manifest needs no log at all: when there is no time, restore first and repair later."},
      .positionals = {{.name = "CLUSTER",
                       .text =
                           "By name, or by the id that stands in the repository; may be left out when there is one.",
                       .required = false,
                       .completes = Completes::Cluster}},
      .options = {{.name = "--rebuild-log", .value = "", .text = "Open a new generation of the log."},
                  {.name = "--name",
                   .value = "NAME",
                   .text =
                       "The cluster's name, for when CLUSTER is an id and the log has lost the name. Default: the only "
                       "configured cluster's."},
                  {.name = "--undelete",
                   .value = "",
                   .text = "In a bucket that keeps versions: show what was deleted or overwritten; with --yes bring it back."},
                  {.name = "--since", .value = "TIME", .text = "With --undelete: only what was deleted or overwritten at or after that time, by the store's clock."}},
      .exits = {{8, "Done, but something could not be taken over; it is named."}},
      .examples = {{"pgmint repair --rebuild-log main", "After audit verify or list reported a damaged log."},
                   {"pgmint repair --undelete --since \"2026-11-22 08:00:00+00\" --yes", "After somebody with the bucket's credentials deleted the backups."}},
      .see_also = {"verify", "audit verify", "restore"},
      .changes_repository = true,
      .run = run,
  };
  return command;
}

}  // namespace pgmint::cli

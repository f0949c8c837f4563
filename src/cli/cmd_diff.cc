#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "cli/cluster_choice.h"
#include "cli/commands.h"
#include "logical/config_backup.h"

namespace pgmint::cli {
namespace {

struct Side {
  FoundBackup found;
  std::string name;
  logical::ConfigTree tree;
};

Result<Side> side(Context& context, const char* position) {
  Side side{TRY(find_backup(context, *context.arguments().position(position), context.arguments().get("--cluster"))), "", {}};
  const auto root = TRY(repository::read_root(side.found.cluster->store(), side.found.cluster->context(), side.found.session, side.found.cluster->keys()));
  side.name = root.name;
  side.tree = TRY(logical::read_config_tree(*side.found.cluster, root));
  return side;
}

Result<int> run(Context& context) {
  const auto a = TRY(side(context, "A")), b = TRY(side(context, "B"));
  const auto differences = TRY(logical::compare_config(*a.found.cluster, a.tree, *b.found.cluster, b.tree, &context.cancel()));
  Json all = Json::array();
  for (const auto& difference : differences) {
    all.push_back({{"path", difference.path}, {"what", difference.what}, {"diff", difference.text.empty() ? Json(nullptr) : Json(difference.text)}});
    context.output().line(fmt::format("{}: {}", difference.path, difference.what));
    if (!difference.text.empty()) context.output().line(difference.text);
  }
  if (differences.empty()) context.output().line("no differences");
  context.output().document({{"a", a.name}, {"b", b.name}, {"differences", std::move(all)}});
  return differences.empty() ? 0 : exit_code(Errc::NotFound);
}

}  // namespace

const CommandSpec& diff_command() {
  static const CommandSpec command = {
      .verb = "diff",
      .summary = "compare two configuration backups",
      .description = {"Names the files that came, went or changed between two backups of --type config, with the lines that changed, and owners and modes; "
                      "settings.json is what pg_settings said, a line for each."},
      .positionals = {{.name = "A", .text = "The older one, as list shows it."}, {.name = "B", .text = "The newer one."}},
      .options = {{.name = "--cluster", .value = "NAME", .text = "Where several clusters have a backup of that name.", .completes = Completes::Cluster}},
      .exits = {{1, "There are differences, or there is no such backup."}, {4, "One of them is no configuration backup."}},
      .examples = {{"pgmint diff 20261122T030000Z-config 20261129T030000Z-config", "What changed within that week."}},
      .see_also = {"backup", "export", "list"},
      .only_reads = true,
      .repositories = Repositories::Fitting,
      .run = run,
  };
  return command;
}

}  // namespace pgmint::cli

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/units.h"
#include "cli/cluster_choice.h"
#include "cli/commands.h"
#include "repository/collect.h"
#include "storage/posix_store.h"

namespace pgmint::cli {
namespace {

Result<int> run(Context& context) {
  const bool dry_run = context.arguments().has("--dry-run");
  auto clusters = TRY(clusters_to_show(context, context.arguments().get("--cluster")));
  std::uint64_t objects = 0, bytes = 0;
  const auto& place = TRY(context.place())->settings;
  storage::TemporaryFiles left;
  if (!place.is_s3()) {
    const auto root = TRY(place.directory());
    const auto old = system_clock().now() - storage::kTemporaryFilesStay;
    left = TRY(dry_run ? storage::find_temporary_files(root, old) : storage::sweep_temporary_files(root, old));
  }
  Json each = Json::array();
  for (const auto& cluster : clusters) {
    TRY(context.cancel().check());
    const auto& name = cluster->state().cluster_name();
    const auto done = TRY((dry_run ? repository::plan_collection(*cluster) : repository::collect(*cluster))
                              .context(fmt::format("cluster {}", name)));
    objects += done.remove.size();
    bytes += done.remove_bytes;
    each.push_back({{"cluster", name},
                    {"objects", done.remove.size()},
                    {"size_bytes", done.remove_bytes},
                    {"wal_objects", done.remove_wal},
                    {"wal_size_bytes", done.remove_wal_bytes},
                    {"expired_sessions", done.expired.size()},
                    {"locked_objects", done.locked.size()},
                    {"locked_bytes", done.locked_bytes},
                    {"live_packs", done.live_packs},
                    {"live_bytes", done.live_bytes},
                    {"unknown_objects", done.unknown.size()},
                    {"unknown_bytes", done.unknown_bytes}});
    context.output().line(fmt::format("cluster {}: {} {}, {} (WAL: {}, {}); {} past their lease; {} live in {}", name,
                                      dry_run ? "would remove" : "removed", counted(done.remove.size(), "object"),
                                      human(ByteCount(done.remove_bytes)), counted(done.remove_wal, "object"),
                                      human(ByteCount(done.remove_wal_bytes)), counted(done.expired.size(), "session"),
                                      human(ByteCount(done.live_bytes)), counted(done.live_packs, "pack")));
    if (!done.locked.empty())
      context.output().line(fmt::format("cluster {}: {} ({}) that nothing needs stay for now: the store has locked them. A later run removes them", name, counted(done.locked.size(), "object"), human(ByteCount(done.locked_bytes))));
    if (!done.unknown.empty())
      print_warning(fmt::format(
          "cluster {}: {} objects ({}) belong to no session that the log knows; they are never removed by themselves",
          name, done.unknown.size(), human(ByteCount(done.unknown_bytes))));
  }
  if (left.files > 0)
    context.output().line(fmt::format("{} {} that writers which died had left, {}", dry_run ? "would remove" : "removed", counted(left.files, "temporary file"),
                                      human(ByteCount(left.bytes))));
  context.output().document({{"dry_run", dry_run},
                             {"objects", objects},
                             {"size_bytes", bytes},
                             {"temporary_files", left.files},
                             {"temporary_bytes", left.bytes},
                             {"clusters", std::move(each)}});
  return 0;
}

}  // namespace

const CommandSpec& collect_command() {
  static const CommandSpec command = {
      .verb = "collect",
      .summary = "remove what no backup needs",
      .description = {"Ends sessions whose lease has passed, such as that of a backup whose host died, and removes the "
                      "objects that no backup, no hold and no running operation needs: what expire has let go, WAL among it. "
                      "Nothing goes before the log says durably that it may. Temporary files that a writer left when it was killed go after a day."},
      .positionals = {},
      .options =
          {{.name = "--dry-run", .value = "", .text = "Show what would go; change nothing."},
           {.name = "--cluster", .value = "NAME", .text = "Default: all clusters.", .completes = Completes::Cluster}},
      .exits = {},
      .examples = {{"pgmint collect --dry-run", "What a run would free."}},
      .see_also = {"expire", "list", "audit list"},
      .changes_repository = true,
      .leaves_note = true,
      .repositories = Repositories::Each,
      .run = run,
  };
  return command;
}

}  // namespace pgmint::cli

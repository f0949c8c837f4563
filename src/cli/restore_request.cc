#include "cli/restore_request.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "cli/option_values.h"
#include "cli/recall_command.h"

namespace pgmint::cli {
namespace {

Error usage(std::string message) {
  return Error(Errc::Usage, std::move(message), Hint{"pgmint restore --help"});
}

/// At most one of the options that say where to stop.
Result<restore::Target> target_of(const Arguments& arguments) {
  restore::Target target;
  int given = 0;
  for (const auto* option : {"--time", "--lsn", "--xid", "--name", "--immediate", "--latest"})
    given += arguments.has(option) ? 1 : 0;
  if (given > 1) return usage("more than one target: only one of --time, --lsn, --xid, --name, --immediate, --latest");
  if (const auto text = arguments.get("--time")) {
    target.kind = restore::TargetKind::Time;
    target.time = TRY(parse_time(*text).context("--time"));
  }
  if (const auto text = arguments.get("--lsn")) {
    const auto lsn = postgres::parse_lsn(*text);
    if (!lsn || !postgres::is_valid(*lsn)) return usage(fmt::format("--lsn {}: not an LSN such as 0/3000028", *text));
    target.kind = restore::TargetKind::Lsn;
    target.lsn = *lsn;
  }
  if (const auto text = arguments.get("--xid")) {
    target.kind = restore::TargetKind::Xid;
    target.xid = static_cast<std::uint32_t>(TRY(parse_number(*text, "--xid", 3, 0xFFFFFFFFU)));
  }
  if (const auto text = arguments.get("--name")) {
    target.kind = restore::TargetKind::Name;
    target.name = *text;
  }
  if (arguments.has("--immediate")) target.kind = restore::TargetKind::Immediate;
  target.exclusive = arguments.has("--exclusive");
  const bool can_exclude = target.kind == restore::TargetKind::Time || target.kind == restore::TargetKind::Lsn ||
                           target.kind == restore::TargetKind::Xid;
  if (target.exclusive && !can_exclude) return usage("--exclusive goes with --time, --lsn or --xid");
  if (const auto text = arguments.get("--timeline"); text && *text != "latest") {
    const auto timeline = postgres::parse_timeline(*text);
    if (!timeline) return usage(fmt::format("--timeline {}: not a timeline", *text));
    target.timeline = *timeline;
  }
  return target;
}

Result<std::vector<std::pair<std::string, std::string>>> tablespaces_of(const Arguments& arguments) {
  std::vector<std::pair<std::string, std::string>> mapped;
  for (const auto& text : arguments.all("--tablespace")) {
    const auto equals = text.find('=');
    if (equals == std::string::npos || equals == 0 || equals + 1 == text.size())
      return usage(fmt::format("--tablespace {}: write OLD=NEW", text));
    mapped.emplace_back(text.substr(0, equals), text.substr(equals + 1));
    for (const auto& path : {mapped.back().first, mapped.back().second})
      if (!path.starts_with('/') && path.find_first_not_of("0123456789") != std::string::npos)
        return usage(fmt::format("--tablespace {}: \"{}\" is not an absolute path", text, path));
  }
  return mapped;
}

restore::Action action_of(const Arguments& arguments) {
  const auto text = arguments.get("--action").value_or("promote");
  if (text == "pause") return restore::Action::Pause;
  return text == "shutdown" ? restore::Action::Shutdown : restore::Action::Promote;
}

std::string_view kind_name(restore::TargetKind kind) {
  switch (kind) {
    case restore::TargetKind::Latest:
      return "latest";
    case restore::TargetKind::Immediate:
      return "immediate";
    case restore::TargetKind::Time:
      return "time";
    case restore::TargetKind::Lsn:
      return "lsn";
    case restore::TargetKind::Xid:
      return "xid";
    case restore::TargetKind::Name:
      return "name";
  }
  return "latest";
}

}  // namespace

Json target_json(const restore::Target& target) {
  Json value = nullptr;
  switch (target.kind) {
    case restore::TargetKind::Latest:
    case restore::TargetKind::Immediate:
      break;
    case restore::TargetKind::Time:
      value = format_rfc3339(target.time);
      break;
    case restore::TargetKind::Lsn:
      value = postgres::format(target.lsn);
      break;
    case restore::TargetKind::Xid:
      value = std::to_string(target.xid);
      break;
    case restore::TargetKind::Name:
      value = target.name;
      break;
  }
  return {{"kind", kind_name(target.kind)}, {"value", std::move(value)}, {"inclusive", !target.exclusive}};
}

Result<AskedRestore> asked_restore(Context& context, const std::optional<std::string>& to) {
  const auto& arguments = context.arguments();
  const auto target = TRY(target_of(arguments));
  auto tablespaces = TRY(tablespaces_of(arguments));
  fs::path place;
  if (to) {
    std::error_code failed;
    place = fs::absolute(*to, failed).lexically_normal();
    if (failed || place.empty()) return usage(fmt::format("--to {}: {}", *to, failed ? failed.message() : "not a directory"));
  }
  const bool from_manifest = arguments.has("--from-manifest");
  auto cluster = TRY(from_manifest ? cluster_without_log(context, arguments.position("CLUSTER"))
                                   : existing_cluster(context, arguments.position("CLUSTER")));
  const auto name = cluster->state().has_genesis() ? cluster->state().cluster_name() : cluster->id().hex();
  restore::RestoreRequest request{.cluster = *cluster,
                                  .to = std::move(place),
                                  .backup = arguments.get("--backup"),
                                  .target = target,
                                  .action = action_of(arguments),
                                  .tablespaces = std::move(tablespaces),
                                  .own_data_directory = {},
                                  .restore_command = restore_command_line(context, name),
                                  .max_rate = {},
                                  .progress = {}};
  request.keep_archiving = arguments.has("--keep-archiving");
  request.delta = arguments.has("--delta");
  request.from_manifest = from_manifest;
  if (const auto* settings = TRY(context.configuration())->find_cluster(name)) {
    if (!settings->is_remote()) request.own_data_directory = settings->data_directory;
    request.bin_directory = settings->bin_directory.value_or("");
  }
  request.workers = TRY(context.jobs());
  request.cancel = &context.cancel();
  return AskedRestore{std::move(cluster), name, std::move(request)};
}

std::vector<OptionSpec> restore_choice_options(std::vector<OptionSpec> own) {
  const std::vector<OptionSpec> choice = {
      {.name = "--backup",
       .value = "NAME",
       .text = "The backup to begin with. Default: the newest one from which the target can be reached."},
      {.name = "--time", .value = "T", .text = "Stop at this moment: changes committed up to it are there."},
      {.name = "--lsn", .value = "L", .text = "Stop at this position in the WAL."},
      {.name = "--xid", .value = "X", .text = "Stop at the end of this transaction."},
      {.name = "--name",
       .value = "N",
       .text = "Stop at the restore point of this name (pg_create_restore_point)."},
      {.name = "--immediate", .value = "", .text = "Stop as soon as the backup is consistent."},
      {.name = "--latest", .value = "", .text = "Go to the end of the archived WAL: the default."},
      {.name = "--exclusive", .value = "", .text = "With --time, --lsn, --xid: stop just before."},
      {.name = "--timeline",
       .value = "T",
       .text = "Follow this timeline. Default: the newest that descends from the backup."},
      {.name = "--delta",
       .value = "",
       .text = "DIR may be a data directory of this cluster whose server is stopped, or what an interrupted restore left: "
               "files that the backup does not have are deleted, blocks that are equal by their fingerprint stay, the rest "
               "is fetched. pg_control goes first and comes back last, so that no server starts in between; an interrupted "
               "restore --delta goes on when run again. The directory's own WAL is kept as pg_wal.before-restore-TIME, and "
               "what of it the repository lacks is named. Tablespaces that were mapped must be mapped again."},
      {.name = "--tablespace",
       .value = "OLD=NEW",
       .text = "Where a tablespace's directory goes.",
       .repeatable = true},
      {.name = "--from-manifest",
       .value = "",
       .text = "Choose among the manifests themselves: for a repository whose log is damaged."},
  };
  own.insert(own.begin() + 1, choice.begin(), choice.end());
  return own;
}

}  // namespace pgmint::cli

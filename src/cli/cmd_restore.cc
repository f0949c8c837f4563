#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/log.h"
#include "base/units.h"
#include "cli/backup_facts.h"
#include "cli/cluster_choice.h"
#include "cli/commands.h"
#include "cli/option_values.h"
#include "cli/progress.h"
#include "cli/recall_command.h"
#include "restore/restore.h"

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

/// "/etc/postgresql/15/main/postgresql.conf -> /srv/pg/postgresql.conf"
Json configuration_file_json(const std::string& text) {
  constexpr std::string_view kArrow = " -> ";
  const auto arrow = text.rfind(kArrow);
  if (arrow == std::string::npos) return {{"from", text}, {"to", nullptr}};
  return {{"from", text.substr(0, arrow)}, {"to", text.substr(arrow + kArrow.size())}};
}

void tell(Context& context, const restore::RestoreRequest& request, const restore::RestoreReport& report) {
  auto& out = context.output();
  out.line(fmt::format("restored {} to {}: {} in {} files, took {}", report.backup, request.to.string(),
                       human(ByteCount(report.bytes)), report.files, human(report.elapsed)));
  if (report.delta)
    out.line(fmt::format("  kept {} that was there already, fetched {}", human(ByteCount(report.kept_bytes)), human(ByteCount(report.read_bytes))));
  out.line(fmt::format("  target: {}, timeline {}; then {}", restore::describe(report.target), report.timeline.value(),
                       restore::action_name(request.action)));
  if (report.clone)
    out.line("  a clone: it archives nothing and replicates from nothing until you change that (postgresql.auto.conf)");
  for (const auto& file : report.configuration_files) out.line(fmt::format("  configuration: {}", file));
  out.line(fmt::format("Next: start the server on {}, as its owner; recovery begins by itself", request.to.string()));
}

Result<int> run(Context& context) {
  const auto& arguments = context.arguments();
  const auto target = TRY(target_of(arguments));
  const auto tablespaces = TRY(tablespaces_of(arguments));
  const auto max_rate = TRY(rate_option(arguments, "--max-rate"));
  std::error_code failed;
  const auto to = fs::absolute(*arguments.get("--to"), failed).lexically_normal();
  if (failed) return usage(fmt::format("--to {}: {}", *arguments.get("--to"), failed.message()));

  const bool from_manifest = arguments.has("--from-manifest");
  const auto cluster = TRY(from_manifest ? cluster_without_log(context, arguments.position("CLUSTER"))
                                         : existing_cluster(context, arguments.position("CLUSTER")));
  const auto& configuration = *TRY(context.configuration());
  const auto name = cluster->state().has_genesis() ? cluster->state().cluster_name() : cluster->id().hex();
  ProgressDisplay display(progress_mode(context));
  restore::RestoreRequest request{.cluster = *cluster,
                                  .to = to,
                                  .backup = arguments.get("--backup"),
                                  .target = target,
                                  .action = action_of(arguments),
                                  .tablespaces = tablespaces,
                                  .own_data_directory = {},
                                  .restore_command = restore_command_line(context, name),
                                  .max_rate = max_rate,
                                  .progress = {}};
  request.keep_archiving = arguments.has("--keep-archiving");
  request.delta = arguments.has("--delta");
  request.from_manifest = from_manifest;
  if (const auto* settings = configuration.find_cluster(name)) request.own_data_directory = settings->data_directory;
  request.workers = TRY(context.jobs());
  request.cancel = &context.cancel();
  request.progress = [&](const restore::Progress& now) {
    display.update({restore::phase_name(now.phase), now.bytes_done,
                    now.phase == restore::Phase::Copy ? now.bytes_total : 0, now.read_bytes, now.detail});
  };
  const auto started = system_clock().now();
  auto result = restore::run(request);
  display.finish();
  const auto report = TRY(std::move(result));

  for (const auto& warning : report.warnings) print_warning(warning);
  Json files = Json::array();
  for (const auto& file : report.configuration_files) files.push_back(configuration_file_json(file));
  Json document = {{"cluster", name},
                             {"backup", report.backup},
                             {"to", to.string()},
                             {"target", target_json(report.target)},
                             {"timeline", report.timeline.value()},
                             {"action", restore::action_name(request.action)},
                             {"size_bytes", report.bytes},
                             {"files", report.files},
                             {"duration_s", std::chrono::duration<double>(system_clock().now() - started).count()},
                             {"clone", report.clone},
                             {"warnings", report.warnings},
                             {"config_files", std::move(files)}};
  if (report.delta) {
    document["kept_bytes"] = report.kept_bytes;
    document["read_bytes"] = report.read_bytes;
  }
  context.output().document(document);
  tell(context, request, report);
  return 0;
}

}  // namespace

const CommandSpec& restore_command() {
  static const CommandSpec command = {
      .verb = "restore",
      .summary = "bring a cluster back, at any moment since its first backup",
      .description = {"Writes a data directory from which PostgreSQL recovers to the moment asked for; without a "
                      "target to the end of the archived WAL. The newest backup before that moment is chosen. "
                      "Everything that can be checked is checked before the first byte is written: that the target "
                      "directory is empty and no server runs there, that there is space, that the WAL is complete "
                      "up to the target, that the target lies in the recovery window.",
                      "Start the server afterwards: it fetches its WAL through wal get and recovers by itself.",
                      "Restored beside its origin, the server is a clone: it does not archive, replicate or subscribe, "
                      "and its tablespaces must be mapped elsewhere.",
                      "Times are RFC 3339 or as PostgreSQL prints them, 2026-11-22 08:40:01.123456+00; without a zone "
                      "they are local."},
      .positionals = {{.name = "CLUSTER",
                       .text = "May be left out when one is configured, or the repository holds one.",
                       .required = false,
                       .completes = Completes::Cluster}},
      .options =
          {
              {.name = "--to",
               .value = "DIR",
               .text = "The data directory to write: absent, or empty; with --delta see there.",
               .required = true,
               .completes = Completes::Directory},
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
              {.name = "--action",
               .value = "ACTION",
               .text = "What the server does at the target: promote (the default), pause, shutdown.",
               .words = {"pause", "promote", "shutdown"}},
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
              {.name = "--keep-archiving",
               .value = "",
               .text = "Leave archive_mode and archive_command as they were: only for a server that takes its origin's "
                       "place."},
              {.name = "--from-manifest",
               .value = "",
               .text = "Choose among the manifests themselves: for a repository whose log is damaged."},
              {.name = "--jobs", .value = "N", .text = "Threads. Default: the configured jobs, else the cores."},
              {.name = "--max-rate", .value = "SIZE", .text = "Write at most so many bytes a second, e.g. 50MiB."},
          },
      .exits = {{1, "There is no such backup."},
                {4,
                 "Not possible as things stand, with the reason: target directory not empty, server running, no space, "
                 "WAL missing, target outside the window. Nothing was written."}},
      .examples = {{"pgmint restore --to /var/lib/postgresql/15/restored --time \"2026-11-22 08:40:01+00\"",
                    "To a moment, beside the origin."},
                   {"pgmint restore main --to /srv/pg --name before-upgrade --action pause",
                    "To a restore point, and look around before going on."},
                   {"pgmint restore --to /srv/pg --tablespace /ssd/ts1=/srv/ts1", "With a tablespace."}},
      .see_also = {"list", "wal get", "verify"},
      .run = run,
  };
  return command;
}

}  // namespace pgmint::cli

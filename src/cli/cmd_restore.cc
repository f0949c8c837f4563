#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/units.h"
#include "cli/checks_answer.h"
#include "cli/commands.h"
#include "cli/option_values.h"
#include "cli/progress.h"
#include "cli/restore_request.h"
#include "restore/checks.h"

namespace pgmint::cli {
namespace {

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

/// Everything before the first byte.
Result<int> check_only(Context& context, const AskedRestore& asked) {
  const auto checked = restore::check(asked.request);
  return answer_checks(context, checked.checks, checked.refusal);
}

Result<int> run(Context& context) {
  auto asked = TRY(asked_restore(context, *context.arguments().get("--to")));
  auto& request = asked.request;
  request.max_rate = TRY(rate_option(context.arguments(), "--max-rate"));
  const auto& name = asked.name;
  if (context.arguments().has("--check-only")) return check_only(context, asked);
  ProgressDisplay display(progress_mode(context));
  request.progress = [&](const restore::Progress& now) {
    display.update({restore::phase_name(now.phase), now.bytes_done,
                    now.phase == restore::Phase::Copy ? now.bytes_total : 0, now.read_bytes, now.detail});
  };
  const auto started = system_clock().now();
  auto result = restore::run(request);
  display.finish();
  const auto report = TRY(std::move(result));

  for (const auto& warning : report.warnings) print_warning(warning);
  if (context.arguments().others_are_away)
    print_warning(fmt::format("recovery asks the repository {} alone, since one before it could not be asked: what only that one has is not recovered", *context.arguments().get("--repository")));
  Json files = Json::array();
  for (const auto& file : report.configuration_files) files.push_back(configuration_file_json(file));
  Json document = {{"cluster", name},
                             {"backup", report.backup},
                             {"to", request.to.string()},
                             {"target", target_json(report.target)},
                             {"timeline", report.timeline.value()},
                             {"action", restore::action_name(request.action)},
                             {"size_bytes", report.bytes},
                             {"files", report.files},
                             {"read_bytes", report.read_bytes},
                             {"duration_s", std::chrono::duration<double>(system_clock().now() - started).count()},
                             {"clone", report.clone},
                             {"warnings", report.warnings},
                             {"config_files", std::move(files)}};
  if (report.delta) document["kept_bytes"] = report.kept_bytes;
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
      .options = restore_choice_options(
          {
              {.name = "--to",
               .value = "DIR",
               .text = "The data directory to write: absent, or empty; with --delta see there.",
               .required = true,
               .completes = Completes::Directory},
              {.name = "--action",
               .value = "ACTION",
               .text = "What the server does at the target: promote (the default), pause, shutdown.",
               .words = {"pause", "promote", "shutdown"}},
              {.name = "--check-only",
               .value = "",
               .text = "Look at everything that is looked at before a restore, write nothing, and show it as a list."},
              {.name = "--keep-archiving",
               .value = "",
               .text = "Leave archive_mode and archive_command as they were: only for a server that takes its origin's "
                       "place."},
              {.name = "--jobs", .value = "N", .text = "Threads. Default: the configured jobs, else the cores."},
              {.name = "--max-rate", .value = "SIZE", .text = "Write at most so many bytes a second, e.g. 50MiB."},
          }),
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
      .repositories = Repositories::Fitting,
      .copies = BackupCopies::None,
      .run = run,
  };
  return command;
}

}  // namespace pgmint::cli

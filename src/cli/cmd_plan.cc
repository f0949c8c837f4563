#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/units.h"
#include "cli/backup_facts.h"
#include "cli/commands.h"
#include "cli/restore_estimate.h"
#include "cli/restore_request.h"
#include "restore/prepare.h"

namespace pgmint::cli {
namespace {

Json wal_json(const restore::Replay& replay, postgres::WalSegmentSize size) {
  const auto name = [&](const repository::WalRange& range, postgres::SegmentNumber segment) { return Json(postgres::segment_file_name(range.timeline, segment, size)); };
  const bool any = !replay.segments.empty();
  return {{"from", any ? name(replay.segments.front(), replay.segments.front().first) : Json(nullptr)},
          {"to", any ? name(replay.segments.back(), replay.segments.back().last) : Json(nullptr)},
          {"segments", replay.segment_count},
          {"from_lsn", postgres::format(replay.from)},
          {"to_lsn", postgres::format(replay.to)},
          {"ends_there", replay.ends_there},
          {"replay_bytes", replay.bytes()},
          {"read_bytes", replay.stored_bytes}};
}

Json file_systems_json(const restore::Prepared& prepared) {
  Json places = Json::array();
  if (prepared.target)
    for (const auto& need : prepared.target->file_systems)
      places.push_back({{"path", need.place.string()}, {"write_bytes", need.write}, {"free_bytes", need.free}});
  return places;
}

void tell(Output& out, const restore::RestoreRequest& request, const restore::Prepared& prepared, const RestoreWork& work, postgres::WalSegmentSize size) {
  const auto& root = prepared.choice.root;
  const auto& replay = work.replay;
  out.line(fmt::format("backup {}, {}", root.name, readable_time(root.finished)));
  out.line(fmt::format("  target: {}, timeline {}", restore::describe(request.target), prepared.choice.history.target().value()));
  out.line(fmt::format("  read from the repository: {}; written: {} in {} files", human(ByteCount(work.read_bytes)), human(ByteCount(prepared.survey.bytes.total)),
                       prepared.survey.files));
  if (prepared.target)
    for (const auto& need : prepared.target->file_systems)
      out.line(fmt::format("    on the file system of {}: {} of {} free", need.place.string(), human(ByteCount(need.write)), human(ByteCount(need.free))));
  if (replay.segments.empty()) {
    out.line("  WAL: none");
  } else {
    const auto& first = replay.segments.front();
    const auto& last = replay.segments.back();
    out.line(fmt::format("  WAL: {} to {}, {}, {} to read", postgres::segment_file_name(first.timeline, first.first, size),
                         postgres::segment_file_name(last.timeline, last.last, size), counted(replay.segment_count, "segment"), human(ByteCount(replay.stored_bytes))));
    out.line(fmt::format("    replayed: {}{} of it, {} to {}", replay.ends_there ? "" : "at most ", human(ByteCount(replay.bytes())), postgres::format(replay.from),
                         postgres::format(replay.to)));
  }
  for (const auto& line : estimate_lines(work.estimate)) out.line(fmt::format("  {}", line));
}

Result<int> run(Context& context) {
  const auto asked = TRY(asked_restore(context, context.arguments().get("--to")));
  const auto& request = asked.request;
  const auto prepared = TRY(restore::prepare(request));
  const auto work = TRY(restore_work(request, prepared));
  const auto& root = prepared.choice.root;
  const auto size = TRY(postgres::WalSegmentSize::of(root.wal_segment_size));
  context.output().document({{"cluster", asked.name},
                             {"backup", {{"name", root.name}, {"type", repository::backup_type_name(root.type)}, {"finished", format_rfc3339(root.finished)}}},
                             {"target", target_json(request.target)},
                             {"timeline", prepared.choice.history.target().value()},
                             {"files", prepared.survey.files},
                             {"size_bytes", prepared.survey.bytes.total},
                             {"read_bytes", work.read_bytes},
                             {"file_systems", file_systems_json(prepared)},
                             {"wal", wal_json(work.replay, size)},
                             {"time", estimate_json(work.estimate)},
                             {"warnings", prepared.choice.warnings}});
  for (const auto& warning : prepared.choice.warnings) print_warning(warning);
  tell(context.output(), request, prepared, work, size);
  return 0;
}

}  // namespace

const CommandSpec& plan_command() {
  static const CommandSpec command = {
      .verb = "plan",
      .summary = "say what a restore would take: which backup, which WAL, how many bytes, how long",
      .description = {"Takes the steps of restore up to the first byte that it would write, and tells what they found. With --to also the places are "
                      "looked at: what restore would refuse, plan refuses in the same words.",
                      "How long it would take follows from what earlier restores took, as the log tells it, so that every host knows; of another size only "
                      "where they were long enough to tell. How fast WAL is replayed is known once a restored server was validated. What was not measured is "
                      "said to be not known. The rates are told beside the times: each is the median of the newest five restores, or validations, that say something of this size.",
                      "Where the target is a time or a transaction, the WAL is what recovery reads at most."},
      .positionals = {{.name = "CLUSTER",
                       .text = "May be left out when one is configured, or the repository holds one.",
                       .required = false,
                       .completes = Completes::Cluster}},
      .options = restore_choice_options({
          {.name = "--to", .value = "DIR", .text = "The data directory that would be written. Default: no place is looked at.", .completes = Completes::Directory},
      }),
      .exits = {{1, "There is no such backup."}, {4, "The restore is not possible as things stand, with the reason."}},
      .examples = {{"pgmint plan --time \"2026-11-22 08:40:01+00\"", "What it would take to go back to a moment."},
                   {"pgmint plan main --to /srv/pg --tablespace /ssd/ts1=/srv/ts1", "To the end of the archived WAL, into these places."}},
      .see_also = {"restore", "status", "list"},
      .only_reads = true,
      .repositories = Repositories::Fitting,
      .run = run,
  };
  return command;
}

}  // namespace pgmint::cli

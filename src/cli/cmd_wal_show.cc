#include <fmt/format.h>

#include <map>
#include <nlohmann/json.hpp>

#include "cli/cluster_choice.h"
#include "cli/commands.h"
#include "wal/changes.h"

namespace pgmint::cli {
namespace {

using postgres::ChangeSet;
using postgres::RelationEvent;
using postgres::RelationFork;

/// What a stretch of WAL says of one fork.
struct ForkChanges {
  const std::vector<postgres::BlockNumber>* blocks = nullptr;
  std::optional<postgres::BlockNumber> limit;
};

std::map<RelationFork, ForkChanges> by_fork(const ChangeSet& changes) {
  std::map<RelationFork, ForkChanges> forks;
  for (const auto& fork : changes.blocks) forks[fork.where].blocks = &fork.blocks;
  for (const auto& limit : changes.limits) forks[limit.where].limit = limit.limit;
  return forks;
}

std::string_view name_of(postgres::Fork fork) {
  switch (fork) {
    case postgres::Fork::Main:
      return "main";
    case postgres::Fork::FreeSpaceMap:
      return "fsm";
    case postgres::Fork::VisibilityMap:
      return "vm";
    case postgres::Fork::Init:
      return "init";
  }
  return "?";
}

std::string_view name_of(RelationEvent::Kind kind) {
  switch (kind) {
    case RelationEvent::Kind::Drop:
      return "drop";
    case RelationEvent::Kind::Truncate:
      return "truncate";
    case RelationEvent::Kind::DatabaseDrop:
      return "drop database";
    case RelationEvent::Kind::DatabaseCreate:
      return "create database";
  }
  return "?";
}

/// As pg_waldump writes it; every relation of a database is 1663/16401/*.
std::string text_of(const postgres::RelationLocator& locator) {
  const auto relation = locator.relation.value();
  return fmt::format("{}/{}/{}", locator.tablespace.value(), locator.database.value(), relation == 0 ? "*" : std::to_string(relation));
}

Json json_of(const postgres::RelationLocator& locator) {
  return {{"tablespace", locator.tablespace.value()}, {"database", locator.database.value()}, {"relation", locator.relation.value()}};
}

Json json_of(const std::optional<postgres::CommitPoint>& commit) {
  if (!commit) return nullptr;
  return {{"lsn", postgres::format(commit->end)}, {"xid", commit->xid.value()}, {"time", format_rfc3339(commit->time)}};
}

Json json_of(const RelationEvent& event) {
  Json json = {{"kind", name_of(event.kind)},
               {"lsn", postgres::format(event.start)},
               {"xid", event.xid.value()},
               {"time", event.time ? Json(format_rfc3339(*event.time)) : Json(nullptr)}};
  json.update(json_of(event.locator));
  if (event.kind == RelationEvent::Kind::Truncate) json["blocks_left"] = event.blocks;
  return json;
}

/// Neighbours joined: [first, last] each.
Json ranges_of(const std::vector<postgres::BlockNumber>& blocks) {
  Json ranges = Json::array();
  for (std::size_t i = 0, end; i < blocks.size(); i = end) {
    for (end = i + 1; end < blocks.size() && blocks[end] == blocks[end - 1] + 1;) ++end;
    ranges.push_back({blocks[i], blocks[end - 1]});
  }
  return ranges;
}

Json to_json(const wal::ArchivedChanges& archived) {
  const auto& changes = archived.changes;
  const auto size = archived.segment_size;
  Json segments = Json::array(), points = Json::array(), events = Json::array(), relations = Json::array();
  for (const auto& range : archived.segments)
    segments.push_back({{"timeline", range.timeline.value()},
                        {"from", postgres::segment_file_name(range.timeline, range.first, size)},
                        {"to", postgres::segment_file_name(range.timeline, range.last, size)},
                        {"count", range.count()}});
  for (const auto& point : changes.restore_points)
    points.push_back({{"name", point.name}, {"lsn", postgres::format(point.end)}, {"time", format_rfc3339(point.time)}});
  for (const auto& event : changes.events) events.push_back(json_of(event));
  for (const auto& [where, fork] : by_fork(changes)) {
    Json json = json_of(where.locator);
    json["fork"] = name_of(where.fork);
    json["renewed_from"] = fork.limit ? Json(*fork.limit) : Json(nullptr);
    json["blocks"] = fork.blocks != nullptr ? fork.blocks->size() : 0;
    json["ranges"] = fork.blocks != nullptr ? ranges_of(*fork.blocks) : Json::array();
    relations.push_back(std::move(json));
  }
  return {{"segments", std::move(segments)},
          {"from_lsn", postgres::format(changes.from)},
          {"to_lsn", postgres::format(changes.to)},
          {"incomplete", changes.void_reason ? Json(*changes.void_reason) : Json(nullptr)},
          {"first_commit", json_of(changes.first_commit)},
          {"last_commit", json_of(changes.last_commit)},
          {"restore_points", std::move(points)},
          {"events", std::move(events)},
          {"events_omitted", changes.events_omitted},
          {"relations", std::move(relations)}};
}

void print(Output& out, const wal::ArchivedChanges& archived) {
  const auto& changes = archived.changes;
  const auto size = archived.segment_size;
  for (const auto& range : archived.segments) out.line(repository::describe(range, size));
  out.line(fmt::format("LSN {} to {}", postgres::format(changes.from), postgres::format(changes.to)));
  if (changes.void_reason) out.line(fmt::format("NOT EVERYTHING IS KNOWN: {}", *changes.void_reason));
  const auto commit = [&](std::string_view which, const std::optional<postgres::CommitPoint>& point) {
    if (point)
      out.line(fmt::format("{} commit: {}, transaction {}, {}", which, postgres::format(point->end), point->xid.value(),
                           format_postgres(point->time)));
  };
  commit("first", changes.first_commit);
  commit("last", changes.last_commit);
  for (const auto& point : changes.restore_points)
    out.line(fmt::format("restore point {}: {}, {}", point.name, postgres::format(point.end), format_postgres(point.time)));
  for (const auto& event : changes.events)
    out.line(fmt::format("{} {}: {}, transaction {}{}", name_of(event.kind), text_of(event.locator), postgres::format(event.start),
                         event.xid.value(), event.time ? ", " + format_postgres(*event.time) : ""));
  if (changes.events_omitted > 0) out.line(fmt::format("and {} that were not kept", counted(changes.events_omitted, "event")));
  std::vector<std::vector<std::string>> rows;
  for (const auto& [where, fork] : by_fork(changes))
    rows.push_back({text_of(where.locator), std::string(name_of(where.fork)),
                    std::to_string(fork.blocks != nullptr ? fork.blocks->size() : 0), fork.limit ? std::to_string(*fork.limit) : ""});
  if (!rows.empty()) out.line(text_table({"relation", "fork", ">blocks", ">renewed from"}, rows));
}

Result<int> run(Context& context) {
  const auto& arguments = context.arguments();
  const auto cluster = TRY(existing_cluster(context, arguments.get("--cluster")));
  repository::WalArchive archive(*cluster, repository::current_identity(cluster->state()));
  const auto first = *arguments.position("FIRST");
  const auto archived = TRY(wal::archived_changes(archive, first, arguments.position("LAST").value_or(first), &context.cancel()));
  context.output().document(to_json(archived));
  print(context.output(), archived);
  return 0;
}

}  // namespace

const CommandSpec& wal_show_command() {
  static const CommandSpec command = {
      .verb = "wal show",
      .summary = "show what archived WAL changed",
      .description =
          {"Shows from which commit to which a stretch of archived segments leads, its restore points, the relations that were "
           "dropped or truncated in it, each with the LSN to recover to, exclusively, in order to be just before it, and how many blocks of "
           "which relations it names. With --json it names the blocks.",
           "Only the change summaries are read that wal push stored beside the segments, and that incremental backups go by.",
           "A relation is tablespace/database/filenode, as pg_waldump writes it; pg_filenode_relation() of the database tells its "
           "name. Renewed from: the fork was created, dropped, or cut to that many blocks, so that nothing from there on is what it "
           "was before."},
      .positionals = {{.name = "FIRST", .text = "Name of a segment."},
                      {.name = "LAST", .text = "Name of another one, on the same or a later timeline. Default: FIRST.", .required = false}},
      .options = {{.name = "--cluster", .value = "NAME", .text = "Default: the only one.", .completes = Completes::Cluster}},
      .exits = {{1, "A segment is not archived."}},
      .examples = {{"pgmint wal show 000000010000000000000003 000000010000000000000009", "When was that table dropped?"}},
      .see_also = {"wal status", "restore"},
      .only_reads = true,
      .repositories = Repositories::Fitting,
      .run = run,
  };
  return command;
}

}  // namespace pgmint::cli

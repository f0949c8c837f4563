#include "postgres/server_summaries.h"

#include <fmt/format.h>

#include <algorithm>

#include "postgres/block_collector.h"
#include "postgres/change_collector.h"
#include "postgres/parse_number.h"
#include "postgres/server_facts.h"

namespace pgmint::postgres {
namespace {

/// Summaries are made at checkpoints, and kept for ten days.
constexpr std::size_t kSummariesMax = 1'000'000;

struct Summary {
  TimelineId timeline;
  Lsn start, end;
};

Error malformed() { return Error(Errc::Postgres, "PostgreSQL: what it says of its WAL summaries is not understood"); }

/// Sorted by timeline and start.
Result<std::vector<Summary>> available_summaries(Connection& connection, Lsn from, Lsn to) {
  const auto rows = TRY(connection.query(
      "SELECT tli::text, start_lsn::text, end_lsn::text FROM pg_catalog.pg_available_wal_summaries() WHERE end_lsn > $1::pg_catalog.pg_lsn AND start_lsn < "
      "$2::pg_catalog.pg_lsn",
      {format(from), format(to)}));
  if (rows.rows.size() > kSummariesMax) return Error(Errc::ResourceLimit, fmt::format("the server has {} WAL summaries", rows.rows.size()));
  std::vector<Summary> summaries;
  for (const auto& row : rows.rows) {
    const auto timeline = parse_timeline(row.at(0).value_or(""));
    const auto start = parse_lsn(row.at(1).value_or("")), end = parse_lsn(row.at(2).value_or(""));
    if (!timeline || !start || !end) return malformed();
    summaries.push_back({*timeline, *start, *end});
  }
  std::ranges::sort(summaries, {}, [](const Summary& summary) { return std::pair(summary.timeline, summary.start); });
  return summaries;
}

/// Those of [from, to) on `timeline`: nullopt where there is no gap, else where the gap begins. @param into  gets them
std::optional<Lsn> cover(const std::vector<Summary>& summaries, TimelineId timeline, Lsn from, Lsn to, std::vector<Summary>& into) {
  Lsn at = from;
  for (const auto& summary : summaries) {
    if (summary.timeline != timeline || summary.end <= from || summary.start >= to) continue;
    if (summary.start > at) return at;
    at = std::max(at, summary.end);
    into.push_back(summary);
  }
  return at < to ? std::optional(at) : std::nullopt;
}

/// Blocks as "3,17,18".
Status take_blocks(const RelationFork& where, std::string_view text, BlockCollector& blocks) {
  ForkBlocks found{where, {}};
  while (!text.empty()) {
    const auto comma = std::min(text.find(','), text.size());
    const auto block = parse_number<BlockNumber>(text.substr(0, comma), 10);
    if (!block) return malformed();
    found.blocks.push_back(*block);
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  std::ranges::sort(found.blocks);
  blocks.add(found);
  return ok();
}

Status take_row(const Row& row, BlockCollector& blocks, LimitCollector& limits) {
  if (row.size() != 7) return malformed();
  const auto number = [&](std::size_t column) { return parse_number<std::uint32_t>(row[column].value_or(""), 10); };
  const auto tablespace = number(0), database = number(1), relation = number(2), fork = number(3);
  if (!tablespace || !database || !relation || !fork || *fork > static_cast<std::uint32_t>(Fork::Init)) return malformed();
  const RelationFork where{{Oid(*tablespace), Oid(*database), Oid(*relation)}, static_cast<Fork>(*fork)};
  if (row[4] == "t") {
    const auto limit = number(5);
    if (!limit) return malformed();
    limits.add(where, *limit);
    return ok();
  }
  return take_blocks(where, row[6].value_or(""), blocks);
}

/// Rows of blocks that stand near each other, since there may be millions.
constexpr std::string_view kContents =
    "SELECT c.reltablespace::text, c.reldatabase::text, c.relfilenode::text, c.relforknumber::text, CASE WHEN c.is_limit_block THEN 't' ELSE 'f' END, "
    "pg_catalog.min(c.relblocknumber)::text, CASE WHEN c.is_limit_block THEN '' ELSE pg_catalog.string_agg(DISTINCT c.relblocknumber::text, ',') END "
    "FROM ROWS FROM (pg_catalog.unnest($1::bigint[]), pg_catalog.unnest($2::pg_catalog.pg_lsn[]), pg_catalog.unnest($3::pg_catalog.pg_lsn[])) AS s(t, a, b), "
    "LATERAL pg_catalog.pg_wal_summary_contents(s.t, s.a, s.b) c WHERE c.relforknumber IN (0, 3) "
    "GROUP BY c.reltablespace, c.reldatabase, c.relfilenode, c.relforknumber, c.is_limit_block, c.relblocknumber / 16384";

}  // namespace

std::optional<std::string> version_lacks_summaries(const Connection& connection) {
  if (connection.version().has_wal_summaries) return std::nullopt;
  const auto first = std::ranges::find(all_versions(), true, &VersionEntry::has_wal_summaries);
  return fmt::format("PostgreSQL {} has no incremental base backups ({} and later have)", connection.version().major, first->major);
}

Result<std::optional<std::string>> why_no_summaries(Connection& connection, TimelineId timeline, Lsn from) {
  if (auto version = version_lacks_summaries(connection)) return version;
  if (TRY(connection.value("SELECT pg_catalog.current_setting('summarize_wal')")) != "on") return std::optional<std::string>("summarize_wal is off on the server");
  const auto rows = TRY(connection.query(
      "SELECT pg_catalog.count(*)::text, (SELECT summarized_lsn::text FROM pg_catalog.pg_get_wal_summarizer_state()) FROM pg_catalog.pg_available_wal_summaries() "
      "WHERE tli = $1::bigint AND start_lsn <= $2::pg_catalog.pg_lsn AND end_lsn > $2::pg_catalog.pg_lsn",
      {std::to_string(timeline.value()), format(from)}));
  if (rows.rows.size() != 1) return malformed();
  if (rows.rows[0].at(0) != "0") return std::optional<std::string>();
  const auto summarized = parse_lsn(rows.rows[0].at(1).value_or(""));
  if (summarized && *summarized <= from) return std::optional<std::string>();  // yet to come
  return std::optional(fmt::format("the server has no WAL summary of {} any more, or summarize_wal was turned on later", format(from)));
}

Result<SummarizerState> summarizer_state(Connection& connection) {
  const auto read = parse_lsn(TRY(connection.value("SELECT pending_lsn::text FROM pg_catalog.pg_get_wal_summarizer_state()")));
  if (!read) return malformed();
  return SummarizerState{*read, TRY(current_lsn(connection))};
}

Result<ChangeSet> server_changes(Connection& connection, const TimelineHistory& history, Lsn from, Lsn to) {
  ChangeSet changes;
  changes.from = from;
  changes.to = to;
  const auto summaries = TRY(available_summaries(connection, from, to));
  std::vector<Summary> needed;
  auto timelines = std::vector<TimelineId>();
  for (const auto& past : history.switches()) timelines.push_back(past.timeline);
  timelines.push_back(history.target());
  for (const auto timeline : timelines) {
    const auto begin = std::max(from, history.begin_of(timeline).value_or(from));
    const auto end = std::min(to, history.switch_point(timeline).value_or(to));
    if (begin >= end) continue;
    if (const auto missing = cover(summaries, timeline, begin, end, needed)) {
      changes.void_reason = fmt::format("the server has no WAL summary of {} on timeline {}", format(*missing), timeline.value());
      return changes;
    }
  }
  std::string ids = "{", starts = "{", ends = "{";
  for (const auto& summary : needed) {
    const auto* comma = ids.size() > 1 ? "," : "";
    ids += fmt::format("{}{}", comma, summary.timeline.value());
    starts += fmt::format("{}{}", comma, format(summary.start));
    ends += fmt::format("{}{}", comma, format(summary.end));
  }
  const auto rows = TRY(connection.query(std::string(kContents), {ids + "}", starts + "}", ends + "}"}));
  BlockCollector blocks;
  LimitCollector limits;
  for (const auto& row : rows.rows) TRY(take_row(row, blocks, limits));
  changes.blocks = blocks.take();
  changes.limits = limits.take();
  return changes;
}

}  // namespace pgmint::postgres

#include "wal/status.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace pgmint::wal {

using postgres::Lsn;
using postgres::TimelineHistory;
using postgres::TimelineId;

namespace {

/// Segments at the end of the newest timeline that are looked through for a commit.
constexpr std::uint64_t kCommitSearchMax = 64;

Result<std::uint64_t> number_in(const std::optional<std::string>& text) {
  std::uint64_t value = 0;
  if (!text) return value;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), value);
  if (error != std::errc{} || end != text->data() + text->size()) {
    return Error(Errc::Postgres, fmt::format("the server answered \"{}\" where a number belongs", *text));
  }
  return value;
}

Result<std::optional<TimePoint>> time_in(const std::optional<std::string>& epoch_microseconds) {
  if (!epoch_microseconds) return std::nullopt;
  return TimePoint(std::chrono::microseconds(TRY(number_in(epoch_microseconds))));
}

TimelineStatus describe_timeline(TimelineId timeline, const repository::TimelineFiles& files,
                                 const repository::WalInventory& inventory) {
  const auto size = inventory.segment_size();
  TimelineStatus status;
  status.timeline = timeline;
  status.segments = files.segments.size();
  status.stored_bytes = files.stored_bytes;
  status.history_missing = timeline > TimelineId(1) && !files.has_history_file;
  status.history_damaged = files.history_damaged;
  if (files.history && !files.history->switches().empty()) {
    const auto& last = files.history->switches().back();
    status.parent = last.timeline;
    status.begin = files.history->begin_of(timeline);
  }
  if (!files.segments.empty()) {
    status.oldest = postgres::segment_file_name(timeline, *files.segments.begin(), size);
    status.newest = postgres::segment_file_name(timeline, *files.segments.rbegin(), size);
  }
  for (const auto segment : files.partials) {
    status.partials.push_back(postgres::segment_file_name(timeline, segment, size) + ".partial");
  }
  return status;
}

/// The newest commit in the run of segments that ends the newest timeline, going on into its parents.
Result<std::optional<postgres::CommitPoint>> newest_commit(repository::WalArchive& archive,
                                                           const repository::WalInventory& inventory) {
  std::uint64_t looked_at = 0;
  const auto& timelines = inventory.timelines();
  for (auto at = timelines.rbegin(); at != timelines.rend(); ++at) {
    for (auto segment = at->second.segments.rbegin(); segment != at->second.segments.rend(); ++segment) {
      if (looked_at++ == kCommitSearchMax) return std::nullopt;
      const auto summary = TRY(repository::read_summary(archive, at->first, *segment, inventory.segment_size()));
      if (summary && summary->last_commit) return summary->last_commit;
    }
  }
  return std::nullopt;
}

void compare_with_server(WalStatus& status, const repository::WalInventory& inventory, const ServerWal& server) {
  const auto size = status.segment_size;
  const auto files = inventory.timelines().find(server.timeline);
  Lsn archived{};
  if (files != inventory.timelines().end() && !files->second.segments.empty()) {
    archived = postgres::start_of(postgres::next(*files->second.segments.rbegin()), size);
  } else if (const auto history = inventory.history_of(server.timeline)) {
    // Nothing of its timeline yet: as far as its parent's WAL reaches.
    archived = history->begin_of(server.timeline).value_or(Lsn{});
  }
  if (!is_valid(archived)) return;
  status.bytes_behind = server.current > archived ? server.current - archived : 0;
  // The segment that is being written is nobody's debt.
  const auto current = postgres::segment_of(server.current, size).value();
  const auto next = postgres::segment_of(archived, size).value();
  status.segments_behind = current > next ? current - next : 0;
}

}  // namespace

Result<ServerWal> ask_server(postgres::Connection& connection) {
  // pg_control_checkpoint() says what timeline the latest checkpoint was on; the WAL file being written says the current one.
  const auto answer = TRY(connection.query(
      "SELECT pg_is_in_recovery(),"
      " CASE WHEN pg_is_in_recovery() THEN coalesce(pg_last_wal_replay_lsn(), pg_last_wal_receive_lsn())"
      "      ELSE pg_current_wal_insert_lsn() END,"
      " CASE WHEN pg_is_in_recovery() THEN NULL ELSE substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) END,"
      " (SELECT timeline_id FROM pg_control_checkpoint()),"
      " current_setting('archive_mode'), current_setting('archive_command', true),"
      " last_archived_wal, (extract(epoch FROM last_archived_time) * 1000000)::bigint,"
      " last_failed_wal, (extract(epoch FROM last_failed_time) * 1000000)::bigint, archived_count, failed_count"
      " FROM pg_stat_archiver"));
  if (answer.rows.size() != 1 || answer.rows[0].size() != 12) {
    return Error(Errc::Postgres, "the server did not say how archiving stands");
  }
  const auto& row = answer.rows[0];
  ServerWal server;
  server.in_recovery = row[0] == "t";
  const auto lsn = row[1] ? postgres::parse_lsn(*row[1]) : std::optional<Lsn>(Lsn{});
  if (!lsn) return Error(Errc::Postgres, fmt::format("the server answered \"{}\" where an LSN belongs", *row[1]));
  server.current = *lsn;
  std::uint32_t timeline = 0;
  if (row[2]) {
    std::from_chars(row[2]->data(), row[2]->data() + row[2]->size(), timeline, 16);
  } else {
    timeline = static_cast<std::uint32_t>(TRY(number_in(row[3])));
  }
  server.timeline = TimelineId(timeline);
  server.archive_mode = row[4].value_or("");
  server.archive_command = row[5].value_or("");
  server.last_archived = row[6].value_or("");
  server.last_archived_time = TRY(time_in(row[7]));
  server.last_failed = row[8].value_or("");
  server.last_failed_time = TRY(time_in(row[9]));
  server.archived_count = TRY(number_in(row[10]));
  server.failed_count = TRY(number_in(row[11]));
  return server;
}

Result<WalStatus> status(repository::Cluster& cluster, const repository::WalIdentity& identity,
                         std::optional<ServerWal> server) {
  repository::WalArchive archive(cluster, identity);
  const auto inventory = TRY(repository::load_wal_inventory(archive));
  WalStatus status;
  status.identity = identity;
  status.segment_size = inventory.segment_size();
  for (const auto& [timeline, files] : inventory.timelines()) {
    status.timelines.push_back(describe_timeline(timeline, files, inventory));
  }
  for (const auto& range : inventory.ranges()) {
    const auto at = std::ranges::find(status.timelines, range.timeline, &TimelineStatus::timeline);
    at->ranges.push_back(range);
  }
  status.gaps = inventory.gaps(repository::floors_of(cluster.state(), identity));
  status.strange = inventory.strange();
  status.segments = inventory.segment_count();
  status.stored_bytes = inventory.stored_bytes();
  status.last_commit = TRY(newest_commit(archive, inventory));
  if (server) {
    compare_with_server(status, inventory, *server);
    status.server = std::move(server);
  }
  return status;
}

}  // namespace pgmint::wal

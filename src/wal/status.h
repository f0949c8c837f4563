// `wal status`: what is archived, what is missing, and how far behind the server the archive is. Facts only, for people and
// for policy.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "postgres/connection.h"
#include "repository/wal_coverage.h"

namespace pgmint::wal {

struct TimelineStatus {
  postgres::TimelineId timeline;
  std::optional<postgres::TimelineId> parent;   ///< from its history file
  std::optional<postgres::Lsn> begin;           ///< where it left its parent
  std::vector<repository::WalRange> ranges;
  std::string oldest, newest;                   ///< segment names; "" without segments
  std::uint64_t segments = 0;
  std::uint64_t stored_bytes = 0;
  std::vector<std::string> partials;
  bool history_missing = false;                 ///< above 1 without a history file: recovery cannot find its way to it
  bool history_damaged = false;
};

/// What the server says about its archiving.
struct ServerWal {
  std::string archive_mode, archive_command;
  bool in_recovery = false;
  postgres::TimelineId timeline;
  postgres::Lsn current;                        ///< insert position; replay position of a standby
  std::string last_archived, last_failed;       ///< WAL file names; "" when never
  std::optional<TimePoint> last_archived_time, last_failed_time;
  std::uint64_t archived_count = 0, failed_count = 0;
  /// Its newest archiving attempt failed.
  bool failing() const { return last_failed_time && (!last_archived_time || *last_failed_time > *last_archived_time); }
};
/// @errors Postgres, Cancelled
Result<ServerWal> ask_server(postgres::Connection& connection);

struct WalStatus {
  repository::WalIdentity identity;
  postgres::WalSegmentSize segment_size = postgres::WalSegmentSize::default_size();
  std::vector<TimelineStatus> timelines;
  std::vector<repository::WalRange> gaps;
  std::vector<std::string> strange;             ///< objects that are no WAL file of this segment size
  std::uint64_t segments = 0, stored_bytes = 0;
  std::optional<postgres::CommitPoint> last_commit;  ///< newest commit on the newest timeline's contiguous end
  std::optional<ServerWal> server;
  /// Complete segments that the server has written and the archive lacks; nullopt without a server.
  std::optional<std::uint64_t> segments_behind;
  std::optional<std::uint64_t> bytes_behind;    ///< from the end of the archive to the server's position
};

/// @errors Storage, Key, Corruption
Result<WalStatus> status(repository::Cluster& cluster, const repository::WalIdentity& identity,
                         std::optional<ServerWal> server = std::nullopt);

}  // namespace pgmint::wal

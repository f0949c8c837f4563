// The wait at the end of a backup: until every WAL segment that it needs is in the repository, or in the backup itself.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "backup/backup.h"
#include "backup/server.h"
#include "base/clock.h"
#include "repository/wal_coverage.h"

namespace pgmint::backup {

/// Has what waits on this host sent on, about once a second: what wal push started for that may be at rest between two attempts.
class HostWatch {
 public:
  /// Both are borrowed.
  HostWatch(const SendOn& send_on, Clock& clock) : send_on_(send_on), clock_(clock) {}
  /// Before the repository is asked what it lacks.
  void look();
  /// What was left then, in words; nullopt: nothing.
  const std::optional<std::string>& left() const { return left_; }

 private:
  const SendOn& send_on_;
  Clock& clock_;
  std::optional<TimePoint> asked_;
  std::optional<std::string> left_;
};

struct WalWait {
  postgres::TimelineId timeline;
  postgres::Lsn start, stop;
  postgres::WalSegmentSize size = postgres::WalSegmentSize::default_size();
  /// The repository is far away: a listing costs more than asking the server whether its archiver is done.
  bool far = false;
  /// How long it goes on without any segment arriving.
  std::chrono::seconds patience{300};
  SendOn send_on{};  ///< BackupRequest::send_on
  /// Takes a missing segment into the backup instead, if it can: true when taken. Empty: nothing is carried.
  std::function<Result<bool>(const std::string& segment)> carry;
  /// About five times a second, with what is being waited for in words. Its failure ends the wait.
  std::function<Status(const std::string& detail)> tick;
};

/// The segments' names, first and last.
std::string first_segment(const WalWait& wait);
std::string last_segment(const WalWait& wait);

/// For a backup that came with its WAL. @errors Postgres: names a segment of start to stop that is not among `carried`
Status check_carried(const WalWait& wait, const std::vector<std::string>& carried);

/// @errors Postgres: no segment arrived for `patience`, or PostgreSQL archived one to somewhere else (names it, and
///         what the archiver last complained about); Storage, Key, Cancelled
Status wait_for_wal(repository::WalArchive& archive, Server& server, const WalWait& wait, Clock& clock);

}  // namespace pgmint::backup

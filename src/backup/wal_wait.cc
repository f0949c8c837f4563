#include "backup/wal_wait.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/units.h"

namespace pgmint::backup {
namespace {

using namespace std::chrono_literals;
using postgres::SegmentNumber;

constexpr auto kPollFirst = 20ms;
constexpr auto kPollMax = 500ms;
constexpr auto kAskArchiverEvery = 2s;
constexpr auto kAskArchiverFar = 100ms;
constexpr auto kListFarAfter = 2s;  ///< whatever the server says: another one may archive for it
/// After PostgreSQL says that it archived a segment, a store may take this long to show it.
constexpr auto kElsewhereAfter = 15s;
constexpr auto kSendOnEvery = 1s;

/// What pg_stat_archiver says, asked seldom: an answer costs PostgreSQL more than it tells.
class ArchiverWatch {
 public:
  ArchiverWatch(Server& server, std::chrono::microseconds every, Clock& clock) : server_(server), every_(every), clock_(clock) {}

  const ArchiverStatus& look() {
    if (asked_ && clock_.now() < *asked_ + every_) return status_;
    asked_ = clock_.now();
    // The server may be going down while its last segments still arrive: no answer is not a failure of the backup.
    if (auto answer = server_.archiver()) status_ = std::move(*answer);
    return status_;
  }

  std::string complaint() {
    const auto& status = look();
    if (!status.failing) return "";
    return fmt::format("; archiving of {} failed, last at {}", status.last_failed_wal, status.last_failed_time);
  }

 private:
  Server& server_;
  const std::chrono::microseconds every_;
  Clock& clock_;
  std::optional<TimePoint> asked_;
  ArchiverStatus status_;
};

class Wait {
 public:
  Wait(repository::WalArchive& archive, Server& server, const WalWait& wait, Clock& clock)
      : archive_(archive), wait_(wait), clock_(clock), archiver_(server, wait.far ? std::chrono::microseconds(kAskArchiverFar) : std::chrono::microseconds(kAskArchiverEvery), clock), host_(wait.send_on, clock) {}

  Status run() {
    progressed_ = clock_.now();
    std::chrono::microseconds poll = kPollFirst;
    for (std::optional<std::uint64_t> before;;) {
      if (wait_.far) TRY(wait_for_archiver());
      host_.look();
      const auto missing = TRY(still_missing());
      if (missing.empty()) return ok();
      const auto count = count_of(missing);
      if (!before || count < *before) progressed_ = clock_.now();
      before = count;
      TRY(wait_.tick(
          fmt::format("waiting for {}{}", repository::describe(missing.front(), wait_.size), complaint())));
      TRY(give_up_when_hopeless(missing));
      clock_.sleep(poll);
      poll = std::min<std::chrono::microseconds>(poll * 2, kPollMax);
    }
  }

 private:
  static std::uint64_t count_of(const std::vector<repository::WalRange>& ranges) {
    std::uint64_t count = 0;
    for (const auto& range : ranges) count += range.count();
    return count;
  }

  /// What neither the repository holds nor the backup carries. Only the stretch from the first missing one is listed
  /// again.
  Result<std::vector<repository::WalRange>> still_missing() {
    auto listed = TRY(repository::missing_segments(archive_, wait_.timeline, from_, wait_.stop, wait_.size));
    std::vector<repository::WalRange> missing;
    for (const auto& range : listed)
      for (auto segment = range.first; segment <= range.last; segment = postgres::next(segment)) {
        if (carried_.contains(segment)) continue;
        if (wait_.carry && TRY(wait_.carry(name_of(segment)))) {
          carried_.insert(segment);
          continue;
        }
        if (!missing.empty() && postgres::next(missing.back().last) == segment)
          missing.back().last = segment;
        else
          missing.push_back({range.timeline, segment, segment});
      }
    if (!missing.empty()) from_ = std::max(from_, postgres::start_of(missing.front().first, wait_.size));
    return missing;
  }

  /// Until a listing is worth its request.
  Status wait_for_archiver() {
    const auto last = last_segment(wait_);
    for (const auto until = clock_.now() + kListFarAfter; !says_archived(archiver_.look(), last) && clock_.now() < until;) {
      TRY(wait_.tick(fmt::format("waiting for {}{}", last, complaint())));
      clock_.sleep(kAskArchiverFar);
    }
    return ok();
  }

  /// Names of one timeline sort by position.
  static bool says_archived(const ArchiverStatus& status, const std::string& segment) {
    return !status.failing && status.last_archived_wal.size() >= segment.size() && status.last_archived_wal.starts_with(segment.substr(0, 8)) &&
           status.last_archived_wal >= segment;
  }

  Status give_up_when_hopeless(const std::vector<repository::WalRange>& missing) {
    const auto first = name_of(missing.front().first);
    const auto now = clock_.now();
    const auto& status = archiver_.look();
    const bool claimed = says_archived(status, first) && !host_.left();
    if (!claimed) claimed_since_.reset();
    if (claimed && !claimed_since_) claimed_since_ = now;
    if (claimed && now - *claimed_since_ > kElsewhereAfter)
      return Error(Errc::Postgres,
                   fmt::format("PostgreSQL reports {} as archived, but it is not in this repository", first),
                   Hint{"archive_command must bring WAL to this repository and fail when it does not: "
                        "archive_command = 'pgmint wal push \"%p\"'"});
    if (now - progressed_ <= wait_.patience) return ok();
    return Error(Errc::Postgres,
                 fmt::format("no WAL arrived for {}: {} is not in the repository{}",
                             human(std::chrono::microseconds(wait_.patience)),
                             repository::describe(missing.front(), wait_.size), complaint()),
                 Hint{status.failing ? "PostgreSQL's log has archive_command's message"
                                     : "check archive_command, and pg_stat_archiver on the server; pgmint wal status"});
  }

  std::string complaint() { return archiver_.complaint() + (host_.left() ? "; " + *host_.left() : ""); }

  std::string name_of(SegmentNumber segment) const {
    return postgres::segment_file_name(wait_.timeline, segment, wait_.size);
  }

  repository::WalArchive& archive_;
  const WalWait& wait_;
  Clock& clock_;
  ArchiverWatch archiver_;
  HostWatch host_;
  postgres::Lsn from_ = wait_.start;
  std::set<SegmentNumber> carried_;
  TimePoint progressed_{};
  std::optional<TimePoint> claimed_since_;
};

}  // namespace

void HostWatch::look() {
  if (!send_on_ || (asked_ && clock_.now() < *asked_ + kSendOnEvery)) return;
  left_ = send_on_();
  asked_ = clock_.now();
}

std::string first_segment(const WalWait& wait) {
  return postgres::segment_file_name(wait.timeline, postgres::segment_of(wait.start, wait.size), wait.size);
}
std::string last_segment(const WalWait& wait) {
  return postgres::segment_file_name(wait.timeline, postgres::segment_before(wait.stop, wait.size), wait.size);
}

Status check_carried(const WalWait& wait, const std::vector<std::string>& carried) {
  const auto last = postgres::segment_before(wait.stop, wait.size);
  for (auto segment = postgres::segment_of(wait.start, wait.size); segment <= last; segment = postgres::next(segment)) {
    const auto name = postgres::segment_file_name(wait.timeline, segment, wait.size);
    if (std::ranges::find(carried, name) == carried.end())
      return Error(Errc::Postgres, fmt::format("the server did not send {}, which the backup needs", name), Hint{"start the backup again"});
  }
  return ok();
}

Status wait_for_wal(repository::WalArchive& archive, Server& server, const WalWait& wait, Clock& clock) {
  return Wait(archive, server, wait, clock).run();
}

}  // namespace pgmint::backup

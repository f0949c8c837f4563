// Which WAL an archive holds, which it lacks, and whether a recovery would find its way through it.
// Two parts: pure questions about names and timeline histories (WalInventory), and the few that read a WalArchive.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/cancel.h"
#include "base/clock.h"
#include "postgres/history.h"
#include "postgres/wal_name.h"
#include "postgres/wal_summary.h"
#include "repository/log_state.h"
#include "repository/wal_archive.h"

namespace pgmint::repository {

/// Consecutive segments of one timeline, both ends included.
struct WalRange {
  postgres::TimelineId timeline;
  postgres::SegmentNumber first, last;
  std::uint64_t count() const { return last.value() - first.value() + 1; }
  bool operator==(const WalRange&) const = default;
};
/// "000000010000000000000003", or "000000010000000000000003 to 000000010000000000000007 (5 segments)".
std::string describe(const WalRange& range, postgres::WalSegmentSize size);

/// Per timeline the position before which `expire` let WAL go, all of it or all but what backups need to become consistent; a
/// timeline without an entry has no floor.
using WalFloors = std::map<postgres::TimelineId, postgres::Lsn>;
WalFloors floors_of(const LogState& state, const WalIdentity& identity);
/// The identity that the cluster has now, and the newest one with this system identifier (nullopt: it never had it).
WalIdentity current_identity(const LogState& state);
std::optional<WalIdentity> find_identity(const LogState& state, std::uint64_t system_id);

/// What stands under one timeline.
struct TimelineFiles {
  std::set<postgres::SegmentNumber> segments;
  std::set<postgres::SegmentNumber> partials;
  std::vector<std::string> backups;  ///< .backup files
  bool has_history_file = false;
  /// Parsed history; of timeline 1 the empty one. nullopt: the file is not stored, or (history_damaged) not readable.
  std::optional<postgres::TimelineHistory> history;
  bool history_damaged = false;
  std::uint64_t stored_bytes = 0;  ///< of all its objects
};

/// The files of one cluster identity, sorted out. A value: it does not follow the archive.
class WalInventory {
 public:
  explicit WalInventory(postgres::WalSegmentSize size) : size_(size) {}

  /// Takes up one stored file. Names that PostgreSQL would not write at this segment size go to strange().
  void add(const std::string& file_name, std::uint64_t stored_bytes);
  /// The contents of "<timeline>.history"; nullopt: present, but damaged.
  void add_history(postgres::TimelineId timeline, std::optional<postgres::TimelineHistory> history);

  postgres::WalSegmentSize segment_size() const { return size_; }
  const std::map<postgres::TimelineId, TimelineFiles>& timelines() const { return timelines_; }
  const std::vector<std::string>& strange() const { return strange_; }
  bool has(postgres::TimelineId timeline, postgres::SegmentNumber segment) const;
  std::uint64_t segment_count() const;
  std::uint64_t stored_bytes() const;

  /// The timelines' contiguous runs, ascending.
  std::vector<WalRange> ranges() const;
  /// Segments that must have existed and are not here: between the first and the last of a timeline, and from a timeline to
  /// the point where a stored descendant left it. Below a timeline's floor nothing is missing.
  std::vector<WalRange> gaps(const WalFloors& floors = {}) const;

  /// History of `timeline` as stored; timeline 1 always has one. nullopt when it cannot be known.
  std::optional<postgres::TimelineHistory> history_of(postgres::TimelineId timeline) const;
  /// The highest timeline here that a backup which ended at `lsn` on `timeline` can be recovered along (`--latest`).
  postgres::TimelineId newest_descendant(postgres::TimelineId timeline, postgres::Lsn lsn) const;
  /// How far recovery gets along `history` from `from` on: the end of the last segment before the first one missing.
  /// nullopt when even the first is missing.
  std::optional<postgres::Lsn> reachable_end(const postgres::TimelineHistory& history, postgres::Lsn from) const;
  /// Of what needed_segments() names, what is not here; runs joined.
  std::vector<WalRange> missing(const postgres::TimelineHistory& history, postgres::Lsn from, postgres::Lsn to) const;

 private:
  postgres::WalSegmentSize size_;
  std::map<postgres::TimelineId, TimelineFiles> timelines_;
  std::vector<std::string> strange_;
};

/// The segments that recovery reads from byte `from` to before byte `to` along `history`, in order. Where two timelines share
/// a segment it is the newer one's copy, as PostgreSQL looks for the newest first (xlogrecovery.c, XLogFileReadAnyTLI).
/// Empty when to <= from.
std::vector<WalRange> needed_segments(const postgres::TimelineHistory& history, postgres::Lsn from, postgres::Lsn to,
                                      postgres::WalSegmentSize size);

/// Lists the archive, reads every history file. The segment size is read from a stored segment unless `size` is given; with
/// no segment stored and no size it is PostgreSQL's default. Damaged history files are marked, not an error.
/// @errors Storage, Key, Corruption (a segment's header that was needed for the size)
/// @param listed  gets the listing, in its order
Result<WalInventory> load_wal_inventory(WalArchive& archive, std::optional<postgres::WalSegmentSize> size = std::nullopt,
                                        std::vector<WalArchive::Listed>* listed = nullptr);

/// Segments of one timeline from `from` to before `to` that the archive lacks, by listing only that stretch. @errors Storage, Key
Result<std::vector<WalRange>> missing_segments(WalArchive& archive, postgres::TimelineId timeline, postgres::Lsn from,
                                               postgres::Lsn to, postgres::WalSegmentSize size);

struct WaitForWal {
  postgres::TimelineId timeline;
  postgres::Lsn from, to;                    ///< e.g. a backup's start and stop
  postgres::WalSegmentSize size = postgres::WalSegmentSize::default_size();
  std::chrono::seconds limit{60};
  std::chrono::milliseconds poll{200};
  const CancelToken* cancel = nullptr;
  /// Called after every look that found something missing.
  std::function<void(const std::vector<WalRange>& still_missing)> progress;
};
/// Returns once every segment of the stretch is stored. @errors Postgres after `limit`: names what is missing and what to
/// look at (archive_command, pg_stat_archiver); Storage, Key, Cancelled
Status wait_for_wal(WalArchive& archive, const WaitForWal& wait, Clock& clock);

/// Decoded change summary; nullopt: the object or its summary is absent. @errors Corruption, Precondition, Storage, Key
Result<std::optional<postgres::WalSummary>> read_summary(WalArchive& archive, postgres::TimelineId timeline,
                                                         postgres::SegmentNumber segment, postgres::WalSegmentSize size);

inline constexpr std::uint64_t kCommitSearchMax = 2000;

/// What a restore may aim at.
struct RecoveryWindow {
  postgres::TimelineId timeline;   ///< of the history that it follows
  postgres::Lsn from;              ///< earliest: the backup's stop LSN
  postgres::Lsn end;               ///< latest byte that can be replayed (`from` when WAL ends before it)
  std::optional<WalRange> first_gap;          ///< why it ends there, when later WAL is stored; nullopt: WAL simply ends
  bool complete_to_from = true;    ///< false: WAL between start and stop is missing, the backup cannot become consistent
  /// Newest commit in the reachable WAL behind `from`, by its summary: a later time cannot be reached.
  std::optional<postgres::CommitPoint> last_commit;
  /// False: summaries were absent, or the search was given up after kCommitSearchMax segments without a commit, so that a
  /// later commit may exist than `last_commit` says.
  bool last_commit_known = true;
  std::vector<WalRange> segments;  ///< that recovery would read, in order
};
/// @param start, stop  of the backup
/// @errors Storage, Key, Corruption (a summary that was needed)
Result<RecoveryWindow> recovery_window(WalArchive& archive, const WalInventory& inventory,
                                       const postgres::TimelineHistory& history, postgres::Lsn start, postgres::Lsn stop);

/// Calls `visit` for the summary of every segment of `ranges` in order (nullptr where there is none), e.g. to look for a
/// restore point, an xid, or the first commit after a time. The first failure ends it.
Status for_each_summary(WalArchive& archive, const std::vector<WalRange>& ranges, postgres::WalSegmentSize size,
                        const std::function<Status(const WalRange& one, const postgres::WalSummary*)>& visit);

}  // namespace pgmint::repository

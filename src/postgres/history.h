// Timeline history: through which timelines, and up to which positions, a timeline came to be.
// Source: src/backend/access/transam/timeline.c, 13 to 18 alike.
#pragma once

#include <vector>

#include "base/error.h"
#include "postgres/lsn.h"

namespace pgmint::postgres {

struct TimelineSwitch {
  TimelineId timeline;  ///< the timeline that was left
  Lsn switch_point;     ///< WAL of `timeline` before this position belongs to the history
  std::string reason;   ///< PostgreSQL's words
};

class TimelineHistory {
 public:
  /// The history of a timeline that has no history file: timeline 1.
  explicit TimelineHistory(TimelineId target) : target_(target) {}
  /// Reads "<target>.history". Blank lines and comments (#) are passed over; hostile input ends in an Error.
  /// @param text  at most kTextMax bytes
  /// @errors Corruption: not a history, ids that do not rise, ids not below `target`
  static Result<TimelineHistory> parse(TimelineId target, std::string_view text);
  static constexpr std::size_t kTextMax = 4U << 20;

  TimelineId target() const { return target_; }
  /// Oldest first; without the target itself.
  const std::vector<TimelineSwitch>& switches() const { return switches_; }

  /// Where `timeline` was left, as this history uses it; nullopt for the target, and for timelines that are no part of
  /// it. A later switch at a lower position (recovery ended before an earlier switch point) lowers it.
  std::optional<Lsn> switch_point(TimelineId timeline) const;
  /// True when all WAL of `timeline` before `lsn`, from where `timeline` begins, is part of the history: a backup that
  /// ended at this position can be recovered along it.
  bool contains(TimelineId timeline, Lsn lsn) const;
  /// The timeline that holds the WAL byte at `lsn`.
  TimelineId timeline_at(Lsn lsn) const;
  /// Where `timeline` begins: its parent's switch point, 0/0 for the first; nullopt when it is no part of the history.
  std::optional<Lsn> begin_of(TimelineId timeline) const;

 private:
  TimelineId target_;
  std::vector<TimelineSwitch> switches_;
};

}  // namespace pgmint::postgres

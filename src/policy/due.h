// When a job is to run next, from its schedule and what became of its last run. Pure: facts and a time in, a moment out.
#pragma once

#include <optional>

#include "policy/schedule.h"

namespace pgmint::policy {

/// A clock that steps back by less than this has been corrected; what ran already does not run again. Beyond it, one of its two
/// times was wrong.
inline constexpr auto kClockStep = std::chrono::hours(1);
/// The first time after a failure; twice as long after each further one, up to the last.
inline constexpr auto kRetryFirst = std::chrono::minutes(1);
inline constexpr auto kRetryLast = std::chrono::hours(1);

/// How a run ended, as far as it matters for the next one.
enum class RunEnd {
  Settled,      ///< done, or with an answer that another try would not change
  Busy,         ///< somebody else was at work: soon again
  Failed,       ///< again, less and less often
  Interrupted,  ///< cut off, with this program or by it: at once when it runs again
};

struct JobHistory {
  /// What was to happen up to here has been dealt with: run, or left out for a reason.
  TimePoint through{};
  RunEnd end = RunEnd::Settled;
  TimePoint ended{};       ///< of the last run
  unsigned failures = 0;   ///< in a row
  bool operator==(const JobHistory&) const = default;
};

struct JobTiming {
  const Schedule& schedule;
  const TimeZone& zone;
  std::chrono::seconds delay{};  ///< behind each moment of the schedule
};

/// The history with times that lie further ahead of `now` than a corrected clock explains brought back to `now`: otherwise a job
/// would wait for years after a clock had been wrong for a minute.
JobHistory corrected(const JobHistory& history, TimePoint now);

/// When the job is to start; not after now: it is due. However many of its moments have passed, it is due once. nullopt: never.
std::optional<TimePoint> next_start(const JobTiming& timing, const JobHistory& history);
/// The moment of the schedule after those dealt with, without tries after a failure.
std::optional<TimePoint> next_planned(const JobTiming& timing, TimePoint through);

}  // namespace pgmint::policy

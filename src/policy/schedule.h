// When something is to happen again and again: cron lines, or words. Pure: a text in, moments out.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/time_zone.h"

namespace pgmint::policy {

/// Five-field cron as Debian's cron reads it (lists, ranges, steps, names, @daily and the like), "never", or words:
///   hourly | every 6 h | every 15 min [at :10] | daily [at 01:00] | weekdays [at 01:00] | weekly [on Sunday] [at 03:00] |
///   every Monday and Thursday [at 03:00] | monthly [on the 1st] [at 04:00]
///
/// Times are those of clocks on the wall. What falls into a gap (clocks set forward) happens once, right after it. Where a wall
/// time comes twice (clocks set back), it happens the first time; a schedule that names every hour goes by elapsed hours, and
/// happens both times.
class Schedule {
 public:
  static Schedule never() { return Schedule(); }
  /// @errors Usage: says what would be right; also for a line that never comes, such as 30 February
  static Result<Schedule> parse(std::string_view text);

  bool is_never() const { return minutes_ == 0; }
  /// As it was written.
  const std::string& text() const { return text_; }
  /// The five fields; empty: never.
  const std::string& cron() const { return cron_; }
  /// The first occurrence strictly after `after`; nullopt: never, or not in the next fifty years.
  std::optional<TimePoint> next(TimePoint after, const TimeZone& zone) const;

  bool operator==(const Schedule& other) const { return cron_ == other.cron_; }

 private:
  static Result<Schedule> parse_cron(std::string_view line);
  bool has_day(std::chrono::local_days day) const;
  std::optional<TimePoint> first_of_day(std::chrono::local_days day, TimePoint after, const TimeZone& zone) const;

  std::string text_ = "never", cron_;
  std::uint64_t minutes_ = 0;                    ///< a bit each
  std::uint32_t hours_ = 0, month_days_ = 0, months_ = 0, week_days_ = 0;  ///< days and months from 1; Sunday is 0
  /// A field that begins with '*' chooses no day by itself: then both have to agree, else one is enough.
  bool either_day_ = false;
};

/// A number and s, min or h: "90 s", "5 min", "1 h"; "0". At most 12 hours. @errors Usage
Result<std::chrono::seconds> parse_delay(std::string_view text);
/// The shortest text that parse_delay reads as this.
std::string format_delay(std::chrono::seconds delay);
/// From 0 to `bound`, always the same for the same seed: many hosts with the same schedule do not all begin at once.
std::chrono::seconds delay_of(std::string_view seed, std::chrono::seconds bound);

}  // namespace pgmint::policy

// Time as a dependency: production reads the system clock, simulation turns its own.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "base/error.h"

namespace pgmint {

/// Microseconds since the Unix epoch, UTC.
using TimePoint = std::chrono::sys_time<std::chrono::microseconds>;

class Clock {
 public:
  virtual ~Clock() = default;
  virtual TimePoint now() const = 0;
  /// Returns after at least `duration`; simulated clocks may return at once.
  virtual void sleep(std::chrono::microseconds duration) = 0;
};

/// The machine's clock. Thread-safe.
Clock& system_clock();

/// A clock that moves only when told to, or by sleep(). Not thread-safe.
class ManualClock final : public Clock {
 public:
  explicit ManualClock(TimePoint start) : now_(start) {}
  TimePoint now() const override { return now_; }
  void sleep(std::chrono::microseconds duration) override { now_ += duration; }
  void set(TimePoint now) { now_ = now; }

 private:
  TimePoint now_;
};

/// "2026-11-22T08:40:01.123456Z"; without the fraction when it is zero.
std::string format_rfc3339(TimePoint time);
/// "20261122T084001Z", as in backup names.
std::string format_compact(TimePoint time);
/// "2026-11-22 08:40:01.123456+00", as PostgreSQL reads it; always UTC, fraction only when not zero.
std::string format_postgres(TimePoint time);
/// "2026-11-22 08:41:19.005" in the local time zone, for logs.
std::string format_local(TimePoint time);
/// RFC 3339 or PostgreSQL's output: 'T' or blank between date and time, seconds and fraction optional, zone 'Z', 'UTC',
/// +HH, +HH:MM, +HHMM; without a zone the local time zone (TZ). A date alone is midnight. @errors Usage
Result<TimePoint> parse_time(std::string_view text);

}  // namespace pgmint

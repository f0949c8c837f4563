// Local days: a zone of the time zone database, or the system's own. Read once, then a pure value.
#pragma once

#include <chrono>
#include <string>

#include "base/clock.h"
#include "base/error.h"

namespace pgmint {

/// Copies are cheap. Thread-safe.
class TimeZone {
 public:
  static TimeZone utc() { return TimeZone("UTC", Kind::Utc); }
  /// What TZ or /etc/localtime says.
  static TimeZone of_system();
  /// "Europe/Berlin", as in the system's time zone database. @errors Configuration: no such zone, no database
  static Result<TimeZone> named(const std::string& name);

  /// As messages say it; the system's own is "local time".
  const std::string& name() const { return name_; }
  /// The calendar day that clocks on the wall show at that moment.
  std::chrono::local_days day_of(TimePoint time) const;

 private:
  enum class Kind { Utc, System, Named };
  TimeZone(std::string name, Kind kind, const void* zone = nullptr) : name_(std::move(name)), kind_(kind), zone_(zone) {}

  std::string name_;
  Kind kind_;
  const void* zone_;  ///< date::time_zone, which lives as long as the process
};

}  // namespace pgmint

// Local days: a zone of the system's time zone database, or the system's own. Read once, then a pure value.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/error.h"

namespace pgmint {

/// Copies are cheap. Thread-safe.
class TimeZone {
 public:
  static TimeZone utc() { return TimeZone("UTC", Kind::Utc); }
  /// What TZ or /etc/localtime says.
  static TimeZone of_system();
  /// "Europe/Berlin", as below /usr/share/zoneinfo. @errors Configuration: no such zone, or its file cannot be read
  static Result<TimeZone> named(const std::string& name);
  /// From the bytes of a TZif file (RFC 8536, version 2 and later). @errors Configuration: not one
  static Result<TimeZone> parse(std::string name, ByteView tzif);

  /// As messages say it; the system's own is "local time".
  const std::string& name() const { return name_; }
  /// The calendar day that clocks on the wall show at that moment.
  std::chrono::local_days day_of(TimePoint time) const;
  /// How far these clocks are ahead of UTC at that moment.
  std::chrono::seconds offset_at(TimePoint time) const;

 private:
  struct Rules;
  enum class Kind { Utc, System, Named };
  TimeZone(std::string name, Kind kind, std::shared_ptr<const Rules> rules = nullptr)
      : name_(std::move(name)), kind_(kind), rules_(std::move(rules)) {}

  std::string name_;
  Kind kind_;
  std::shared_ptr<const Rules> rules_;
};

}  // namespace pgmint

#include "base/time_zone.h"

#include <date/tz.h>
#include <fmt/format.h>

#include <ctime>
#include <exception>

namespace pgmint {
namespace {

const date::time_zone& zone_of(const void* zone) { return *static_cast<const date::time_zone*>(zone); }

std::chrono::local_days day_number(long days) { return std::chrono::local_days(std::chrono::days(days)); }

}  // namespace

TimeZone TimeZone::of_system() {
  ::tzset();
  return {"local time", Kind::System};
}

Result<TimeZone> TimeZone::named(const std::string& name) {
  try {
    const auto* zone = date::locate_zone(name);
    zone->get_info(std::chrono::sys_seconds{});  // read now: what is damaged shows here, and never later
    return TimeZone(name, Kind::Named, zone);
  } catch (const std::exception& failure) {
    return Error(Errc::Configuration, fmt::format("there is no time zone \"{}\" on this system: {}", name, failure.what()),
                 Hint{"names are those below /usr/share/zoneinfo, such as Europe/Berlin"});
  }
}

std::chrono::local_days TimeZone::day_of(TimePoint time) const {
  switch (kind_) {
    case Kind::Utc: break;
    case Kind::System: {
      const std::time_t seconds = std::chrono::floor<std::chrono::seconds>(time).time_since_epoch().count();
      std::tm local{};
      if (::localtime_r(&seconds, &local) == nullptr) break;  // a year beyond what fits an int
      const date::year_month_day day{date::year(local.tm_year + 1900), date::month(static_cast<unsigned>(local.tm_mon + 1)),
                                     date::day(static_cast<unsigned>(local.tm_mday))};
      return day_number(date::sys_days(day).time_since_epoch().count());
    }
    case Kind::Named: {
      const auto local = zone_of(zone_).to_local(std::chrono::floor<std::chrono::seconds>(time));
      return day_number(date::floor<date::days>(local).time_since_epoch().count());
    }
  }
  return day_number(std::chrono::floor<std::chrono::days>(time).time_since_epoch().count());
}

}  // namespace pgmint

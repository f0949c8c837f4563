#include "base/time_zone.h"

#include <gtest/gtest.h>

#include <cstdlib>

namespace pgmint {
namespace {

using namespace std::chrono;
using namespace std::chrono_literals;

local_days day(int y, unsigned m, unsigned d) { return local_days(year(y) / month(m) / std::chrono::day(d)); }
TimePoint at(std::string_view text) { return *parse_time(text); }

TEST(TimeZone, UtcDaysBeginAtMidnight) {
  EXPECT_EQ(TimeZone::utc().day_of(at("2026-11-22 23:59:59.999999Z")), day(2026, 11, 22));
  EXPECT_EQ(TimeZone::utc().day_of(at("2026-11-23 00:00:00Z")), day(2026, 11, 23));
  EXPECT_EQ(TimeZone::utc().day_of(TimePoint(-1us)), day(1969, 12, 31));
}

TEST(TimeZone, ANamedZoneFollowsItsSummerTime) {
  const auto berlin = *TimeZone::named("Europe/Berlin");
  EXPECT_EQ(berlin.day_of(at("2026-01-15 22:59:59Z")), day(2026, 1, 15));
  EXPECT_EQ(berlin.day_of(at("2026-01-15 23:00:00Z")), day(2026, 1, 16));
  EXPECT_EQ(berlin.day_of(at("2026-07-15 21:59:59Z")), day(2026, 7, 15));
  EXPECT_EQ(berlin.day_of(at("2026-07-15 22:00:00Z")), day(2026, 7, 16));
  // The day of 25 hours: from 22:00 UTC the day before to 23:00 UTC.
  EXPECT_EQ(berlin.day_of(at("2026-10-24 22:00:00Z")), day(2026, 10, 25));
  EXPECT_EQ(berlin.day_of(at("2026-10-25 22:59:59Z")), day(2026, 10, 25));
  EXPECT_EQ(berlin.name(), "Europe/Berlin");
}

TEST(TimeZone, ADayThatAZoneSkippedIsNoDay) {
  const auto apia = *TimeZone::named("Pacific/Apia");
  EXPECT_EQ(apia.day_of(at("2011-12-30 09:59:59Z")), day(2011, 12, 29));
  EXPECT_EQ(apia.day_of(at("2011-12-30 10:00:00Z")), day(2011, 12, 31));
}

TEST(TimeZone, AnUnknownZoneIsAnError) {
  for (const auto* name : {"Europe/Berlln", "", "../../etc/passwd", "europe/berlin"}) {
    const auto zone = TimeZone::named(name);
    ASSERT_FALSE(zone) << name;
    EXPECT_EQ(zone.failure().code(), Errc::Configuration);
  }
}

TEST(TimeZone, TheSystemsOwnIsWhatTzSays) {
  const char* before = std::getenv("TZ");
  const std::string kept = before == nullptr ? "" : before;
  ::setenv("TZ", "Asia/Kathmandu", 1);
  const auto named = *TimeZone::named("Asia/Kathmandu");
  const auto system = TimeZone::of_system();
  for (auto time = at("2026-03-01 18:00:00Z"); time < at("2026-03-01 19:00:00Z"); time += 5min)
    EXPECT_EQ(system.day_of(time), named.day_of(time));
  EXPECT_EQ(system.day_of(at("2026-03-01 18:15:00Z")), day(2026, 3, 2));
  before == nullptr ? ::unsetenv("TZ") : ::setenv("TZ", kept.c_str(), 1);
  ::tzset();
}

}  // namespace
}  // namespace pgmint

#include "base/time_zone.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <ctime>

#include "base/file.h"
#include "base/test_seed.h"

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

TEST(TimeZone, AbsurdTimesHaveADayToo) {
  for (const auto& zone : {TimeZone::utc(), TimeZone::of_system(), *TimeZone::named("Europe/Berlin")})
    for (const auto time : {TimePoint::min(), TimePoint::max()}) {
      const year_month_day date(zone.day_of(time));
      EXPECT_TRUE(date.ok() && date.year() >= year(0) && date.year() <= year(10'000));
    }
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
  for (const auto* name : {"Europe/Berlln", "", "../../etc/passwd", "europe/berlin", "/etc/localtime", "Europe", "tzdata.zi"}) {
    const auto zone = TimeZone::named(name);
    ASSERT_FALSE(zone) << name;
    EXPECT_EQ(zone.failure().code(), Errc::Configuration);
  }
}

/// TZ of this process while it lives.
class Environment {
 public:
  explicit Environment(const char* zone) {
    if (const char* before = std::getenv("TZ")) before_ = before;
    ::setenv("TZ", zone, 1);
    ::tzset();
  }
  ~Environment() {
    before_ ? ::setenv("TZ", before_->c_str(), 1) : ::unsetenv("TZ");
    ::tzset();
  }

 private:
  std::optional<std::string> before_;
};

TEST(TimeZone, DaysAreThoseThatTheSystemsLibraryTells) {
  const auto seed = test_seed();
  SCOPED_TRACE(fmt::format("PGMINT_TEST_SEED={}", seed));
  SeededRandom random(seed);
  for (const auto* name : {"Europe/Berlin", "Europe/Dublin", "America/New_York", "America/St_Johns", "America/Sao_Paulo", "America/Nuuk", "Africa/Casablanca",
                           "Asia/Kathmandu", "Asia/Gaza", "Asia/Jerusalem", "Australia/Lord_Howe", "Pacific/Apia", "Pacific/Kiritimati", "Pacific/Auckland",
                           "America/Santiago", "Antarctica/Troll", "Asia/Tehran", "UTC", "Etc/GMT+12", "EST5EDT"}) {
    const auto zone = TimeZone::named(name);
    ASSERT_TRUE(zone) << zone.failure().describe();
    const Environment environment(name);
    const auto system = TimeZone::of_system();
    for (int i = 0; i < 20'000; ++i) {
      // From 1900 to 2200; half of the time around midnight somewhere, where days change.
      auto seconds = static_cast<std::int64_t>(random.below(300ull * 31'556'952)) - 70LL * 31'556'952;
      if (i % 2 == 0) seconds = seconds / 900 * 900 - static_cast<std::int64_t>(random.below(2));
      const TimePoint time{std::chrono::seconds(seconds)};
      ASSERT_EQ(zone->day_of(time), system.day_of(time)) << name << " at " << format_rfc3339(time);
      ASSERT_EQ(zone->offset_at(time), system.offset_at(time)) << name << " at " << format_rfc3339(time);
    }
  }
}

TEST(TimeZone, FilesThatAreDamagedAreErrorsOrZones) {
  const auto seed = test_seed();
  SCOPED_TRACE(fmt::format("PGMINT_TEST_SEED={}", seed));
  SeededRandom random(seed);
  const auto whole = read_file("/usr/share/zoneinfo/Europe/Berlin", 1 << 20);
  ASSERT_TRUE(whole);
  ASSERT_TRUE(TimeZone::parse("whole", *whole));
  for (std::size_t size = 0; size < whole->size(); ++size) EXPECT_FALSE(TimeZone::parse("cut", ByteView(*whole).first(size))) << size;
  for (int i = 0; i < 20'000; ++i) {
    auto bytes = *whole;
    for (auto n = 1 + random.below(4); n > 0; --n) bytes[random.below(bytes.size())] = static_cast<std::byte>(random.next());
    if (const auto zone = TimeZone::parse("changed", bytes)) zone->day_of(TimePoint(std::chrono::seconds(random.below(1ull << 33))));
  }
  for (const auto* footer : {"CET", "CET-1CEST", "CET-1CEST,M3.5.0", "CET-1CEST,M13.5.0,M10.5.0", "CET-1CEST,M3.6.0,M10.5.0", "CET-1CEST,M3.5.7,M10.5.0", "CET-1CEST,M3.5.0,M10.5.0/x",
                             "<+03", "CET-168", "C-1", "CET-1CEST,J366,J1"}) {
    auto bytes = *whole;
    while (bytes[bytes.size() - 2] != std::byte{'\n'}) bytes.erase(bytes.end() - 2);
    bytes.pop_back();
    append(bytes, as_bytes(footer));
    bytes.push_back(std::byte{'\n'});
    EXPECT_FALSE(TimeZone::parse("footer", bytes)) << footer;
  }
}

TEST(TimeZone, TheSystemsOwnIsWhatTzSays) {
  const Environment environment("Asia/Kathmandu");
  const auto named = *TimeZone::named("Asia/Kathmandu");
  const auto system = TimeZone::of_system();
  for (auto time = at("2026-03-01 18:00:00Z"); time < at("2026-03-01 19:00:00Z"); time += 5min)
    EXPECT_EQ(system.day_of(time), named.day_of(time));
  EXPECT_EQ(system.day_of(at("2026-03-01 18:15:00Z")), day(2026, 3, 2));
}

}  // namespace
}  // namespace pgmint

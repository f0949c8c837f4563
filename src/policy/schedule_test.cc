#include "policy/schedule.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "base/test_seed.h"

namespace pgmint::policy {
namespace {

using namespace std::chrono_literals;
using std::chrono::local_days;
using std::chrono::year_month_day;

TimePoint at(std::string_view text) { return *parse_time(text); }
TimeZone zone(const std::string& name) { return *TimeZone::named(name); }

Schedule schedule(std::string_view text) {
  const auto parsed = Schedule::parse(text);
  EXPECT_TRUE(parsed) << (parsed ? "" : parsed.failure().describe());
  return parsed ? *parsed : Schedule::never();
}

std::vector<std::string> following(std::string_view text, const TimeZone& in, TimePoint after, std::size_t count) {
  const auto parsed = schedule(text);
  std::vector<std::string> times;
  while (times.size() < count) {
    const auto next = parsed.next(after, in);
    if (!next) break;
    times.push_back(format_rfc3339(*next));
    after = *next;
  }
  return times;
}
using Times = std::vector<std::string>;

std::string refusal(std::string_view text) {
  const auto parsed = Schedule::parse(text);
  if (parsed) return fmt::format("accepted as {}", parsed->cron());
  EXPECT_EQ(parsed.failure().code(), Errc::Usage);
  return parsed.failure().describe();
}

// --- what is written

TEST(Schedule, WordsAreCronLines) {
  const std::pair<const char*, const char*> pairs[] = {
      {"hourly", "0 * * * *"},
      {"hourly at :15", "15 * * * *"},
      {"every hour", "0 * * * *"},
      {"every minute", "* * * * *"},
      {"every 6 h", "0 */6 * * *"},
      {"every 6 hours", "0 */6 * * *"},
      {"every 6h", "0 */6 * * *"},
      {"Every 6 h at :30", "30 */6 * * *"},
      {"every 24 h", "0 0 * * *"},
      {"every 15 min", "*/15 * * * *"},
      {"every 60 minutes", "0 * * * *"},
      {"daily", "0 0 * * *"},
      {"daily at 01:00", "0 1 * * *"},
      {"daily 01:00", "0 1 * * *"},
      {"01:00", "0 1 * * *"},
      {"weekdays 22:30", "30 22 * * 1-5"},
      {"weekly Sunday 03:00", "0 3 * * 0"},
      {"weekly 03:00", "0 3 * * 0"},
      {"monthly on the 1st 04:00", "0 4 1 * *"},
      {"every day at 1:05", "5 1 * * *"},
      {"daily at noon", "0 12 * * *"},
      {"weekdays at 22:30", "30 22 * * 1-5"},
      {"weekly", "0 0 * * 0"},
      {"weekly on Sunday at 03:00", "0 3 * * 0"},
      {"every Monday, wed and Friday at 04:10", "10 4 * * 1,3,5"},
      {"every Monday, Wednesday, and Friday", "0 0 * * 1,3,5"},
      {"monthly", "0 0 1 * *"},
      {"monthly on the 15th at 02:00", "0 2 15 * *"},
      {"monthly on 2", "0 0 2 * *"},
      {"@daily", "0 0 * * *"},
      {"@yearly", "0 0 1 1 *"},
      {" 5  4 * jan,DEC  mon-fri ", "5 4 * jan,DEC mon-fri"},
  };
  for (const auto& [words, line] : pairs) {
    EXPECT_EQ(schedule(words).cron(), line) << words;
    EXPECT_EQ(schedule(schedule(words).cron()), schedule(words));
  }
  EXPECT_TRUE(schedule("never").is_never());
  EXPECT_EQ(schedule("never").cron(), "");
  EXPECT_EQ(schedule("daily at 01:00").text(), "daily at 01:00");
}

TEST(Schedule, WhatIsWrongIsAnErrorThatSaysWhatWouldBeRight) {
  const std::pair<const char*, const char*> pairs[] = {
      {"", "daily at 01:00"},           {"sometimes", "daily at 01:00"},
      {"every 5 h", "1, 2, 3, 4, 6"},   {"every 0 h", "come out even"},
      {"every 7 min", "come out even"}, {"every 6 days", "h or min"},
      {"every", "every what"},          {"every now and then", "neither a number nor a day"},
      {"daily at 25:00", "23:59"},      {"daily at 1:5", "23:59"},
      {"daily at 01:60", "23:59"},      {"daily at 1am", "23:59"},
      {"01:00 02:00", "too much"},      {"daily at 01:00 twice", "too much"},
      {"01:0", "23:59"},                {"24:00", "23:59"},
      {"01:00 * * * *", "too much"},
      {"weekly on Caturday", "no day of the week"},
      {"weekly on", "day of the week is missing"},
      {"monthly on the 31st", "1 to 28"},
      {"monthly on the 0th", "such as 1st"},
      {"hourly at 15", ":15"},
      {"@reboot", "@daily"},            {"@Daily", "@daily"},
      {"* * * *", "five fields"},       {"* * * * * *", "five fields"},
      {"60 * * * *", "from 0 to 59"},   {"* 24 * * *", "from 0 to 23"},
      {"* * 0 * *", "from 1 to 31"},    {"* * 32 * *", "from 1 to 31"},
      {"* * * 13 *", "from 1 to 12"},   {"* * * 0 *", "from 1 to 12"},
      {"* * * * 8", "three letters"},   {"* * * janu *", "three letters"},
      {"5-1 * * * *", "backwards"},     {"*/0 * * * *", "step"},
      {"5/10 * * * *", "behind * or a range"},
      {"*/ * * * *", "step"},           {"1,,2 * * * *", "minute"},
      {"0 0 30 2 *", "never comes"},    {"0 0 31 4,6,9,11 *", "never comes"},
      {"-1 * * * *", "daily at 01:00"}, {"0 0 * * sat-mon", "backwards"},
      {"99999999999 * * * *", "minute"},
      {"0 1 * * *\n* * * * * rm", "one line"},
  };
  for (const auto& [text, expected] : pairs) EXPECT_NE(refusal(text).find(expected), std::string::npos) << text << ": " << refusal(text);
  EXPECT_NE(refusal(std::string(300, '1')).find("at most"), std::string::npos);
}

TEST(Schedule, EveryTextOfAFewCharactersIsAScheduleOrAnError) {
  const auto seed = test_seed();
  SCOPED_TRACE(fmt::format("PGMINT_TEST_SEED={}", seed));
  SeededRandom random(seed);
  constexpr std::string_view kPieces[] = {"*", "/", "-", ",", " ", "0", "1", "7", "31", "59", "mon", "feb", "@", "daily", "every", "at", ":", "h", "\xff", "weekly on", "monthly"};
  for (int i = 0; i < 20'000; ++i) {
    std::string text;
    for (auto n = random.below(14); n > 0; --n) text += kPieces[random.below(std::size(kPieces))];
    const auto parsed = Schedule::parse(text);
    if (parsed && !parsed->is_never()) {
      EXPECT_TRUE(Schedule::parse(parsed->cron())) << text;
      EXPECT_TRUE(parsed->next(at("2026-01-01 00:00Z"), TimeZone::utc())) << text;
    }
  }
}

// --- when it happens

TEST(Schedule, NextIsStrictlyAfter) {
  EXPECT_EQ(following("daily at 01:00", TimeZone::utc(), at("2026-11-26 01:00Z"), 2), (Times{"2026-11-27T01:00:00Z", "2026-11-28T01:00:00Z"}));
  EXPECT_EQ(following("daily at 01:00", TimeZone::utc(), at("2026-11-26 00:59:59.999999Z"), 1), (Times{"2026-11-26T01:00:00Z"}));
  EXPECT_EQ(schedule("never").next(at("2026-11-26 01:00Z"), TimeZone::utc()), std::nullopt);
}

TEST(Schedule, EverySixHoursBeginsAtLocalMidnight) {
  EXPECT_EQ(following("every 6 h", zone("Asia/Kathmandu"), at("2026-06-01 00:00Z"), 3),
            (Times{"2026-06-01T00:15:00Z", "2026-06-01T06:15:00Z", "2026-06-01T12:15:00Z"}));
}

TEST(Schedule, LeapDaysComeInTheirYears) {
  EXPECT_EQ(following("0 4 29 2 *", TimeZone::utc(), at("2095-01-01 00:00Z"), 2), (Times{"2096-02-29T04:00:00Z", "2104-02-29T04:00:00Z"}));
  // 29 February of a year in which it is a Sunday: the fields that begin with * have to agree.
  EXPECT_EQ(following("0 4 29 2 */7", TimeZone::utc(), at("2026-01-01 00:00Z"), 1), (Times{"2032-02-29T04:00:00Z"}));
}

TEST(Schedule, DayOfMonthOrDayOfWeekAsCronHasIt) {
  EXPECT_EQ(following("0 0 13 * fri", TimeZone::utc(), at("2026-11-10 00:00Z"), 3),
            (Times{"2026-11-13T00:00:00Z", "2026-11-20T00:00:00Z", "2026-11-27T00:00:00Z"}));
  EXPECT_EQ(following("0 0 */2 * mon", TimeZone::utc(), at("2026-11-01 00:00Z"), 2), (Times{"2026-11-09T00:00:00Z", "2026-11-23T00:00:00Z"}));
}

TEST(Schedule, WhatClocksLeaveOutHappensOnceRightAfter) {
  const auto berlin = zone("Europe/Berlin");  // 2026-03-29: 02:00 becomes 03:00, at 01:00 UTC
  EXPECT_EQ(following("daily at 02:30", berlin, at("2026-03-28 12:00Z"), 2), (Times{"2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"}));
  EXPECT_EQ(following("10,20,40 2 * * *", berlin, at("2026-03-28 12:00Z"), 2), (Times{"2026-03-29T01:00:00Z", "2026-03-30T00:10:00Z"}));
  EXPECT_EQ(following("daily at 02:00", berlin, at("2026-03-28 12:00Z"), 2), (Times{"2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z"}));
  EXPECT_EQ(following("daily at 03:00", berlin, at("2026-03-28 12:00Z"), 1), (Times{"2026-03-29T01:00:00Z"}));
  // Samoa had no 30 December 2011.
  EXPECT_EQ(following("daily at 10:00", zone("Pacific/Apia"), at("2011-12-29 00:00Z"), 3),
            (Times{"2011-12-29T20:00:00Z", "2011-12-30T10:00:00Z", "2011-12-30T20:00:00Z"}));
}

TEST(Schedule, WhatClocksShowTwiceHappensOnce) {
  const auto berlin = zone("Europe/Berlin");  // 2026-10-25: 03:00 becomes 02:00, at 01:00 UTC
  EXPECT_EQ(following("daily at 02:30", berlin, at("2026-10-24 12:00Z"), 2), (Times{"2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"}));
  EXPECT_EQ(following("every 6 h", berlin, at("2026-10-24 20:00Z"), 3), (Times{"2026-10-24T22:00:00Z", "2026-10-25T05:00:00Z", "2026-10-25T11:00:00Z"}));
  // Southern hemisphere, by half an hour: Lord Howe, 2026-04-05, 02:00 becomes 01:30.
  EXPECT_EQ(following("daily at 01:45", zone("Australia/Lord_Howe"), at("2026-04-04 00:00Z"), 2), (Times{"2026-04-04T14:45:00Z", "2026-04-05T15:15:00Z"}));
  // What names every hour goes by elapsed hours.
  EXPECT_EQ(following("every 30 min", berlin, at("2026-10-25 00:00Z"), 4),
            (Times{"2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T01:30:00Z", "2026-10-25T02:00:00Z"}));
}

// --- against a minute-by-minute oracle

struct OracleFields {
  std::set<unsigned> minutes, hours, month_days, months, week_days;
  bool either = false;
};

struct Draw {
  explicit Draw(std::uint64_t seed) : random(seed) {}

  std::pair<std::string, std::set<unsigned>> field(unsigned least, unsigned most, unsigned sparse) {
    std::set<unsigned> values;
    const auto everything = [&](unsigned step) {
      for (unsigned i = least; i <= most; i += step) values.insert(i);
    };
    switch (random.below(sparse)) {
      case 0: everything(1); return {"*", values};
      case 1: {
        const auto step = static_cast<unsigned>(1 + random.below(most));
        everything(step);
        return {fmt::format("*/{}", step), values};
      }
      case 2: {
        const auto first = least + static_cast<unsigned>(random.below(most - least + 1));
        const auto last = first + static_cast<unsigned>(random.below(most - first + 1));
        const auto step = static_cast<unsigned>(1 + random.below(5));
        for (unsigned i = first; i <= last; i += step) values.insert(i);
        return {fmt::format("{}-{}/{}", first, last, step), values};
      }
      default: {
        for (auto n = 1 + random.below(3); n > 0; --n) values.insert(least + static_cast<unsigned>(random.below(most - least + 1)));
        return {fmt::format("{}", fmt::join(values, ",")), values};
      }
    }
  }
  std::pair<std::string, OracleFields> line() {
    OracleFields fields;
    std::string minutes, hours, month_days, months, week_days;
    std::tie(minutes, fields.minutes) = field(0, 59, 6);
    std::tie(hours, fields.hours) = field(0, 23, 4);
    std::tie(month_days, fields.month_days) = field(1, 31, 4);
    std::tie(months, fields.months) = field(1, 12, 4);
    std::tie(week_days, fields.week_days) = field(0, 7, 4);
    if (random.below(2) == 0) month_days = "*", fields.month_days = all(1, 31);
    if (random.below(2) == 0) week_days = "*", fields.week_days = all(0, 6);
    if (random.below(2) == 0) months = "*", fields.months = all(1, 12);
    if (fields.week_days.contains(7)) fields.week_days.insert(0);
    fields.either = month_days[0] != '*' && week_days[0] != '*';
    return {fmt::format("{} {} {} {} {}", minutes, hours, month_days, months, week_days), fields};
  }
  static std::set<unsigned> all(unsigned least, unsigned most) {
    std::set<unsigned> values;
    for (unsigned i = least; i <= most; ++i) values.insert(i);
    return values;
  }
  SeededRandom random;
};

bool wanted(const OracleFields& fields, std::int64_t wall_minute) {
  const auto day = std::chrono::floor<std::chrono::days>(std::chrono::local_time<std::chrono::minutes>(std::chrono::minutes(wall_minute)));
  const year_month_day date(day);
  const auto of_day = static_cast<unsigned>(wall_minute - day.time_since_epoch().count() * 1440);
  const bool in_month = fields.month_days.contains(unsigned(date.day())), in_week = fields.week_days.contains(std::chrono::weekday(day).c_encoding());
  return fields.months.contains(unsigned(date.month())) && (fields.either ? in_month || in_week : in_month && in_week) &&
         fields.hours.contains(of_day / 60) && fields.minutes.contains(of_day % 60);
}

/// Looks at a clock on the wall once a minute, and remembers which times it has shown.
std::set<TimePoint> watched(const OracleFields& fields, const TimeZone& in, TimePoint from, TimePoint to) {
  std::set<TimePoint> times;
  std::set<std::int64_t> shown;
  std::optional<std::int64_t> before;
  for (auto now = from - 48h; now < to; now += 1min) {
    const auto wall = std::chrono::duration_cast<std::chrono::minutes>(now.time_since_epoch() + in.offset_at(now)).count();
    bool runs = wanted(fields, wall) && (fields.hours.size() == 24 || !shown.contains(wall));
    if (before)
      for (auto skipped = *before + 1; skipped < wall; ++skipped) runs |= wanted(fields, skipped);
    if (runs && now > from) times.insert(now);
    shown.insert(wall);
    before = wall;
  }
  return times;
}

TEST(ScheduleProperties, HappensWhenSomebodyWhoWatchesTheClockWouldSay) {
  const auto first = test_seed();
  const char* zones[] = {"UTC", "Europe/Berlin", "America/New_York", "America/St_Johns", "Australia/Lord_Howe", "Pacific/Auckland", "America/Santiago",
                         "Africa/Casablanca", "Antarctica/Troll", "Pacific/Apia", "America/Havana", "Asia/Tehran", "America/Sao_Paulo"};
  for (std::uint64_t seed = first; seed < first + 52; ++seed) {
    SCOPED_TRACE(fmt::format("PGMINT_TEST_SEED={}", seed));
    Draw draw(seed);
    const auto in = zone(zones[seed % std::size(zones)]);
    const auto [line, fields] = draw.line();
    const auto parsed = Schedule::parse(line);
    if (!parsed) {  // such as 31 April only: right if nobody who watched for years would have seen it
      ASSERT_NE(parsed.failure().describe().find("never comes"), std::string::npos) << line << parsed.failure().describe();
      ASSERT_TRUE(watched(fields, TimeZone::utc(), at("2028-01-01 00:00Z"), at("2029-01-01 00:00Z")).empty()) << line;
      continue;
    }
    // Three weeks around a change of the clock in the zone, somewhere between 1985 and 2060; else anywhere.
    auto from = at("1985-01-01 00:00Z") + std::chrono::minutes(draw.random.below(75ULL * 525'960));
    for (int i = 0; i < 400 && in.offset_at(from) == in.offset_at(from + 24h); ++i) from += 24h;
    from -= 10 * 24h;
    const auto to = from + 21 * 24h;
    std::set<TimePoint> found;
    for (auto time = from;;) {
      const auto next = parsed->next(time, in);
      if (!next || *next >= to) break;
      ASSERT_GT(*next, time);
      time = *next;
      found.insert(time);
    }
    const auto expected = watched(fields, in, from, to);
    std::vector<std::string> differ;
    std::vector<TimePoint> only;
    std::ranges::set_symmetric_difference(found, expected, std::back_inserter(only));
    for (std::size_t i = 0; i < std::min<std::size_t>(only.size(), 5); ++i)
      differ.push_back(format_rfc3339(only[i]) + (found.contains(only[i]) ? " found" : " expected"));
    ASSERT_TRUE(only.empty()) << line << " in " << in.name() << ": " << fmt::format("{}", fmt::join(differ, "; "));
  }
}

TEST(ScheduleProperties, NextOfAnyMomentIsTheNextOfAll) {
  // Between two neighbours, next() is the later one, wherever it is asked from.
  const auto first = test_seed();
  for (std::uint64_t seed = first; seed < first + 100; ++seed) {
    SCOPED_TRACE(fmt::format("PGMINT_TEST_SEED={}", seed));
    Draw draw(seed);
    const auto parsed = Schedule::parse(draw.line().first);
    if (!parsed) continue;
    const auto in = zone("Pacific/Auckland");
    auto time = at("2026-01-01 00:00Z") + std::chrono::minutes(draw.random.below(525'960));
    for (int i = 0; i < 20; ++i) {
      const auto next = parsed->next(time, in);
      if (!next) break;
      const auto between = time + std::chrono::microseconds(draw.random.below(static_cast<std::uint64_t>((*next - time).count())));
      ASSERT_EQ(parsed->next(between, in), next) << parsed->cron() << " asked at " << format_rfc3339(between);
      time = *next;
    }
  }
}

// --- delays

TEST(Delay, IsANumberAndAUnit) {
  EXPECT_EQ(*parse_delay("90 s"), 90s);
  EXPECT_EQ(*parse_delay("5 min"), 5min);
  EXPECT_EQ(*parse_delay("5min"), 5min);
  EXPECT_EQ(*parse_delay("1 h"), 1h);
  EXPECT_EQ(*parse_delay("0"), 0s);
  for (const auto* text : {"", "5", "h", "-5 min", "5  min", "5 m", "13 h", "9999999 s", "5 min."}) EXPECT_FALSE(parse_delay(text)) << text;
  for (const auto* text : {"0", "90 s", "5 min", "12 h"}) EXPECT_EQ(format_delay(*parse_delay(text)), text);
}

TEST(Delay, IsTheSameForASeedAndSpreadOverAllOfThem) {
  std::map<std::int64_t, int> minutes;
  for (int host = 0; host < 5000; ++host) {
    const auto seed = fmt::format("db{}/main", host);
    const auto delay = delay_of(seed, 10min);
    EXPECT_EQ(delay, delay_of(seed, 10min));
    ASSERT_TRUE(delay >= 0s && delay <= 10min);
    ++minutes[std::min<std::int64_t>(delay / 1min, 9)];
  }
  for (int minute = 0; minute < 10; ++minute) EXPECT_NEAR(minutes[minute], 500, 120) << minute;
  EXPECT_EQ(delay_of("anything", 0s), 0s);
}

}  // namespace
}  // namespace pgmint::policy

#include "policy/retention.h"

#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/test_seed.h"

namespace pgmint::policy {
namespace {

using namespace std::chrono_literals;
using std::chrono::local_days;
using std::chrono::year_month_day;

TimePoint at(std::string_view text) { return *parse_time(text); }

class Backups {
 public:
  Backups& add(std::string_view time, std::string name = "") {
    BackupFact fact;
    fact.time = at(time);
    fact.order = facts.size();
    fact.name = name.empty() ? std::string(time) : std::move(name);
    facts.push_back(fact);
    return *this;
  }
  std::vector<BackupFact> facts;
};

RetentionRules no_rules() { return {{}, {}, {}, {}, {}, {}, 0}; }

std::set<std::string> kept(const std::vector<BackupFact>& facts, const RetentionRules& rules, TimePoint now,
                           const TimeZone& zone = TimeZone::utc()) {
  const auto verdicts = decide(facts, rules, now, zone);
  EXPECT_EQ(verdicts.size(), facts.size());
  std::set<std::string> names;
  for (std::size_t i = 0; i < facts.size(); ++i)
    if (verdicts[i].keep) names.insert(facts[i].name);
  return names;
}
using Names = std::set<std::string>;

// --- periods

TEST(Period, IsANumberAndAUnit) {
  EXPECT_EQ(*parse_period("30d"), days(30));
  EXPECT_EQ(*parse_period("2w"), days(14));
  EXPECT_EQ(*parse_period("6mo"), (Period{6, 0}));
  EXPECT_EQ(*parse_period("7y"), years(7));
  EXPECT_EQ(*parse_period("0d"), days(0));
  for (const auto* text : {"", "d", "30", "-1d", "1.5d", "30 d", "30m", "30D", "201y", "80000d", "99999999999d", "2401mo"})
    EXPECT_FALSE(parse_period(text)) << text;
}

TEST(Period, IsWrittenAsItIsRead) {
  for (const auto* text : {"0d", "14d", "6mo", "7y", "13mo"}) EXPECT_EQ(format(*parse_period(text)), text);
}

TEST(Period, EndsLaterRatherThanEarlierWhereAMonthIsShort) {
  const auto day = [](int y, unsigned m, unsigned d) { return local_days(std::chrono::year(y) / std::chrono::month(m) / std::chrono::day(d)); };
  EXPECT_EQ(later_by(day(2024, 2, 29), years(1)), day(2025, 3, 1));
  EXPECT_EQ(later_by(day(2024, 2, 29), years(4)), day(2028, 2, 29));
  EXPECT_EQ(later_by(day(2026, 1, 31), {1, 0}), day(2026, 3, 1));
  EXPECT_EQ(later_by(day(2026, 12, 31), {2, 0}), day(2027, 3, 1));
  EXPECT_EQ(later_by(day(2026, 12, 30), days(3)), day(2027, 1, 2));
}

// --- spans

TEST(Retention, OfADayItsNewestStaysForItsDays) {
  auto rules = no_rules();
  rules.daily = days(30);
  const auto facts = Backups().add("2026-11-20 02:00Z").add("2026-11-20 14:00Z").add("2026-11-21 02:00Z").facts;
  EXPECT_EQ(kept(facts, rules, at("2026-11-21 12:00Z")), (Names{"2026-11-20 14:00Z", "2026-11-21 02:00Z"}));
  EXPECT_EQ(kept(facts, rules, at("2026-12-20 23:59Z")), (Names{"2026-11-20 14:00Z", "2026-11-21 02:00Z"}));
  EXPECT_EQ(kept(facts, rules, at("2026-12-21 00:00Z")), (Names{"2026-11-21 02:00Z"}));
  EXPECT_EQ(kept(facts, rules, at("2026-12-22 00:00Z")), Names{});
}

TEST(Retention, AWeekGoesFromMondayToSundayAcrossYears) {
  auto rules = no_rules();
  rules.weekly = days(90);
  // 2026-12-28 is a Monday, 2027-01-03 a Sunday.
  const auto facts = Backups().add("2026-12-27 12:00Z").add("2026-12-28 12:00Z").add("2027-01-03 12:00Z").add("2027-01-04 12:00Z").facts;
  EXPECT_EQ(kept(facts, rules, at("2027-01-05 00:00Z")), (Names{"2026-12-27 12:00Z", "2027-01-03 12:00Z", "2027-01-04 12:00Z"}));
}

TEST(Retention, TheMonthlyOneIsKeptFromItsFirstDayOn) {
  // Daily for two days only: on the 5th nothing but the monthly rule keeps the backup of the 1st, and the month is not over.
  auto rules = no_rules();
  rules.daily = days(2);
  rules.monthly = days(365);
  Backups all;
  all.add("2026-03-01 02:00Z");
  EXPECT_EQ(kept(all.facts, rules, at("2026-03-20 00:00Z")), (Names{"2026-03-01 02:00Z"}));
  all.add("2026-03-21 02:00Z");
  EXPECT_EQ(kept(all.facts, rules, at("2026-03-22 00:00Z")), (Names{"2026-03-21 02:00Z"})) << "it stands for the month now";
}

TEST(Retention, ALeapDayIsADay) {
  auto rules = no_rules();
  rules.yearly = years(1);
  const auto facts = Backups().add("2024-02-29 12:00Z").facts;
  EXPECT_EQ(kept(facts, rules, at("2025-12-31 12:00Z")), (Names{"2024-02-29 12:00Z"}));
  EXPECT_EQ(kept(facts, rules, at("2026-01-01 00:00Z")), Names{});
}

TEST(Retention, TwoOfOneMomentLeaveTheOnePublishedLater) {
  auto rules = no_rules();
  rules.daily = days(1);
  auto facts = Backups().add("2026-11-20 02:00Z", "b").add("2026-11-20 02:00Z", "a").facts;
  EXPECT_EQ(kept(facts, rules, at("2026-11-20 03:00Z")), (Names{"a"}));
  std::ranges::reverse(facts);
  EXPECT_EQ(kept(facts, rules, at("2026-11-20 03:00Z")), (Names{"a"}));
}

TEST(Retention, DaysAreThoseOfTheZone) {
  auto rules = no_rules();
  rules.daily = days(30);
  const auto facts = Backups().add("2026-11-20 22:30Z").add("2026-11-20 23:30Z").facts;
  EXPECT_EQ(kept(facts, rules, at("2026-11-21 12:00Z")).size(), 1u);
  EXPECT_EQ(kept(facts, rules, at("2026-11-21 12:00Z"), *TimeZone::named("Europe/Berlin")).size(), 2u);
}

TEST(Retention, TheHourThatClocksTellTwiceIsOnOneDay) {
  auto rules = no_rules();
  rules.daily = days(30);
  // 01:30 in New York, twice: the later of the two is the newer one.
  const auto facts = Backups().add("2026-11-01 05:30Z", "first").add("2026-11-01 06:30Z", "second").facts;
  EXPECT_EQ(kept(facts, rules, at("2026-11-02 12:00Z"), *TimeZone::named("America/New_York")), (Names{"second"}));
}

// --- who takes whose place

TEST(Retention, ADamagedBackupTakesNoPlace) {
  auto rules = no_rules();
  rules.daily = days(30);
  auto facts = Backups().add("2026-11-20 02:00Z", "whole").add("2026-11-20 14:00Z", "damaged").facts;
  facts[1].sound = false;
  EXPECT_EQ(kept(facts, rules, at("2026-11-20 15:00Z")), (Names{"whole", "damaged"}));
}

TEST(Retention, ABackupWhoseClockWasBehindTakesNoPlaceInADayThatIsOver) {
  auto rules = no_rules();
  rules.daily = days(30);
  auto facts = Backups().add("2026-11-20 02:00Z", "true").add("2026-11-25 02:00Z", "today").add("2026-11-20 14:00Z", "set back").facts;
  facts[2].clock_was_behind = true;
  EXPECT_EQ(kept(facts, rules, at("2026-11-25 15:00Z")).size(), 3u);
}

TEST(Retention, KindsAndIncarnationsHaveDaysOfTheirOwn) {
  auto rules = no_rules();
  rules.daily = days(30);
  auto facts = Backups().add("2026-11-20 02:00Z").add("2026-11-20 03:00Z").add("2026-11-20 04:00Z").facts;
  facts[1].kind = BackupKind::Logical;
  facts[2].lineage = 2;
  EXPECT_EQ(kept(facts, rules, at("2026-11-20 15:00Z")).size(), 3u);
}

// --- other rules

TEST(Retention, CountKeepsTheNewestByPublication) {
  auto rules = no_rules();
  rules.count = 2;
  auto facts = Backups().add("2026-11-20 02:00Z", "a").add("2040-01-01 00:00Z", "wrong clock").add("2026-11-21 02:00Z", "b").add("2026-11-22 02:00Z", "c").facts;
  EXPECT_EQ(kept(facts, rules, at("2026-11-22 03:00Z")), (Names{"b", "c"}));
}

TEST(Retention, TheMinimumIsNotUndercutByAge) {
  auto rules = no_rules();
  rules.daily = days(30);
  rules.minimum = 2;
  const auto facts = Backups().add("2020-01-01 02:00Z", "a").add("2020-01-02 02:00Z", "b").add("2020-01-03 02:00Z", "c").facts;
  const auto verdicts = decide(facts, rules, at("2026-11-22 03:00Z"), TimeZone::utc());
  EXPECT_FALSE(verdicts[0].keep);
  EXPECT_TRUE(verdicts[1].keep && verdicts[2].keep);
  EXPECT_TRUE(verdicts[1].by_minimum_only && verdicts[2].by_minimum_only);
}

TEST(Retention, DamagedBackupsDoNotMakeUpTheMinimum) {
  auto rules = no_rules();
  rules.minimum = 1;
  auto facts = Backups().add("2020-01-01 02:00Z", "whole").add("2020-01-02 02:00Z", "damaged").facts;
  facts[1].sound = false;
  EXPECT_EQ(kept(facts, rules, at("2026-11-22 03:00Z")), (Names{"whole", "damaged"}));
}

TEST(Retention, HoldsAndRetainUntilKeep) {
  const auto rules = no_rules();
  auto facts = Backups().add("2020-01-01 02:00Z", "held").add("2020-01-02 02:00Z", "retained").add("2020-01-03 02:00Z", "gone").facts;
  facts[0].hold = "audit 2026";
  facts[1].retain_until = at("2027-01-01 00:00Z");
  const auto verdicts = decide(facts, rules, at("2026-11-22 03:00Z"), TimeZone::utc());
  EXPECT_EQ(verdicts[0].reasons, (std::vector<std::string>{"held: audit 2026"}));
  EXPECT_EQ(verdicts[1].reasons, (std::vector<std::string>{"to be kept until 2027-01-01T00:00:00Z"}));
  EXPECT_FALSE(verdicts[2].keep);
  EXPECT_EQ(kept(facts, rules, at("2027-01-01 00:00Z")), (Names{"held"}));
}

TEST(Retention, AHoldWithAnEndKeepsUpToIt) {
  auto facts = Backups().add("2020-01-01 02:00Z", "held").add("2020-01-02 02:00Z", "newest").facts;
  facts[0].hold = "tax";
  facts[0].hold_until = at("2027-01-01 00:00Z");
  auto rules = no_rules();
  rules.minimum = 1;
  EXPECT_EQ(decide(facts, rules, at("2026-12-31 23:59Z"), TimeZone::utc())[0].reasons, (std::vector<std::string>{"held until 2027-01-01T00:00:00Z: tax"}));
  EXPECT_EQ(kept(facts, rules, at("2027-01-01 00:00Z")), (Names{"newest"}));
  EXPECT_EQ(kept_until(facts, rules, at("2026-12-30 12:00Z"), TimeZone::utc(), std::chrono::days(30))[0], std::chrono::local_days(std::chrono::year(2027) / 1 / 1));
}

TEST(Retention, ReasonsSayWhichRule) {
  RetentionRules rules;
  rules.window = days(2);
  const auto facts = Backups().add("2019-11-20 02:00Z").add("2026-11-20 02:00Z", "early").add("2026-11-20 14:00Z", "late").facts;
  const auto verdicts = decide(facts, rules, at("2026-11-23 15:00Z"), TimeZone::utc());
  EXPECT_EQ(verdicts[0].reasons, (std::vector<std::string>{"newest of 2019, yearly 7y"}));
  EXPECT_EQ(verdicts[1].reasons,
            (std::vector<std::string>{"daily: late is the newer one of 2026-11-20", "weekly: late is the newer one of the week 2026-11-16 to 2026-11-22",
                                      "monthly: late is the newer one of 2026-11", "yearly: late is the newer one of 2026"}));
  EXPECT_EQ(verdicts[2].reasons,
            (std::vector<std::string>{"newest of 2026-11-20, daily 30d", "newest of the week 2026-11-16 to 2026-11-22, weekly 90d",
                                      "newest of 2026-11, monthly 365d", "newest of 2026, yearly 7y", "the newest, minimum 1"}));
  const auto later = decide(facts, rules, at("2036-01-01 00:00Z"), TimeZone::utc());
  EXPECT_EQ(later[0].reasons, (std::vector<std::string>{"older than every rule"}));
}

// --- properties

struct Draw {
  explicit Draw(std::uint64_t seed) : random(seed) {}
  SeededRandom random;

  std::uint64_t below(std::uint64_t n) { return random.below(n); }
  bool one_in(std::uint64_t n) { return below(n) == 0; }

  TimeZone zone() {
    static const std::vector<std::string> names = {"Europe/Berlin", "America/St_Johns", "Pacific/Apia", "Asia/Kathmandu", "Australia/Lord_Howe",
                                                   "Pacific/Kiritimati", "America/Sao_Paulo"};
    const auto i = below(names.size() + 1);
    return i == names.size() ? TimeZone::utc() : *TimeZone::named(names[i]);
  }
  std::optional<Period> period(unsigned days_max) {
    if (one_in(4)) return std::nullopt;
    switch (below(3)) {
      case 0: return days(static_cast<unsigned>(below(days_max)));
      case 1: return Period{static_cast<unsigned>(below(1 + days_max / 30)), 0};
      default: return years(static_cast<unsigned>(below(1 + days_max / 365)));
    }
  }
  RetentionRules rules() {
    RetentionRules r{period(40), period(120), period(500), period(1500), {}, {}, static_cast<unsigned>(below(4))};
    if (one_in(3)) r.window = period(20);
    if (one_in(3)) r.count = static_cast<unsigned>(below(10));
    return r;
  }
  /// Seconds to months between them, some days with many, sometimes a gap of years.
  std::chrono::seconds step() {
    switch (below(12)) {
      case 0: return std::chrono::seconds(below(60));
      case 1: return std::chrono::hours(24 * below(900));
      case 2: return std::chrono::hours(24 * below(45));
      case 3: case 4: return std::chrono::seconds(below(24 * 3600));
      default: return std::chrono::seconds(20 * 3600 + below(8 * 3600));
    }
  }
  BackupFact fact(TimePoint time, std::uint64_t order) {
    BackupFact f;
    f.time = time;
    f.order = order;
    f.name = fmt::format("b{}", order);
    if (one_in(8)) f.kind = BackupKind::Logical;
    if (one_in(12)) f.sound = false;
    if (one_in(12)) f.clock_was_behind = true;
    if (one_in(30)) f.hold = "why";
    if (f.hold && one_in(2)) f.hold_until = f.time + std::chrono::hours(24 * below(900));
    if (one_in(30)) f.retain_until = time + std::chrono::hours(24 * below(700));
    f.lineage = time > at("2013-01-01 00:00Z") ? 1 : 0;
    return f;
  }
  std::vector<BackupFact> facts(std::size_t count) {
    std::vector<BackupFact> all;
    auto time = at("2010-06-01 00:00Z") + std::chrono::seconds(below(400 * 86400));
    for (std::size_t i = 0; i < count; ++i) {
      time += step();
      all.push_back(fact(time, i));
      if (one_in(20)) all.back().time -= std::chrono::hours(below(24 * 30));  // a clock that was set back
    }
    return all;
  }
};

/// The promise, said in another way than the code says it: the newest of its day (week, month, year) among those that may stand
/// in for each other, when that span ended less than the period ago.
int span_number(int grain, local_days day) {
  const year_month_day date(day);
  const auto number = day.time_since_epoch().count();
  switch (grain) {
    case 0: return static_cast<int>(number);
    case 1: return static_cast<int>((number + 3) >= 0 ? (number + 3) / 7 : (number - 3) / 7);  // 1970-01-01 was a Thursday
    case 2: return int(date.year()) * 12 + int(unsigned(date.month()));
    default: return int(date.year());
  }
}

/// Names of those that `rules` promise out of `all`, by walking the calendar backwards from today, day by day.
Names promised(const std::vector<BackupFact>& all, const RetentionRules& rules, TimePoint now, const TimeZone& zone) {
  Names names;
  const auto today = zone.day_of(now);
  const std::optional<Period> periods[] = {rules.daily, rules.weekly, rules.monthly, rules.yearly};
  for (int grain = 0; grain < 4; ++grain) {
    if (!periods[grain]) continue;
    std::map<std::tuple<int, std::uint64_t, bool, bool, int>, const BackupFact*> newest;
    for (const auto& backup : all) {
      auto& best = newest[{int(backup.kind), backup.lineage, backup.sound, backup.clock_was_behind, span_number(grain, zone.day_of(backup.time))}];
      if (best == nullptr || std::pair(backup.time, backup.order) > std::pair(best->time, best->order)) best = &backup;
    }
    for (const auto& [span, backup] : newest)
      // A day of the span at least is as near to today as the period says: for that day it must stand in.
      for (auto day = zone.day_of(backup->time) - std::chrono::days(370); day <= zone.day_of(backup->time) + std::chrono::days(370);
           day += std::chrono::days(1))
        if (span_number(grain, day) == std::get<4>(span) && later_by(day, *periods[grain]) >= today) {
          names.insert(backup->name);
          break;
        }
  }
  return names;
}

TEST(RetentionProperties, NeverKeepsLessThanItSays) {
  const auto first = test_seed();
  for (std::uint64_t seed = first; seed < first + 60; ++seed) {
    SCOPED_TRACE(fmt::format("PGMINT_TEST_SEED={}", seed));
    Draw draw(seed);
    const auto zone = draw.zone();
    const auto rules = draw.rules();
    const auto facts = draw.facts(1 + draw.below(120));
    const auto now = facts.back().time + draw.step();
    const auto stay = kept(facts, rules, now, zone);
    for (const auto& name : promised(facts, rules, now, zone)) ASSERT_TRUE(stay.contains(name)) << name;
    for (const auto& fact : facts) {
      const bool recent = rules.window && later_by(zone.day_of(fact.time), *rules.window) >= zone.day_of(now);
      const bool wanted = (fact.hold && (!fact.hold_until || *fact.hold_until > now)) || fact.retain_until > now || recent;
      ASSERT_TRUE(!wanted || stay.contains(fact.name)) << fact.name;
    }
    for (const auto count : {rules.count.value_or(0), rules.minimum}) {
      std::map<std::pair<BackupKind, bool>, unsigned> seen;
      for (auto fact = facts.rbegin(); fact != facts.rend(); ++fact)
        ASSERT_TRUE((seen[std::pair(fact->kind, fact->sound)]++ >= count) || stay.contains(fact->name)) << fact->name;
    }
  }
}

TEST(RetentionProperties, EveryReasonForKeepingIsOneThatThePromiseKnows) {
  // And so that "keeps everything" would not pass for an answer: what goes and stays without a rule is checked the other way.
  const auto first = test_seed();
  for (std::uint64_t seed = first; seed < first + 60; ++seed) {
    SCOPED_TRACE(fmt::format("PGMINT_TEST_SEED={}", seed));
    Draw draw(seed);
    const auto zone = draw.zone();
    auto rules = draw.rules();
    rules.window = {};
    rules.count = {};
    rules.minimum = 0;
    auto facts = draw.facts(1 + draw.below(120));
    for (auto& fact : facts) {
      fact.hold = {};
      fact.retain_until = {};
    }
    const auto now = facts.back().time + draw.step();
    ASSERT_EQ(kept(facts, rules, now, zone), promised(facts, rules, now, zone));
  }
}

TEST(RetentionProperties, IsIdempotentMonotoneInTimeAndInRulesAndBlindToOrder) {
  const auto first = test_seed();
  for (std::uint64_t seed = first; seed < first + 300; ++seed) {
    SCOPED_TRACE(fmt::format("PGMINT_TEST_SEED={}", seed));
    Draw draw(seed);
    const auto zone = draw.zone();
    const auto rules = draw.rules();
    auto facts = draw.facts(1 + draw.below(80));
    const auto now = facts.back().time + draw.step();
    const auto stay = kept(facts, rules, now, zone);

    auto left = facts;
    std::erase_if(left, [&](const auto& fact) { return !stay.contains(fact.name); });
    ASSERT_EQ(kept(left, rules, now, zone), stay) << "a second run lets go of more";

    const auto tomorrow = now + draw.step();
    for (const auto& name : kept(facts, rules, tomorrow, zone)) ASSERT_TRUE(stay.contains(name)) << name << " was gone before it was wanted";

    auto longer = rules;
    if (longer.daily) longer.daily = Period{longer.daily->months + 1, longer.daily->days};
    if (longer.monthly) longer.monthly = Period{longer.monthly->months, longer.monthly->days + 9};
    if (!longer.yearly) longer.yearly = years(2);
    ++longer.minimum;
    const auto more = kept(facts, longer, now, zone);
    ASSERT_TRUE(std::ranges::includes(more, stay)) << "longer rules keep less";

    std::ranges::reverse(facts);
    ASSERT_EQ(kept(facts, rules, now, zone), stay);
  }
}

TEST(RetentionProperties, KeptUntilIsTheFirstDayOnWhichItGoes) {
  const auto first = test_seed();
  for (std::uint64_t seed = first; seed < first + 20; ++seed) {
    SCOPED_TRACE(fmt::format("PGMINT_TEST_SEED={}", seed));
    Draw draw(seed);
    const auto zone = draw.zone();
    const auto rules = draw.rules();
    const auto facts = draw.facts(1 + draw.below(25));
    const auto now = facts.back().time + draw.step();
    constexpr int kHorizon = 800;
    const auto until = kept_until(facts, rules, now, zone, std::chrono::days(kHorizon));
    ASSERT_EQ(until.size(), facts.size());
    std::vector<std::optional<local_days>> expected(facts.size());
    auto before = decide(facts, rules, now, zone);
    for (int day = 1; day <= kHorizon; ++day) {
      const auto after = decide(facts, rules, now + std::chrono::days(day), zone);
      for (std::size_t i = 0; i < facts.size(); ++i)
        if (before[i].keep && !after[i].keep) expected[i] = zone.day_of(now + std::chrono::days(day));
      before = after;
    }
    EXPECT_EQ(until, expected);
  }
}

TEST(RetentionProperties, ANewBackupCostsNoneOfASpanThatIsOver) {
  const auto first = test_seed();
  for (std::uint64_t seed = first; seed < first + 300; ++seed) {
    SCOPED_TRACE(fmt::format("PGMINT_TEST_SEED={}", seed));
    Draw draw(seed);
    const auto zone = draw.zone();
    auto rules = draw.rules();
    rules.count = {};  // these do make room, and say so
    rules.minimum = 0;
    const auto facts = draw.facts(1 + draw.below(80));
    const auto now = std::ranges::max(facts, {}, &BackupFact::time).time + draw.step();
    const auto before = kept(facts, rules, now, zone);
    auto more = facts;
    more.push_back(draw.fact(now, facts.size()));
    more.back().hold = {};
    const auto after = kept(more, rules, now, zone);
    const auto today = zone.day_of(now);
    for (const auto& fact : facts) {
      const auto day = zone.day_of(fact.time);
      // Only where the new one is in the same day, week, month or year can it take a place.
      bool shares = false;
      for (int grain = 0; grain < 4; ++grain) shares |= span_number(grain, day) == span_number(grain, today);
      ASSERT_TRUE(shares || !before.contains(fact.name) || after.contains(fact.name)) << fact.name;
    }
  }
}

TEST(RetentionProperties, YearsOfRunsNeverLoseWhatALongerRuleWillWant) {
  // Backups and runs at any time, each run deletes for good; yet of all backups ever made the promised ones are there.
  const auto first = test_seed();
  for (std::uint64_t seed = first; seed < first + 25; ++seed) {
    SCOPED_TRACE(fmt::format("PGMINT_TEST_SEED={}", seed));
    Draw draw(seed);
    const auto zone = draw.zone();
    const auto rules = draw.rules();
    std::vector<BackupFact> ever, left;
    auto time = at("2010-06-01 00:00Z") + std::chrono::seconds(draw.below(400 * 86400));
    for (std::size_t i = 0; i < 150; ++i) {
      time += draw.step();
      if (draw.one_in(3)) {
        const auto stay = kept(left, rules, time, zone);
        std::erase_if(left, [&](const auto& fact) { return !stay.contains(fact.name); });
        Names there;
        for (const auto& fact : left) there.insert(fact.name);
        for (const auto& name : promised(ever, rules, time, zone)) ASSERT_TRUE(there.contains(name)) << name << " at " << format_rfc3339(time);
      } else {
        auto fact = draw.fact(time, i);
        if (draw.one_in(15)) {  // set back, and known to be
          fact.time -= std::chrono::hours(draw.below(24 * 30));
          fact.clock_was_behind = true;
        } else {
          fact.clock_was_behind = false;
        }
        fact.hold = {};
        ever.push_back(fact);
        left.push_back(fact);
      }
    }
  }
}

}  // namespace
}  // namespace pgmint::policy

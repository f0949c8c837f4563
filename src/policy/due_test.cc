#include "policy/due.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/test_seed.h"

namespace pgmint::policy {
namespace {

using namespace std::chrono_literals;

TimePoint at(std::string_view text) { return *parse_time(text); }

struct Job {
  explicit Job(std::string_view text, std::chrono::seconds delay_by = 0s) : schedule(*Schedule::parse(text)), delay(delay_by) {}
  std::optional<TimePoint> start(const JobHistory& history) const { return next_start({schedule, zone, delay}, history); }
  Schedule schedule;
  std::chrono::seconds delay;
  TimeZone zone = TimeZone::utc();
};

JobHistory settled(std::string_view time) { return {.through = at(time), .end = RunEnd::Settled, .ended = at(time), .failures = 0}; }
JobHistory ended(RunEnd end, std::string_view time, unsigned failures) { return {.through = at(time), .end = end, .ended = at(time), .failures = failures}; }

TEST(Due, RunsAtItsTimesAndItsDelay) {
  EXPECT_EQ(Job("daily at 01:00").start(settled("2026-11-26 01:00:01Z")), at("2026-11-27 01:00Z"));
  EXPECT_EQ(Job("daily at 01:00", 3min).start(settled("2026-11-26 01:03:01Z")), at("2026-11-27 01:03Z"));
  // What was dealt with before the delay had passed is not dealt with.
  EXPECT_EQ(Job("daily at 01:00", 3min).start(settled("2026-11-26 01:02Z")), at("2026-11-26 01:03Z"));
  EXPECT_EQ(Job("never").start(ended(RunEnd::Failed, "2026-11-26 01:00Z", 3)), std::nullopt);
}

TEST(Due, ManyTimesMissedAreOneRun) {
  const Job job("every 6 h");
  auto history = settled("2026-01-01 00:00Z");
  const auto now = at("2026-11-26 13:00Z");
  ASSERT_LE(*job.start(history), now);
  history = settled("2026-11-26 13:00Z");
  EXPECT_EQ(job.start(history), at("2026-11-26 18:00Z"));
}

TEST(Due, FailuresAreTriedAgainLessAndLessOftenUpToTheNextTime) {
  const Job job("daily at 01:00");
  const auto after = [&](RunEnd end, unsigned failures) { return *job.start(ended(end, "2026-11-26 05:00Z", failures)) - at("2026-11-26 05:00Z"); };
  EXPECT_EQ(after(RunEnd::Failed, 1), 1min);
  EXPECT_EQ(after(RunEnd::Failed, 2), 2min);
  EXPECT_EQ(after(RunEnd::Failed, 4), 8min);
  EXPECT_EQ(after(RunEnd::Failed, 7), 1h);
  EXPECT_EQ(after(RunEnd::Failed, 4'000'000'000), 1h);
  EXPECT_EQ(after(RunEnd::Busy, 20), 1min);
  EXPECT_EQ(after(RunEnd::Interrupted, 1), 0min);
  EXPECT_EQ(job.start(ended(RunEnd::Failed, "2026-11-26 00:50Z", 9)), at("2026-11-26 01:00Z"));
}

TEST(Due, AClockThatWasWrongNeitherStopsNorRepeatsAJob) {
  const Job job("every 6 h");
  const auto now = at("2026-11-26 13:00Z");
  const auto wrong = corrected(settled("2099-01-01 00:00Z"), now);
  EXPECT_EQ(job.start(wrong), at("2026-11-26 18:00Z"));
  const auto retry = corrected(ended(RunEnd::Failed, "2099-01-01 00:00Z", 9), now);
  EXPECT_EQ(job.start(retry), now + 1h);
  // Half an hour back is a correction: the run of 18:00 was that of 18:00.
  const auto small = corrected(settled("2026-11-26 18:00Z"), at("2026-11-26 17:30Z"));
  EXPECT_EQ(job.start(small), at("2026-11-27 00:00Z"));
}

/// Whoever starts the job when it is due, over years, in all weathers: clocks that jump, hours of standstill, failures.
TEST(DueProperties, YearsOfRunsHaveNoStormAndNoSleep) {
  const auto first = test_seed();
  const char* schedules[] = {"daily at 01:00", "every 6 h", "weekly on Sunday at 02:30", "*/20 * * * *", "0 3 1 * *"};
  const char* zones[] = {"UTC", "Europe/Berlin", "America/Santiago", "Australia/Lord_Howe"};
  for (std::uint64_t seed = first; seed < first + 60; ++seed) {
    SCOPED_TRACE(fmt::format("PGMINT_TEST_SEED={}", seed));
    SeededRandom random(seed);
    Job job(schedules[random.below(std::size(schedules))], std::chrono::seconds(random.below(600)));
    job.zone = *TimeZone::named(zones[random.below(std::size(zones))]);
    auto now = at("2026-01-01 00:00Z");
    JobHistory history{.through = now, .end = RunEnd::Settled, .ended = now, .failures = 0};
    unsigned jumps = 0, runs = 0, retries = 0;
    for (int step = 0; step < 3000; ++step) {
      history = corrected(history, now);
      const auto start = job.start(history);
      ASSERT_TRUE(start);
      if (*start <= now) {
        ++runs;
        if (history.end != RunEnd::Settled) ++retries;
        history.through = now;
        now += std::chrono::seconds(random.below(3600));
        history.through = history.ended = now;
        history.end = random.below(4) == 0 ? (random.below(2) == 0 ? RunEnd::Failed : RunEnd::Busy) : RunEnd::Settled;
        history.failures = history.end == RunEnd::Settled ? 0 : history.failures + 1;
        ASSERT_GT(*job.start(history), now) << "it would run again at once";
        continue;
      }
      // It never sleeps longer than its schedule says, plus what a corrected clock may cost.
      const auto next = next_planned({job.schedule, job.zone, job.delay}, now);
      ASSERT_LE(*start, *next_planned({job.schedule, job.zone, job.delay}, *next) + kClockStep);
      switch (random.below(12)) {
        case 0: now += std::chrono::seconds(random.below(40 * 86400)); ++jumps; break;  // asleep, or a clock set forward
        case 1: now -= std::chrono::seconds(random.below(40 * 86400)); ++jumps; break;
        case 2: now -= std::chrono::seconds(random.below(1800)); ++jumps; break;
        default: now = *start;
      }
    }
    EXPECT_GT(runs, 500U);  // half of all steps wait for a run that then comes
    EXPECT_GT(jumps, 100U);
    EXPECT_LT(retries, runs);
  }
}

/// Without mishaps every time of the schedule has its run, and no other moment has one, over ten years of summer times.
TEST(DueProperties, EveryTimeHasItsRunWhenNothingIsAmiss) {
  for (const auto* name : {"UTC", "Europe/Berlin", "America/Sao_Paulo", "Australia/Lord_Howe", "Pacific/Apia"}) {
    Job job("every 6 h", 90s);
    job.zone = *TimeZone::named(name);
    auto now = at("2006-01-01 00:00Z");
    const auto end = at("2016-01-01 00:00Z");
    auto expected = now;
    JobHistory history{.through = now + 90s, .end = RunEnd::Settled, .ended = now, .failures = 0};
    while (now < end) {
      const auto start = *job.start(history);
      expected = *job.schedule.next(expected, job.zone);
      ASSERT_EQ(start, expected + 90s) << name;
      now = start;
      history.through = history.ended = now + 20min;
    }
  }
}

}  // namespace
}  // namespace pgmint::policy

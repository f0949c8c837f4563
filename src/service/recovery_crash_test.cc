// Random plans, cut off anywhere again and again.
#include <fmt/format.h>

#include "base/random.h"
#include "base/test_seed.h"
#include "service/recovery_fixture.h"

namespace pgmint::service {
namespace {

/// Random plans with random failures, and a crash at any point where the world is touched, again and again until the plan is through. Between two runs the plan may change, what
/// was left running may come to its end, a service may fall over, and a person may empty a directory; some runs begin at a later step.
TEST(RecoveryRunCrash, WhateverIsCutOffNoStepIsSkippedThatIsNotWellAndNoneRunsTwiceThatIs) {
  const auto seed = test_seed();
  SCOPED_TRACE(fmt::format("PGMINT_TEST_SEED={}", seed));
  for (unsigned round = 0; round < 300; ++round) {
    SCOPED_TRACE(fmt::format("round {}", round));
    SeededRandom random(seed + round);
    ManualClock clock(TimePoint(seconds(1'800'000'000)));
    FakeWorld world(clock);
    CancelToken cancel;
    RecoveryPlan plan;
    plan.name = "p";
    const auto behave = [&](const std::string& name) {
      for (auto failures = random.below(4); failures > 0; --failures)
        world.plan[name].push_back({milliseconds(random.below(8000)), static_cast<int>(random.below(2)), random.below(2) == 0});
      world.plan[name].push_back({milliseconds(random.below(3000))});
    };
    const auto count = 1 + random.below(6);
    std::uint64_t group = 0;
    for (std::uint64_t i = 0; i < count; ++i) {
      group = std::min<std::uint64_t>(4, group + random.below(2));
      auto one = step(fmt::format("s{}", i), kStepGroups[group]);
      one.retries = static_cast<unsigned>(random.below(3));
      one.timeout = seconds(5);
      one.retry_after = seconds(random.below(3));
      if (random.below(3) == 0) {
        one.restores = true;
        one.restores_to = fmt::format("/srv/{}", i);
        if (random.below(2) == 0) one.check = HealthCheck{DataDirectoryCheck{one.restores_to}};
      }
      behave(one.name);
      plan.steps.push_back(std::move(one));
    }
    ASSERT_TRUE(check_plan(plan));
    const auto well = [&](const RecoveryStep& one) {
      return std::holds_alternative<DataDirectoryCheck>(one.check->look) ? world.complete.contains(one.restores_to) : world.working.contains(one.name);
    };

    IncidentRecord record;
    record.id = "i";
    bool through = false;
    unsigned changes = 0;
    for (unsigned run = 0; run < 400 && !through; ++run) {
      if (!world.journal.empty()) record = parse_journal(world.journal).value();
      std::set<std::string> done_and_well;
      for (const auto& one : plan.steps)
        if (const auto* known = record.find(one.name); known != nullptr && known->state == StepState::Done && known->digest == step_digest(one) && well(one)) done_and_well.insert(one.name);
      world.started.clear();
      world.beside.clear();
      world.session = static_cast<int>(random.below(3));
      record.runs.push_back({"me", "", "", "", world.session, clock.now(), std::nullopt, "", false});
      RecoveryOptions options;
      std::size_t first = 0;
      if (random.below(4) == 0) options.from = plan.steps[first = random.below(plan.steps.size())].name;
      world.crash_in = random.below(3) == 0 ? std::nullopt : std::optional<unsigned>(static_cast<unsigned>(random.below(60)));
      Result<RecoveryOutcome> outcome = RecoveryOutcome{};
      try {
        outcome = run_recovery(plan, record, options, world, clock, cancel);
        ASSERT_TRUE(outcome) << outcome.error().describe();
      } catch (const Crash&) {
        outcome = Error(Errc::Unknown, "as after kill -9");
      }
      world.crash_in.reset();
      EXPECT_EQ(world.beside, Names{});
      for (const auto& name : world.started) EXPECT_FALSE(done_and_well.contains(name)) << name << " was done and well, and ran again";
      // In order, and nothing behind a step that is not well, nor ahead of the one that it was to begin with.
      for (std::size_t i = 0; i < plan.steps.size(); ++i) {
        if (std::ranges::find(world.started, plan.steps[i].name) == world.started.end()) continue;
        EXPECT_GE(i, first) << plan.steps[i].name << " ran ahead of --from";
        for (std::size_t before = first; before < i; ++before) EXPECT_TRUE(well(plan.steps[before])) << plan.steps[i].name << " ran behind a step that does not work";
      }
      const bool passed = outcome && outcome->failed.empty();
      if (passed) {
        // All that was to run is well, and is what the plan as it is now has made.
        for (std::size_t i = first; i < plan.steps.size(); ++i) {
          const auto& one = plan.steps[i];
          EXPECT_TRUE(well(one)) << one.name << " is said to be done";
          const auto digest = step_digest(one);
          if (!one.restores_to.empty()) EXPECT_EQ(world.complete[one.restores_to], digest) << one.name << " is said to be restored as the plan has it";
          else EXPECT_EQ(world.works_by[one.name], digest) << one.name << " is said to be done as the plan has it";
        }
        if (!options.from) {
          EXPECT_EQ(record.state, IncidentState::Ended);
          through = true;
        } else if (record.state == IncidentState::Ended) {
          // Over, with steps left out: what comes next is another incident.
          world.journal.clear();
          record = {};
          record.id = fmt::format("i{}", run);
          for (const auto& one : plan.steps) {
            world.filled.erase(one.restores_to);
            world.complete.erase(one.restores_to);
          }
        }
        continue;
      }
      if (random.below(4) == 0 && !world.working.empty()) world.working.erase(world.working.begin());
      if (random.below(2) == 0) world.time_goes_by();
      if (changes < 3 && random.below(4) == 0) {
        ++changes;
        auto& one = plan.steps[random.below(plan.steps.size())];
        if (random.below(3) == 0) {
          one.name += "'";
          if (std::holds_alternative<CommandCheck>(one.check->look)) one.check = HealthCheck{CommandCheck{{one.name}}};
          behave(one.name);
        } else {
          one.command.push_back(fmt::format("--change={}", changes));
        }
      }
      // A person sees a restore refused, and makes room; nobody takes away what a killed one has restored before the plan has been run again.
      if (outcome)
        for (const auto& name : outcome->failed)
          if (const auto* one = plan.find(name); one != nullptr && !one->restores_to.empty()) {
            world.filled.erase(one->restores_to);
            world.complete.erase(one->restores_to);
          }
    }
    EXPECT_TRUE(through);
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace pgmint::service

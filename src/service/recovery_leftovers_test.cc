// What a run that was killed, or a step that could not be ended, has left running: it is ended first, and nothing runs beside what cannot be.
#include "service/recovery_fixture.h"

namespace pgmint::service {
namespace {

using RecoveryLeftovers = RecoveryFixture;

TEST_F(RecoveryLeftovers, AnInterruptedStepRunsAgainAfterItsLeftoversAreEnded) {
  world.plan["db"] = {{seconds(3600)}, {seconds(1)}};
  world.crash_in = 20;
  EXPECT_THROW((void)run(), Crash);  // the result never comes
  reload();
  EXPECT_EQ(record.steps[0].state, StepState::Running);
  EXPECT_TRUE(run()->failed.empty());
  ASSERT_FALSE(world.leftovers.empty());
  EXPECT_EQ(world.leftovers[0], (std::pair{step_digest(plan.steps[0]), 100}));
  EXPECT_EQ(world.beside, Names{});
  EXPECT_EQ(record.steps[0].attempts[0].outcome, "interrupted");
  EXPECT_EQ(record.steps[0].attempts.size(), 2U);
}

TEST_F(RecoveryLeftovers, WhatAKilledRunHasLeftIsEndedByWhatItsStepWasThen) {
  const auto original = plan;
  for (const auto* how : {"command", "name", "removed", "from", "only", "same"}) {
    SCOPED_TRACE(how);
    plan = original;
    record = {};
    record.id = "i";
    world.running.clear();
    world.beside.clear();
    world.plan["db"] = {{seconds(3600)}, {seconds(1)}};
    world.crash_in = 20;
    EXPECT_THROW((void)run(), Crash);  // the result never comes
    reload();
    ASSERT_TRUE(world.runs("db"));
    RecoveryOptions options;
    if (how == std::string_view("command")) plan.steps[0].command.push_back("--more");
    if (how == std::string_view("name")) plan.steps[0] = step("database");
    if (how == std::string_view("removed")) plan.steps.erase(plan.steps.begin());
    if (how == std::string_view("from")) options.from = "app";
    if (how == std::string_view("only")) options.only = "app";
    EXPECT_TRUE(run(options)->failed.empty());
    EXPECT_EQ(world.beside, Names{});
    EXPECT_FALSE(world.runs("db"));
    if (options.from || options.only) {
      EXPECT_EQ(record.steps[0].attempts[0].outcome, "interrupted");
      EXPECT_EQ(record.steps[0].state, options.from ? StepState::Skipped : StepState::Running) << "after --only the next run goes on with it";
    }
  }
}

TEST_F(RecoveryLeftovers, NothingRunsBesideWhatCannotBeEnded) {
  world.plan["db"] = {{seconds(3600)}, {seconds(1)}};
  world.crash_in = 20;
  EXPECT_THROW((void)run(), Crash);  // the result never comes
  reload();
  world.cannot_be_ended = true;
  const auto refused = run();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), Errc::Busy);
  EXPECT_NE(refused.error().describe().find(fmt::format("db: {}", world.running.begin()->first)), std::string::npos) << refused.error().describe();
  EXPECT_EQ(world.started, Names{});
  EXPECT_EQ(record.state, IncidentState::Open);
  EXPECT_TRUE(record.runs.back().ended);
  reload();
  world.cannot_be_ended = false;
  EXPECT_TRUE(run()->failed.empty());
  EXPECT_EQ(world.beside, Names{});
}

TEST_F(RecoveryLeftovers, AnAttemptWhoseProcessesCannotBeEndedIsNotFollowedByAnother) {
  plan.steps[0].retries = 3;
  world.plan["db"] = {{milliseconds(10), 3}, {milliseconds(10)}};
  world.cannot_be_ended = true;
  EXPECT_EQ(run()->failed, Names{"db"});
  EXPECT_EQ(world.started, Names{"db"});
  EXPECT_NE(record.steps[0].attempts[0].outcome.find("1 of its processes could not be ended"), std::string::npos);
  reload();
  const auto again = run();
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code(), Errc::Busy) << "it is there still";
  EXPECT_EQ(world.started, Names{});
  reload();
  world.cannot_be_ended = false;
  EXPECT_TRUE(run()->failed.empty());
  EXPECT_EQ(world.beside, Names{});
}

TEST_F(RecoveryLeftovers, ARestoreThatFailedAndCouldNotBeEndedIsNotTakenAsOneThatHadFinished) {
  plan.steps[0].restores = true;
  plan.steps[0].restores_to = "/srv/pg";
  plan.steps[0].check = HealthCheck{DataDirectoryCheck{"/srv/pg"}};
  world.plan["db"] = {{milliseconds(10), 8}, {milliseconds(10)}};
  world.cannot_be_ended = true;
  EXPECT_EQ(run()->exit_code, 8);
  EXPECT_EQ(record.steps[0].state, StepState::Running);
  reload();
  world.complete["/srv/pg"] = step_digest(plan.steps[0]);
  world.cannot_be_ended = false;
  EXPECT_EQ(run()->failed, Names{"db"}) << "corruption was found in what it restored";
}

TEST_F(RecoveryLeftovers, APlanThatGoesOnWithoutAStepDoesNotGoOnBesideIt) {
  plan.steps[0].goes_on = true;
  world.plan["db"] = {{seconds(3600)}, {milliseconds(10), 3}};
  world.cannot_be_ended = true;
  const auto outcome = run();
  EXPECT_EQ(outcome->failed, Names{"db"});
  EXPECT_EQ(outcome->exit_code, 10);
  EXPECT_EQ(world.started, Names{"db"});
  EXPECT_TRUE(world.said("step 1 of 3 (db): what it has left running cannot be ended"));
  reload();
  world.cannot_be_ended = false;
  EXPECT_EQ(run()->failed, Names{"db"});
  EXPECT_EQ(world.started, (Names{"db", "app", "api"}));
  EXPECT_EQ(world.beside, Names{});
}

TEST_F(RecoveryLeftovers, WhatAKilledRunHasLeftIsEndedAlsoWhenTheJournalCouldNotSayThatItRan) {
  world.plan["db"] = {{seconds(3600)}, {seconds(1)}};
  world.saves_left = 1;
  world.crash_in = 20;
  EXPECT_THROW((void)run(), Crash);  // the result never comes
  reload();
  ASSERT_EQ(record.steps[0].state, StepState::Waiting);
  ASSERT_TRUE(world.runs("db"));
  world.saves_left.reset();
  EXPECT_TRUE(run()->failed.empty());
  EXPECT_EQ(world.beside, Names{});
}

TEST_F(RecoveryLeftovers, AHostThatCannotSayWhatRunsThereIsWarnedOfAndRecoveredAllTheSame) {
  world.plan["db"] = {{milliseconds(10), 1}, {milliseconds(10)}};
  EXPECT_EQ(run()->failed, Names{"db"});
  reload();
  world.blind = true;
  EXPECT_TRUE(run()->failed.empty());
  EXPECT_TRUE(world.said("step db: what an earlier run has left running is not known: /proc is not there"));
}

TEST_F(RecoveryLeftovers, WhatADoneStepHasLeftIsNotEnded) {
  world.plan["app"] = {{milliseconds(10), 1}, {milliseconds(10)}};
  EXPECT_EQ(run()->failed, Names{"app"});
  reload();
  world.leftovers.clear();
  EXPECT_TRUE(run()->failed.empty());
  for (const auto& [digest, session] : world.leftovers) EXPECT_NE(digest, step_digest(plan.steps[0]));
}

}  // namespace
}  // namespace pgmint::service

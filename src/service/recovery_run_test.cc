// Steps of a recovery: their order, checks, limits and retries, what is chosen, what is taken from an earlier run.
#include "service/recovery_run.h"

#include "service/recovery_fixture.h"

namespace pgmint::service {
namespace {

using RecoveryRun = RecoveryFixture;

TEST_F(RecoveryRun, RunsStepsInOrderChecksEachAndTellsEachGroup) {
  const auto outcome = run();
  ASSERT_TRUE(outcome);
  EXPECT_TRUE(outcome->failed.empty());
  EXPECT_EQ(outcome->exit_code, 0);
  EXPECT_EQ(world.started, (Names{"db", "app", "api"}));
  EXPECT_EQ(world.looked, (Names{"db", "app", "api"}));
  EXPECT_EQ(world.notices, (Names{"recovery-started ", "recovery-group-done database", "recovery-group-done application", "recovery-group-done api", "recovery-ended "}));
  EXPECT_EQ(record.state, IncidentState::Ended);
  EXPECT_TRUE(world.said("step 1 of 3 (db): starts, at most 30.0 s: /bin/db")) << world.lines[0].second;
}

TEST_F(RecoveryRun, StopsAtAFailureAndGoesOnWhereThePlanSaysSo) {
  world.plan["app"] = {{milliseconds(10), 3}};
  auto outcome = run();
  ASSERT_TRUE(outcome);
  EXPECT_EQ(outcome->failed, Names{"app"});
  EXPECT_EQ(outcome->exit_code, 10);
  EXPECT_EQ(world.started, (Names{"db", "app"}));
  EXPECT_EQ(record.state, IncidentState::Open);
  EXPECT_EQ(record.steps[1].attempts[0].outcome, "exit 3: its last words");
  EXPECT_EQ(record.steps[2].state, StepState::Waiting);
  EXPECT_EQ(world.ended, Names{"app"}) << "what it left behind is ended";

  world.started.clear();
  plan.steps[1].goes_on = true;
  outcome = run();
  EXPECT_EQ(outcome->failed, Names{"app"});
  EXPECT_EQ(world.started, (Names{"app", "api"})) << "db is done and well";
  EXPECT_EQ(record.state, IncidentState::Open);
}

TEST_F(RecoveryRun, OnlyARestoresOwnCodesPass) {
  for (const auto& [code, expected] : std::map<int, int>{{1, 10}, {4, 10}, {6, 6}, {7, 7}, {8, 8}, {9, 9}, {70, 10}}) {
    record = {};
    plan.steps[0].restores = true;
    world.plan["db"] = {{milliseconds(10), code}};
    EXPECT_EQ(run()->exit_code, expected) << code;
    plan.steps[0].restores = false;
    record = {};
    EXPECT_EQ(run()->exit_code, 10) << code << " of another program means nothing";
  }
}

TEST_F(RecoveryRun, RetriesAfterThePauseAndEndsWhatAnAttemptLeft) {
  plan.steps[0].retries = 2;
  plan.steps[0].retry_after = seconds(7);
  world.plan["db"] = {{milliseconds(10), 1}, {milliseconds(10), 0, false}, {milliseconds(10), 0}};
  const auto outcome = run();
  EXPECT_TRUE(outcome->failed.empty());
  EXPECT_EQ(world.started, (Names{"db", "db", "db", "app", "api"}));
  const auto& attempts = record.steps[0].attempts;
  ASSERT_EQ(attempts.size(), 3U);
  EXPECT_EQ(attempts[0].exit_code, 1);
  EXPECT_NE(attempts[1].outcome.find("its check did not pass in 30.0 s: not well"), std::string::npos) << attempts[1].outcome;
  EXPECT_GE(attempts[1].started - *attempts[0].ended, seconds(7));
  EXPECT_EQ(world.ended, (Names{"db", "db"}));
}

TEST_F(RecoveryRun, ACommandOverItsLimitIsEndedAndTheLimitCoversTheCheck) {
  world.plan["db"] = {{seconds(3600)}};
  const auto begin = clock.now();
  EXPECT_EQ(run()->failed, Names{"db"});
  EXPECT_EQ(clock.now() - begin, seconds(30));
  EXPECT_EQ(world.ended, Names{"db"});
  EXPECT_NE(record.steps[0].attempts[0].outcome.find("had not ended after 30.0 s"), std::string::npos);

  record = {};
  world.look_takes = seconds(5);
  world.plan["db"] = {{seconds(20), 0, false}};
  const auto second = clock.now();
  EXPECT_EQ(run()->failed, Names{"db"});
  EXPECT_LE(clock.now() - second, seconds(31));
  EXPECT_GE(clock.now() - second, seconds(29));
  for (const auto limit : world.limits) EXPECT_LE(limit, milliseconds(5000));
}

TEST_F(RecoveryRun, WhoWaitsHearsEveryTenSeconds) {
  plan.steps[0].timeout = seconds(200);
  plan.steps[0].retries = 1;
  plan.steps[0].retry_after = seconds(45);
  world.look_takes = seconds(10);
  plan.steps[0].check->limit = seconds(10);
  world.plan["db"] = {{seconds(95), 0, false}, {seconds(10)}};
  EXPECT_TRUE(run()->failed.empty());
  for (std::size_t i = 1; i < world.lines.size(); ++i)
    EXPECT_LE(world.lines[i].first - world.lines[i - 1].first, seconds(11)) << world.lines[i].second;
}

TEST_F(RecoveryRun, AStepWithoutACommandWaitsForItsCheck) {
  plan.steps[0].command.clear();
  EXPECT_EQ(run()->failed, Names{"db"});
  world.working.insert("db");
  EXPECT_TRUE(run()->failed.empty());
  EXPECT_EQ(world.started, (Names{"app", "api"}));
}

TEST_F(RecoveryRun, ADoneStepRunsAgainOnlyWhenItsCheckFailsOrItIsAnother) {
  world.plan["api"] = {{milliseconds(10), 1}, {milliseconds(10), 0}};
  EXPECT_EQ(run()->failed, Names{"api"});
  reload();
  world.working.erase("app");
  EXPECT_TRUE(run()->failed.empty());
  EXPECT_EQ(world.started, (Names{"app", "api"}));

  record.state = IncidentState::Open;
  world.started.clear();
  plan.steps[0].command.push_back("--more");
  EXPECT_TRUE(run()->failed.empty());
  EXPECT_EQ(world.started, Names{"db"}) << "the plan has another step of that name now";
}

TEST_F(RecoveryRun, ADoneStepWithoutACheckIsTakenFromTheJournalAndTheReportSaysSo) {
  plan.steps[0].check.reset();
  world.plan["app"] = {{milliseconds(10), 1}, {milliseconds(10), 0}};
  EXPECT_EQ(run()->failed, Names{"app"});
  reload();
  EXPECT_TRUE(run()->failed.empty());
  EXPECT_EQ(world.started, (Names{"app", "api"}));
  EXPECT_NE(report_markdown(record).find("taken from the journal: it has no check"), std::string::npos);
}

TEST_F(RecoveryRun, ARestoreThatHadFinishedIsNotRunAgainIntoWhatItRestored) {
  // Into a free directory that is complete now and well; into one that was not free; that is not complete; that is not well.
  using Case = std::tuple<bool, bool, bool>;
  for (const auto& [was_free, complete, well] : {Case{true, true, true}, Case{false, true, true}, Case{true, false, true}, Case{true, true, false}}) {
    SCOPED_TRACE(fmt::format("{} {} {}", was_free, complete, well));
    record = {};
    world.started.clear();
    world.plan["db"] = {{seconds(3600)}, {seconds(1)}};
    plan.steps[0].restores = true;
    plan.steps[0].restores_to = "/srv/pg";
    world.refuses_full = false;
    world.filled.clear();
    world.complete.clear();
    if (!was_free) world.filled.insert("/srv/pg");
    world.crash_in = 20;
    EXPECT_THROW((void)run(), Crash);  // the result never comes
    reload();
    if (complete) world.complete["/srv/pg"] = step_digest(plan.steps[0]);
    if (well) world.working.insert("db");
    EXPECT_TRUE(run()->failed.empty());
    const bool again = std::ranges::find(world.started, "db") != world.started.end();
    EXPECT_EQ(again, !(was_free && complete && well));
    EXPECT_EQ(record.steps[0].state, StepState::Done);
    world.working.clear();
  }
}

TEST_F(RecoveryRun, CtrlCEndsTheStepKeepsItRunningInTheJournalAndSaysCancelled) {
  world.cancel = &cancel;
  world.cancel_at_look = 2;
  const auto outcome = run();
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code(), Errc::Cancelled);
  EXPECT_EQ(world.ended, Names{"app"});
  const auto journal = parse_journal(world.journal);
  EXPECT_EQ(journal->steps[1].state, StepState::Running);
  EXPECT_EQ(journal->state, IncidentState::Open);
  EXPECT_TRUE(journal->runs[0].ended);
}

TEST_F(RecoveryRun, FromAndOnlyChooseSteps) {
  EXPECT_TRUE(run({"app", std::nullopt})->failed.empty());
  EXPECT_EQ(world.started, (Names{"app", "api"}));
  EXPECT_EQ(record.steps[0].state, StepState::Skipped);
  EXPECT_EQ(record.state, IncidentState::Ended);
  EXPECT_EQ(record.runs.back().outcome, "done; left out: db") << "what the contacts are told and the log has";

  world.started.clear();
  record = {};
  EXPECT_TRUE(run({std::nullopt, "app"})->failed.empty());
  EXPECT_EQ(world.started, Names{"app"});
  EXPECT_EQ(record.state, IncidentState::Ended) << "nothing that a later recovery would go on with";
  EXPECT_EQ(record.runs.back().outcome, "done, app alone");
}

TEST_F(RecoveryRun, ARestoreThatHadFinishedIsNotTheOneThatThePlanHasNow) {
  plan.steps[0].restores = true;
  plan.steps[0].restores_to = "/srv/pg";
  plan.steps[0].check = HealthCheck{DataDirectoryCheck{"/srv/pg"}};
  world.plan["db"] = {{seconds(3600)}, {seconds(1)}};
  world.crash_in = 20;
  EXPECT_THROW((void)run(), Crash);  // the result never comes
  reload();
  world.time_goes_by();
  plan.steps[0].command.push_back("--time=2026-11-22 08:40:01+00");
  EXPECT_EQ(run()->failed, Names{"db"}) << "the directory holds what the plan as it was has restored";
  EXPECT_EQ(record.steps[0].attempts[0].outcome, "interrupted");
  ASSERT_EQ(record.steps[0].attempts.size(), 2U);
  EXPECT_EQ(record.steps[0].attempts[1].exit_code, 4);

  reload();
  world.filled.clear();
  world.complete.clear();
  EXPECT_TRUE(run()->failed.empty());
  EXPECT_EQ(world.complete["/srv/pg"], step_digest(plan.steps[0]));
}

TEST_F(RecoveryRun, AStepThatOneRunLeftOutRunsInTheNext) {
  world.plan["api"] = {{milliseconds(10), 1}, {milliseconds(10)}};
  EXPECT_EQ(run({"app", std::nullopt})->failed, Names{"api"});
  EXPECT_EQ(record.steps[0].state, StepState::Skipped);
  reload();
  EXPECT_TRUE(run()->failed.empty());
  EXPECT_EQ(world.started, (Names{"db", "api"}));
  EXPECT_EQ(record.steps[0].state, StepState::Done);
}

TEST_F(RecoveryRun, AStepThatWasLeftOutRunsWhenItAloneIsAskedFor) {
  world.plan["api"] = {{milliseconds(10), 1}};
  EXPECT_EQ(run({"app", std::nullopt})->failed, Names{"api"});
  reload();
  EXPECT_TRUE(run({std::nullopt, "db"})->failed.empty());
  EXPECT_EQ(world.started, Names{"db"});
}

TEST_F(RecoveryRun, BeforeFromADoneStepIsLookedAtAndNeverRun) {
  world.plan["app"] = {{milliseconds(10), 1}, {milliseconds(10)}};
  EXPECT_EQ(run()->failed, Names{"app"});
  reload();
  world.working.erase("db");
  EXPECT_TRUE(run({"app", std::nullopt})->failed.empty());
  EXPECT_EQ(world.started, (Names{"app", "api"}));
  EXPECT_TRUE(world.said("step 1 of 3 (db): was done, but its check does not pass: not well; --from leaves it out"));
  EXPECT_EQ(record.state, IncidentState::Open) << "a step of it is not well";
  EXPECT_NE(record.runs.back().outcome.find("db"), std::string::npos);
  EXPECT_EQ(report_markdown(record).find("every step done"), std::string::npos);

  // Repaired by hand.
  reload();
  world.working.insert("db");
  EXPECT_TRUE(run()->failed.empty());
  EXPECT_EQ(world.started, Names{});
  EXPECT_EQ(record.state, IncidentState::Ended);
}

TEST_F(RecoveryRun, AskedForConfirmationAndRefusedItStopsAndCanGoOn) {
  plan.steps[1].needs_confirmation = true;
  world.confirms = false;
  EXPECT_EQ(run().failure().code(), Errc::Cancelled);
  EXPECT_EQ(world.started, Names{"db"});
  world.confirms = true;
  EXPECT_TRUE(run()->failed.empty());
  EXPECT_EQ(world.started, (Names{"db", "app", "api"}));
}

TEST_F(RecoveryRun, NothingRunsWithoutAJournalAndLaterItIsAWarning) {
  world.saves_left = 0;
  EXPECT_EQ(run().failure().code(), Errc::Io);
  EXPECT_TRUE(world.started.empty());
  record = {};
  world.saves_left = 3;
  EXPECT_TRUE(run()->failed.empty());
  EXPECT_EQ(world.started, (Names{"db", "app", "api"}));
  ASSERT_EQ(record.warnings.size(), 1U);
  EXPECT_NE(record.warnings[0].find("no space"), std::string::npos);
}

TEST_F(RecoveryRun, ContactsThatCannotBeToldAreAWarning) {
  world.deaf = true;
  EXPECT_TRUE(run()->failed.empty());
  EXPECT_FALSE(record.warnings.empty());
  EXPECT_NE(record.warnings[0].find("nobody there"), std::string::npos);
}

TEST_F(RecoveryRun, WhatCannotBeStartedHasFailed) {
  world.plan["db"] = {{milliseconds(0), 0, true, Errc::NotFound}};
  EXPECT_EQ(run()->exit_code, 10);
  EXPECT_EQ(record.steps[0].attempts[0].outcome, "there is no program");
}

}  // namespace
}  // namespace pgmint::service

#include "service/recovery_run.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <map>
#include <set>
#include <tuple>

#include "base/random.h"
#include "base/test_seed.h"

namespace pgmint::service {
namespace {

struct Crash {};

/// What a test decides of one attempt.
struct Behaviour {
  milliseconds runs{100};
  int status = 0;
  bool works = true;               ///< its check passes afterwards
  std::optional<Errc> cannot_start{};
};

/// A world in which services work once their command has been run, on a clock of its own.
class FakeWorld final : public RecoveryWorld {
 public:
  explicit FakeWorld(ManualClock& clock) : clock_(clock) {}

  Result<std::unique_ptr<RunningCommand>> start(const RecoveryStep& step, std::size_t) override {
    turn();
    started.push_back(step.name);
    const auto behaviour = next(step.name);
    if (behaviour.cannot_start) return Error(*behaviour.cannot_start, "there is no program");
    // Whatever the service was, while it is started it does not work.
    working.erase(step.name);
    running.insert(step.name);
    return std::unique_ptr<RunningCommand>(new FakeCommand(*this, step.name, behaviour, clock_.now()));
  }
  std::string last_words(std::size_t, std::size_t) override { return "its last words"; }
  Status look(const HealthCheck& check, milliseconds limit) override {
    turn();
    if (std::holds_alternative<DataDirectoryCheck>(check.look)) return complete ? ok() : Status(Error(Errc::Precondition, "no pg_control"));
    const auto& name = std::get<CommandCheck>(check.look).command.at(0);
    looked.push_back(name);
    limits.push_back(limit);
    if (look_takes.count() > 0) clock_.sleep(std::min(look_takes, limit));
    if (cancel_at_look && looked.size() >= *cancel_at_look) cancel->cancel();
    if (cancel != nullptr) TRY(cancel->check());
    if (working.contains(name)) return ok();
    return Error(Errc::Precondition, "not well");
  }
  bool is_free(const std::string&) override { return free_target; }
  std::size_t end_leftovers(const RecoveryStep& step, std::size_t, int session) override {
    leftovers.emplace_back(step.name, session);
    return running.erase(step.name);
  }
  bool confirm(const RecoveryStep& step) override {
    confirmed.push_back(step.name);
    return confirms;
  }
  Status save(const IncidentRecord& record) override {
    turn();
    if (saves_left && (*saves_left)-- == 0) {
      saves_left = 0;
      return Error(Errc::Io, "no space");
    }
    journal = journal_text(record);
    turn();
    return ok();
  }
  void tell(std::string_view line) override { lines.emplace_back(clock_.now(), line); }
  void warn(std::string_view line) override { lines.emplace_back(clock_.now(), line); }
  Status notify(const Notice& notice) override {
    notices.push_back(fmt::format("{} {}", notice_name(notice.kind), notice.group ? group_name(*notice.group) : ""));
    return deaf ? Status(Error(Errc::Storage, "nobody there")) : ok();
  }

  /// Every way in which the run touches the world may be its last.
  void turn() {
    if (crash_in && (*crash_in)-- == 0) throw Crash{};
  }
  Behaviour next(const std::string& step) {
    auto& queue = plan[step];
    if (queue.empty()) return {};
    const auto first = queue.front();
    if (queue.size() > 1) queue.erase(queue.begin());
    return first;
  }
  bool said(std::string_view what) const {
    return std::ranges::any_of(lines, [&](const auto& line) { return line.second.find(what) != std::string::npos; });
  }

  std::map<std::string, std::vector<Behaviour>> plan;  ///< by step, one for each attempt, the last for all further ones
  std::set<std::string> working, running;
  std::vector<std::string> started, looked, confirmed, notices, ended;
  std::vector<milliseconds> limits;
  std::vector<std::pair<std::string, int>> leftovers;
  std::vector<std::pair<TimePoint, std::string>> lines;
  std::string journal;
  bool confirms = true, deaf = false, complete = false, free_target = true;
  std::optional<unsigned> crash_in, cancel_at_look, saves_left;
  milliseconds look_takes{0};
  CancelToken* cancel = nullptr;

 private:
  class FakeCommand final : public RunningCommand {
   public:
    FakeCommand(FakeWorld& world, std::string step, Behaviour behaviour, TimePoint started) : world_(world), step_(std::move(step)), behaviour_(behaviour), started_(started) {}
    Result<std::optional<int>> poll() override {
      world_.turn();
      if (world_.clock_.now() - started_ < behaviour_.runs) return std::optional<int>();
      if (behaviour_.status == 0 && behaviour_.works) world_.working.insert(step_);
      return std::optional<int>(behaviour_.status);
    }
    std::size_t end() override {
      world_.running.erase(step_);
      world_.ended.push_back(step_);
      return 0;
    }
    void leave() override { world_.running.erase(step_); }

   private:
    FakeWorld& world_;
    std::string step_;
    Behaviour behaviour_;
    TimePoint started_;
  };

  ManualClock& clock_;
};

RecoveryStep step(const std::string& name, StepGroup group = StepGroup::Database) {
  RecoveryStep one;
  one.name = name;
  one.group = group;
  one.command = {"/bin/" + name};
  one.check = HealthCheck{CommandCheck{{name}}};
  one.timeout = seconds(30);
  return one;
}

struct Fixture : ::testing::Test {
  ManualClock clock{TimePoint(seconds(1'800'000'000))};
  FakeWorld world{clock};
  CancelToken cancel;
  RecoveryPlan plan;
  IncidentRecord record;

  Fixture() {
    plan.name = "p";
    plan.steps = {step("db"), step("app", StepGroup::Application), step("api", StepGroup::Api)};
    record.id = "i";
  }
  Result<RecoveryOutcome> run(const RecoveryOptions& options = {}) {
    record.runs.push_back({"me@here", "", "", "", static_cast<int>(record.runs.size()) + 100, clock.now(), std::nullopt, "", false});
    return run_recovery(plan, record, options, world, clock, cancel);
  }
  /// As after a crash: what the journal says, and nothing else.
  void reload() {
    auto back = parse_journal(world.journal);
    ASSERT_TRUE(back) << back.error().describe();
    record = std::move(*back);
    world.started.clear();
    world.looked.clear();
    world.crash_in.reset();
  }
};
using RecoveryRun = Fixture;
using Names = std::vector<std::string>;

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

TEST_F(RecoveryRun, AnInterruptedStepRunsAgainAfterItsLeftoversAreEnded) {
  world.plan["db"] = {{seconds(3600)}, {seconds(1)}};
  world.crash_in = 20;
  EXPECT_THROW((void)run(), Crash);  // the result never comes
  reload();
  EXPECT_EQ(record.steps[0].state, StepState::Running);
  EXPECT_TRUE(run()->failed.empty());
  EXPECT_EQ(world.leftovers[0], (std::pair<std::string, int>{"db", 100}));
  EXPECT_EQ(record.steps[0].attempts[0].outcome, "interrupted");
  EXPECT_EQ(record.steps[0].attempts.size(), 2U);
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
    world.free_target = was_free;
    world.crash_in = 20;
    EXPECT_THROW((void)run(), Crash);  // the result never comes
    reload();
    world.complete = complete;
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

  world.started.clear();
  record = {};
  EXPECT_TRUE(run({std::nullopt, "app"})->failed.empty());
  EXPECT_EQ(world.started, Names{"app"});
  EXPECT_EQ(record.state, IncidentState::Ended) << "nothing that a later recovery would go on with";
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

/// Random plans with random failures, and a crash at any point where the world is touched, again and again until the plan is through.
TEST(RecoveryRunCrash, WhateverIsCutOffNoStepIsSkippedThatIsNotWellAndNoneRunsTwiceThatIs) {
  const auto seed = test_seed();
  SCOPED_TRACE(fmt::format("PGMINT_TEST_SEED={}", seed));
  for (unsigned round = 0; round < 150; ++round) {
    SeededRandom random(seed + round);
    ManualClock clock(TimePoint(seconds(1'800'000'000)));
    FakeWorld world(clock);
    CancelToken cancel;
    RecoveryPlan plan;
    plan.name = "p";
    const auto count = 1 + random.below(6);
    std::uint64_t group = 0;
    for (std::uint64_t i = 0; i < count; ++i) {
      group = std::min<std::uint64_t>(4, group + random.below(2));
      auto one = step(fmt::format("s{}", i), kStepGroups[group]);
      one.retries = static_cast<unsigned>(random.below(3));
      one.timeout = seconds(5);
      one.retry_after = seconds(random.below(3));
      for (auto failures = random.below(4); failures > 0; --failures)
        world.plan[one.name].push_back({milliseconds(random.below(8000)), static_cast<int>(random.below(2)), random.below(2) == 0});
      world.plan[one.name].push_back({milliseconds(random.below(3000))});
      plan.steps.push_back(std::move(one));
    }
    ASSERT_TRUE(check_plan(plan));

    IncidentRecord record;
    record.id = "i";
    world.journal.clear();
    bool through = false;
    for (unsigned run = 0; run < 200 && !through; ++run) {
      if (!world.journal.empty()) record = parse_journal(world.journal).value();
      const auto known = record;  // what this run knows
      std::set<std::string> done_and_well;
      for (const auto& one : known.steps)
        if (one.state == StepState::Done && world.working.contains(one.name)) done_and_well.insert(one.name);
      world.started.clear();
      record.runs.push_back({"me", "", "", "", 1, clock.now(), std::nullopt, "", false});
      world.crash_in = random.below(3) == 0 ? std::nullopt : std::optional<unsigned>(static_cast<unsigned>(random.below(60)));
      Result<RecoveryOutcome> outcome = RecoveryOutcome{};
      try {
        outcome = run_recovery(plan, record, {}, world, clock, cancel);
        ASSERT_TRUE(outcome) << outcome.error().describe();
      } catch (const Crash&) {
        outcome = Error(Errc::Unknown, "as after kill -9");
      }
      world.crash_in.reset();
      for (const auto& name : world.started) EXPECT_FALSE(done_and_well.contains(name)) << "round " << round << ": " << name << " was done and well, and ran again";
      // In order, and nothing behind a step that is not well.
      for (std::size_t i = 0; i < plan.steps.size(); ++i) {
        if (std::ranges::find(world.started, plan.steps[i].name) == world.started.end()) continue;
        for (std::size_t before = 0; before < i; ++before)
          EXPECT_TRUE(world.working.contains(plan.steps[before].name)) << "round " << round << ": " << plan.steps[i].name << " ran behind a step that does not work";
      }
      // Time goes by, and a service may fall over again.
      if (!outcome || !outcome->failed.empty()) {
        if (random.below(4) == 0 && !world.working.empty()) world.working.erase(world.working.begin());
        world.running.clear();
        continue;
      }
      for (const auto& one : plan.steps) EXPECT_TRUE(world.working.contains(one.name)) << "round " << round << ": " << one.name << " is said to be done";
      EXPECT_EQ(record.state, IncidentState::Ended);
      through = true;
    }
    EXPECT_TRUE(through) << "round " << round;
  }
}

TEST(RecoveryPlan, OrderNamesAndEmptyStepsAreChecked) {
  RecoveryPlan plan;
  EXPECT_FALSE(check_plan(plan));
  plan.steps = {step("a", StepGroup::Api), step("b", StepGroup::Database)};
  const auto order = check_plan(plan);
  ASSERT_FALSE(order);
  EXPECT_NE(order.error().describe().find("\"b\" (database) stands behind \"a\" (api)"), std::string::npos);
  plan.as_written = true;
  EXPECT_TRUE(check_plan(plan));
  plan.steps[1].name = "a";
  EXPECT_FALSE(check_plan(plan));
  plan.steps[1] = step("c");
  plan.steps[1].command.clear();
  EXPECT_TRUE(check_plan(plan));
  plan.steps[1].check.reset();
  EXPECT_FALSE(check_plan(plan));
}

TEST(RecoveryPlan, CommandsAreShownWithoutPasswords) {
  EXPECT_EQ(shown_command({"psql", "host=a password=geheim", "-c", "SELECT 1"}), "psql 'host=a password=***' -c 'SELECT 1'");
  EXPECT_EQ(shown_command({"app", "--db-password", "geheim", "x"}), "app --db-password *** x");
  EXPECT_EQ(shown_command({"curl", "https://u:geheim@h/"}).find("geheim"), std::string::npos);
  EXPECT_EQ(shown_command({"sh", "-c", "it's"}), "sh -c 'it'\\''s'");
}

TEST(RecoveryPlan, AStepsDigestTellsWhatItDoesFromHowLongItMay) {
  auto one = step("a");
  const auto digest = step_digest(one);
  one.timeout = seconds(1);
  one.retries = 9;
  EXPECT_EQ(step_digest(one), digest);
  one.check = HealthCheck{SqlCheck{"SELECT 1", "", std::nullopt}};
  EXPECT_NE(step_digest(one), digest);
}

}  // namespace
}  // namespace pgmint::service

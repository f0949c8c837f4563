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

/// A world in which services work once their command has been run, on a clock of its own. A restore fills its directory when it starts, is complete when it ends, and
/// refuses one that is not free. What a crash leaves running runs on, under the digest that its step had, in the session of its run.
class FakeWorld final : public RecoveryWorld {
 public:
  explicit FakeWorld(ManualClock& clock) : clock_(clock) {}

  Result<std::unique_ptr<RunningCommand>> start(const RecoveryStep& step, std::size_t) override {
    turn();
    started.push_back(step.name);
    const auto behaviour = next(step.name);
    if (behaviour.cannot_start) return Error(*behaviour.cannot_start, "there is no program");
    for (const auto& [id, other] : running) beside.push_back(fmt::format("{} beside {}", step.name, other.name));
    Process process{step.name, step_digest(step), step.restores_to, session, behaviour, clock_.now()};
    if (!step.restores_to.empty() && refuses_full && filled.contains(step.restores_to)) {
      process.behaviour = {milliseconds(0), 4, false};
    } else {
      // Whatever the service was, while it is started it does not work.
      works_by.erase(step.name);
      working.erase(step.name);
      if (!step.restores_to.empty()) filled.insert(step.restores_to);
    }
    running.emplace(++last_id_, process);
    return std::unique_ptr<RunningCommand>(new FakeCommand(*this, last_id_, process));
  }
  struct Process {
    std::string name, digest, directory;
    int session;
    Behaviour behaviour;
    TimePoint started;
  };
  /// What its end does to the world.
  void has_ended(const Process& process) {
    if (process.behaviour.status != 0) return;
    if (!process.directory.empty()) complete[process.directory] = process.digest;
    if (!process.behaviour.works) return;
    working.insert(process.name);
    works_by[process.name] = process.digest;
  }
  /// What runs on without anybody who waits for it comes to its end.
  void time_goes_by() {
    for (const auto& [id, process] : running) has_ended(process);
    running.clear();
  }
  bool runs(std::string_view name) const {
    return std::ranges::any_of(running, [&](const auto& one) { return one.second.name == name; });
  }
  std::string last_words(std::size_t, std::size_t) override { return "its last words"; }
  Status look(const HealthCheck& check, milliseconds limit) override {
    turn();
    if (const auto* data = std::get_if<DataDirectoryCheck>(&check.look)) return complete.contains(data->path) ? ok() : Status(Error(Errc::Precondition, "no pg_control"));
    const auto& name = std::get<CommandCheck>(check.look).command.at(0);
    looked.push_back(name);
    limits.push_back(limit);
    if (look_takes.count() > 0) clock_.sleep(std::min(look_takes, limit));
    if (cancel_at_look && looked.size() >= *cancel_at_look) cancel->cancel();
    if (cancel != nullptr) TRY(cancel->check());
    if (working.contains(name)) return ok();
    return Error(Errc::Precondition, "not well");
  }
  bool is_free(const std::string& directory) override { return !filled.contains(directory); }
  Result<Leftovers> end_leftovers(const std::string& digest, int of_session) override {
    leftovers.emplace_back(digest, of_session);
    if (blind) return Error(Errc::Io, "/proc is not there");
    Leftovers found;
    for (auto at = running.begin(); at != running.end();) {
      if (at->second.digest != digest || at->second.session != of_session) {
        ++at;
        continue;
      }
      ++found.found;
      if (cannot_be_ended) found.left.push_back(at->first);
      at = cannot_be_ended ? std::next(at) : running.erase(at);
    }
    return found;
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
  std::set<std::string> working, filled;                ///< steps; directories that hold something
  std::map<std::string, std::string> works_by, complete;  ///< by step, by directory: the digest of what has made it so
  std::map<int, Process> running;
  std::vector<std::string> beside;  ///< what was started while something else ran
  std::vector<std::string> started, looked, confirmed, notices, ended;
  std::vector<milliseconds> limits;
  std::vector<std::pair<std::string, int>> leftovers;
  std::vector<std::pair<TimePoint, std::string>> lines;
  std::string journal;
  int session = 0;  ///< of the run under way
  bool confirms = true, deaf = false, blind = false, refuses_full = true, cannot_be_ended = false;
  std::optional<unsigned> crash_in, cancel_at_look, saves_left;
  milliseconds look_takes{0};
  CancelToken* cancel = nullptr;

 private:
  class FakeCommand final : public RunningCommand {
   public:
    FakeCommand(FakeWorld& world, int id, Process process) : world_(world), id_(id), process_(std::move(process)) {}
    Result<std::optional<int>> poll() override {
      world_.turn();
      if (world_.clock_.now() - process_.started < process_.behaviour.runs) return std::optional<int>();
      world_.has_ended(process_);
      return std::optional<int>(process_.behaviour.status);
    }
    std::size_t end() override {
      world_.ended.push_back(process_.name);
      if (world_.cannot_be_ended) return 1;
      world_.running.erase(id_);
      return 0;
    }
    void leave() override { world_.running.erase(id_); }

   private:
    FakeWorld& world_;
    int id_;
    Process process_;
  };

  ManualClock& clock_;
  int last_id_ = 0;
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
    world.session = static_cast<int>(record.runs.size()) + 100;
    record.runs.push_back({"me@here", "", "", "", world.session, clock.now(), std::nullopt, "", false});
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
  ASSERT_FALSE(world.leftovers.empty());
  EXPECT_EQ(world.leftovers[0], (std::pair{step_digest(plan.steps[0]), 100}));
  EXPECT_EQ(world.beside, Names{});
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

TEST_F(RecoveryRun, WhatAKilledRunHasLeftIsEndedByWhatItsStepWasThen) {
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

TEST_F(RecoveryRun, NothingRunsBesideWhatCannotBeEnded) {
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

TEST_F(RecoveryRun, AnAttemptWhoseProcessesCannotBeEndedIsNotFollowedByAnother) {
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

TEST_F(RecoveryRun, ARestoreThatFailedAndCouldNotBeEndedIsNotTakenAsOneThatHadFinished) {
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

TEST_F(RecoveryRun, APlanThatGoesOnWithoutAStepDoesNotGoOnBesideIt) {
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

TEST_F(RecoveryRun, WhatAKilledRunHasLeftIsEndedAlsoWhenTheJournalCouldNotSayThatItRan) {
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

TEST_F(RecoveryRun, AHostThatCannotSayWhatRunsThereIsWarnedOfAndRecoveredAllTheSame) {
  world.plan["db"] = {{milliseconds(10), 1}, {milliseconds(10)}};
  EXPECT_EQ(run()->failed, Names{"db"});
  reload();
  world.blind = true;
  EXPECT_TRUE(run()->failed.empty());
  EXPECT_TRUE(world.said("step db: what an earlier run has left running is not known: /proc is not there"));
}

TEST_F(RecoveryRun, WhatADoneStepHasLeftIsNotEnded) {
  world.plan["app"] = {{milliseconds(10), 1}, {milliseconds(10)}};
  EXPECT_EQ(run()->failed, Names{"app"});
  reload();
  world.leftovers.clear();
  EXPECT_TRUE(run()->failed.empty());
  for (const auto& [digest, session] : world.leftovers) EXPECT_NE(digest, step_digest(plan.steps[0]));
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

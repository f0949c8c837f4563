#include "service/daemon.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <stdexcept>

#include "base/log.h"
#include "base/test_seed.h"

namespace pgmint::service {
namespace {

using namespace std::chrono_literals;

TimePoint at(std::string_view text) { return *parse_time(text); }

PlannedJob job(const std::string& cluster, JobKind kind, std::string_view schedule, const TimeZone& zone = TimeZone::utc(), std::chrono::seconds delay = 0s) {
  return {cluster, kind, *policy::Schedule::parse(schedule), zone, delay};
}
Plan standard(const std::string& cluster = "main", const TimeZone& zone = TimeZone::utc()) {
  Plan plan;
  for (const auto& spec : kJobs)
    if (spec.default_schedule != "never" && !spec.is_of_repository && !spec.needs_object_lock) plan.jobs.push_back(job(cluster, spec.kind, spec.default_schedule, zone));
  return plan;
}

/// A world in which time passes only when the daemon waits. `script` happens at its times; every child has the length and the exit
/// code that `length` and `code` say when it is started.
class FakeWorld final : public Surroundings {
 public:
  struct Child {
    ChildId id;
    std::string cluster;
    std::string what;  ///< its arguments
    TimePoint started, ends;
    int code;
  };
  explicit FakeWorld(TimePoint start) : now_(start) {}

  TimePoint now() const override { return now_; }
  Result<ChildId> start(const std::vector<std::string>& arguments, const std::string& cluster) override {
    if (!cluster.empty()) {
      if (orphan_until > now_) return Error(Errc::Busy, "orphan");
      for (const auto& child : children) EXPECT_NE(child.cluster, cluster) << "two jobs of one cluster at " << format_rfc3339(now_);
      std::set<std::string> clusters = {cluster};
      for (const auto& child : children)
        if (!child.cluster.empty()) clusters.insert(child.cluster);
      EXPECT_LE(clusters.size(), kClustersAtOnce);
    }
    if (no_start) return Error(Errc::Io, "no memory");
    std::string what;
    for (const auto& word : arguments) what += (what.empty() ? "" : " ") + word;
    if (const auto cut = what.find(" --progress"); cut != std::string::npos) what.erase(cut);
    children.push_back({++last_, cluster, what, now_, now_ + length(what), code(what)});
    started.emplace_back(now_, what);
    lived_starts[what].push_back(lived);
    return last_;
  }
  void end(ChildId child, bool at_once) override {
    for (auto& one : children)
      if (one.id == child) {
        one.ends = now_ + (at_once ? 0s : 3s);
        one.code = at_once ? 137 : 130;
      }
  }
  DaemonEvent wait(TimePoint until) override {
    if (++waits > 3'000'000) throw std::runtime_error("the daemon never ends");
    EXPECT_GE(until, now_);
    const auto first = std::ranges::min_element(children, {}, &Child::ends);
    const auto next = script.empty() ? TimePoint::max() : script.begin()->first;
    if (first != children.end() && first->ends <= std::min(until, next)) {
      pass_until(first->ends);
      const DaemonEvent event{DaemonEvent::Kind::Ended, first->id, first->code};
      children.erase(first);
      return event;
    }
    if (next <= until) {
      pass_until(next);
      const auto happens = script.begin()->second;
      script.erase(script.begin());
      return happens(*this);
    }
    pass_until(until);
    return {};
  }
  Result<Plan> load_plan() override {
    if (!plan) return Error(Errc::Configuration, "wrong");
    return *plan;
  }
  Status save(const RunMemory& memory) override {
    if (disk_is_full) return Error(Errc::Io, "no space");
    saved = memory;
    return ok();
  }
  void tell(std::string_view message) override { told.emplace_back(message); }

  void at_time(TimePoint time, DaemonEvent::Kind kind) {
    script.emplace(time, [kind](FakeWorld&) { return DaemonEvent{kind, 0, 0}; });
  }
  void set_clock(TimePoint time) { now_ = time; }
  /// Starts of jobs whose arguments begin so.
  std::vector<TimePoint> starts(std::string_view what) const {
    std::vector<TimePoint> times;
    for (const auto& [time, name] : started)
      if (name.starts_with(what)) times.push_back(time);
    return times;
  }

  /// The most starts of one job within an hour that was lived, whatever its clock showed.
  std::size_t most_in_an_hour() const {
    std::size_t most = 0;
    for (const auto& [what, times] : lived_starts)
      for (std::size_t first = 0, last = 0; last < times.size(); ++last) {
        while (times[last] - times[first] >= 1h) ++first;
        most = std::max(most, last - first + 1);
      }
    return most;
  }

  std::function<std::chrono::seconds(const std::string&)> length = [](const std::string&) { return 10min; };
  std::function<int(const std::string&)> code = [](const std::string&) { return 0; };
  std::multimap<TimePoint, std::function<DaemonEvent(FakeWorld&)>> script;
  std::vector<Child> children;
  std::vector<std::pair<TimePoint, std::string>> started;
  std::vector<std::string> told;
  std::optional<Plan> plan;
  RunMemory saved;
  TimePoint orphan_until{};
  bool no_start = false, disk_is_full = false;
  std::uint64_t waits = 0;
  std::chrono::microseconds lived{};  ///< time that passed: a clock that is set is none
  std::map<std::string, std::vector<std::chrono::microseconds>> lived_starts;

 private:
  void pass_until(TimePoint time) {
    if (time <= now_) return;
    lived += time - now_;
    now_ = time;
  }

  TimePoint now_;
  ChildId last_ = 0;
};

class DaemonTest : public ::testing::Test {
 protected:
  DaemonTest() { set_log_level(LogLevel::Error); }
  ~DaemonTest() override { set_log_level(LogLevel::Info); }
};
/// Years of failures are thousands of lines on standard error: they go nowhere.
class DaemonProperties : public DaemonTest {
 protected:
  DaemonProperties() : stderr_(::dup(STDERR_FILENO)) {
    const Fd nowhere(::open("/dev/null", O_WRONLY | O_CLOEXEC));
    ::dup2(nowhere.get(), STDERR_FILENO);
  }
  ~DaemonProperties() override { ::dup2(stderr_.get(), STDERR_FILENO); }

 private:
  Fd stderr_;
};

std::vector<std::string> names(const FakeWorld& world) {
  std::vector<std::string> all;
  for (const auto& [time, what] : world.started) all.push_back(what);
  return all;
}
using Names = std::vector<std::string>;

/// Everything remembered as done at `time`.
RunMemory all_done(const Plan& plan, TimePoint time) {
  RunMemory memory;
  for (const auto& one : plan.jobs) {
    JobMemory done;
    done.history = {.through = time, .end = policy::RunEnd::Settled, .ended = time, .failures = 0};
    done.started = done.succeeded = time;
    done.exit_code = 0;
    memory[{one.cluster, one.kind}] = done;
  }
  return memory;
}

TEST_F(DaemonTest, TheFirstStartTakesBackupsAtOnceAndNothingElse) {
  FakeWorld world(at("2026-11-26 13:00Z"));
  world.at_time(at("2026-11-26 17:59Z"), DaemonEvent::Kind::Stop);
  Daemon(world, standard(), {}).run();
  // One backup of the cluster, which builds on what there is, not a full and an incremental one.
  EXPECT_EQ(names(world), (Names{"backup main --type auto", "backup main --type config"}));
  EXPECT_EQ(world.started[0].first, at("2026-11-26 13:00Z"));
  EXPECT_EQ(world.started[1].first, at("2026-11-26 13:10Z")) << "jobs of a cluster follow each other";
}

TEST_F(DaemonTest, AWeekIsAsTheRunbookHasIt) {
  FakeWorld world(at("2026-11-23 00:00:01Z"));  // a Monday
  const auto plan = standard();
  world.at_time(at("2026-11-30 00:00Z"), DaemonEvent::Kind::Stop);
  Daemon(world, plan, all_done(plan, at("2026-11-23 00:00Z"))).run();
  EXPECT_EQ(world.starts("backup main --type full").size(), 7U);
  EXPECT_EQ(world.starts("backup main --type full").front(), at("2026-11-23 01:00Z"));
  EXPECT_EQ(world.starts("backup main --type incremental").size(), 27U);
  EXPECT_EQ(world.starts("backup main --type config"), (std::vector{at("2026-11-29 02:00Z")}));
  EXPECT_EQ(world.starts("expire").size(), 7U);
  EXPECT_EQ(world.starts("collect").size(), 7U);
  EXPECT_EQ(world.starts("verify"), (std::vector{at("2026-11-29 05:30Z")}));
  EXPECT_EQ(world.started.size(), 7U + 27 + 1 + 7 + 7 + 1);
}

TEST_F(DaemonTest, DowntimeIsCaughtUpOnceTheMostImportantFirst) {
  FakeWorld world(at("2026-12-24 12:00Z"));
  const auto plan = standard();
  world.at_time(at("2026-12-24 17:00Z"), DaemonEvent::Kind::Stop);
  Daemon(world, plan, all_done(plan, at("2026-11-26 12:00Z"))).run();
  EXPECT_EQ(names(world), (Names{"backup main --type full", "backup main --type config", "expire main", "collect --cluster main", "verify main --read-data --older-than 30d"}));
}

TEST_F(DaemonTest, AnIncrementalBackupThatIsDueWhileAFullOneRunsIsLeftOut) {
  FakeWorld world(at("2026-11-26 00:30Z"));
  const auto plan = standard();
  world.length = [](const std::string& what) { return what.find("full") != std::string::npos ? std::chrono::seconds(6h) : 1min; };
  world.at_time(at("2026-11-26 13:00Z"), DaemonEvent::Kind::Stop);
  Daemon(world, plan, all_done(plan, at("2026-11-26 00:29Z"))).run();
  // Due at 06:00, while the full one runs from 01:00 to 07:00; expire and collect have waited.
  EXPECT_EQ(world.starts("backup main --type incremental"), (std::vector{at("2026-11-26 12:00Z")}));
  EXPECT_EQ(world.starts("expire"), (std::vector{at("2026-11-26 07:00Z")}));
  EXPECT_EQ(world.starts("collect"), (std::vector{at("2026-11-26 07:01Z")}));
}

TEST_F(DaemonTest, AFullBackupThatFailsDoesNotTakeTheIncrementalOneWithIt) {
  FakeWorld world(at("2026-11-26 00:30Z"));
  const auto plan = standard();
  world.length = [](const std::string& what) { return what.find("full") != std::string::npos ? std::chrono::seconds(6h) : 1min; };
  world.code = [](const std::string& what) { return what.find("full") != std::string::npos ? 9 : 0; };
  world.at_time(at("2026-11-26 09:00Z"), DaemonEvent::Kind::Stop);
  Daemon(world, plan, all_done(plan, at("2026-11-26 00:29Z"))).run();
  // Due at 06:00; the full one fails at 07:00, and runs again from 07:01 on.
  EXPECT_EQ(world.starts("backup main --type incremental"), (std::vector{at("2026-11-26 07:00Z")}));
  EXPECT_EQ(world.starts("backup main --type full"), (std::vector{at("2026-11-26 01:00Z"), at("2026-11-26 07:01Z")}));
  EXPECT_EQ(world.saved.at({"main", JobKind::Incremental}).succeeded, at("2026-11-26 07:01Z"));
}

TEST_F(DaemonTest, ADaemonThatDiesInAFullBackupDoesNotForgetTheIncrementalOne) {
  const auto plan = standard();
  FakeWorld world(at("2026-11-26 00:30Z"));
  world.length = [](const std::string&) { return 6h; };
  world.script.emplace(at("2026-11-26 06:30Z"), [](FakeWorld&) -> DaemonEvent { throw std::runtime_error("kill -9"); });
  Daemon first(world, plan, all_done(plan, at("2026-11-26 00:29Z")));
  EXPECT_THROW(first.run(), std::runtime_error);
  FakeWorld next(at("2026-11-26 06:31Z"));
  next.code = [](const std::string& what) { return what.find("full") != std::string::npos ? 9 : 0; };
  next.at_time(at("2026-11-26 06:50Z"), DaemonEvent::Kind::Stop);
  Daemon(next, plan, world.saved).run();
  EXPECT_EQ(next.starts("backup main --type incremental"), (std::vector{at("2026-11-26 06:41Z")}));
}

TEST_F(DaemonTest, AJobThatRunsPastItsNextTimesIsNotRunAtOnceAgain) {
  FakeWorld world(at("2026-11-26 00:30Z"));
  Plan plan;
  plan.jobs.push_back(job("main", JobKind::Incremental, "every 6 h"));
  world.length = [](const std::string&) { return 13h; };
  world.at_time(at("2026-11-27 00:30Z"), DaemonEvent::Kind::Stop);
  Daemon(world, plan, all_done(plan, at("2026-11-26 00:29Z"))).run();
  EXPECT_EQ(world.starts("backup"), (std::vector{at("2026-11-26 06:00Z"), at("2026-11-27 00:00Z")}));
}

TEST_F(DaemonTest, FailuresAreTriedAgainBusyOnesSoonDamageNot) {
  FakeWorld world(at("2026-11-26 00:30Z"));
  Plan plan;
  plan.jobs.push_back(job("a", JobKind::Full, "daily at 01:00"));
  plan.jobs.push_back(job("b", JobKind::Expire, "daily at 01:00"));
  plan.jobs.push_back(job("c", JobKind::Verify, "daily at 03:00"));
  world.length = [](const std::string&) { return 0s; };
  world.code = [](const std::string& what) { return what.starts_with("backup") ? 9 : what.starts_with("expire") ? 5 : 8; };
  world.at_time(at("2026-11-26 04:00Z"), DaemonEvent::Kind::Stop);
  Daemon(world, plan, all_done(plan, at("2026-11-26 00:29Z"))).run();
  std::vector<std::int64_t> minutes;
  for (const auto time : world.starts("backup")) minutes.push_back((time - at("2026-11-26 01:00Z")) / 1min);
  EXPECT_EQ(minutes, (std::vector<std::int64_t>{0, 1, 3, 7, 15, 31, 63, 123}));
  EXPECT_EQ(world.starts("expire").size(), 180U);
  EXPECT_EQ(world.starts("verify").size(), 1U);
  const auto& full = world.saved.at({"a", JobKind::Full});
  EXPECT_EQ(full.exit_code, 9);
  EXPECT_EQ(full.history.failures, 8U);
  EXPECT_EQ(full.succeeded, at("2026-11-26 00:29Z"));
}

TEST_F(DaemonTest, DamageIsTheAnswerOfAVerificationAndAFailureOfEverythingElse) {
  FakeWorld world(at("2026-11-26 00:30Z"));
  Plan plan;
  plan.jobs.push_back(job("a", JobKind::Full, "daily at 01:00"));
  plan.jobs.push_back(job("b", JobKind::Expire, "daily at 01:00"));
  plan.jobs.push_back(job("c", JobKind::Verify, "daily at 03:00"));
  world.length = [](const std::string&) { return 0s; };
  world.code = [](const std::string&) { return 8; };
  world.at_time(at("2026-11-27 02:00Z"), DaemonEvent::Kind::Stop);
  Daemon(world, plan, all_done(plan, at("2026-11-26 00:29Z"))).run();
  // A full backup with damaged pages may have been made: it is not made every hour, nor twice in the nights that follow.
  EXPECT_EQ(world.starts("backup"), (std::vector{at("2026-11-26 01:00Z"), at("2026-11-26 01:01Z"), at("2026-11-27 01:00Z")}));
  EXPECT_EQ(world.saved.at({"a", JobKind::Full}).succeeded, at("2026-11-26 00:29Z")) << "not a success";
  EXPECT_EQ(world.saved.at({"a", JobKind::Full}).history.failures, 3U);
  EXPECT_GT(world.starts("expire").size(), 24U) << "an expiry that could not do its work is tried again";
  EXPECT_EQ(world.saved.at({"b", JobKind::Expire}).succeeded, at("2026-11-26 00:29Z"));
  EXPECT_EQ(world.starts("verify"), (std::vector{at("2026-11-26 03:00Z")}));
  EXPECT_EQ(world.saved.at({"c", JobKind::Verify}).succeeded, at("2026-11-26 03:00Z"));
}

TEST_F(DaemonTest, AConfigurationBackupThatLacksAFileIsNotMadeEveryHour) {
  FakeWorld world(at("2026-11-26 00:30Z"));
  Plan plan;
  plan.jobs.push_back(job("main", JobKind::Config, "weekly on Sunday at 02:00"));
  world.code = [](const std::string&) { return 6; };
  world.at_time(at("2026-11-30 00:00Z"), DaemonEvent::Kind::Stop);
  Daemon(world, plan, all_done(plan, at("2026-11-26 00:29Z"))).run();
  EXPECT_EQ(world.starts("backup").size(), kConfigTriesMost);
}

TEST_F(DaemonTest, JobsOfTwoClustersRunAtTheSameTimeAThirdWaits) {
  FakeWorld world(at("2026-11-26 00:30Z"));
  Plan plan;
  for (const auto* cluster : {"a", "b", "c"}) plan.jobs.push_back(job(cluster, JobKind::Full, "daily at 01:00"));
  world.at_time(at("2026-11-26 02:00Z"), DaemonEvent::Kind::Stop);
  Daemon(world, plan, all_done(plan, at("2026-11-26 00:29Z"))).run();
  EXPECT_EQ(world.starts("backup"), (std::vector{at("2026-11-26 01:00Z"), at("2026-11-26 01:00Z"), at("2026-11-26 01:10Z")}));
}

TEST_F(DaemonTest, StopTellsChildrenAndWaitsAndTheJobIsDoneAgainWithTheNextDaemon) {
  FakeWorld world(at("2026-11-26 00:59Z"));
  const auto plan = standard();
  world.at_time(at("2026-11-26 01:05Z"), DaemonEvent::Kind::Stop);
  Daemon(world, plan, all_done(plan, at("2026-11-26 00:30Z"))).run();
  EXPECT_EQ(world.now(), at("2026-11-26 01:05:03Z"));
  EXPECT_TRUE(world.children.empty());
  EXPECT_EQ(world.told.back(), "STATUS=stopping");
  EXPECT_TRUE(std::ranges::find(world.told, "STOPPING=1") != world.told.end());
  const auto left = world.saved;
  EXPECT_FALSE(left.at({"main", JobKind::Full}).is_running);
  EXPECT_EQ(left.at({"main", JobKind::Full}).history.failures, 0U);

  FakeWorld next(at("2026-11-26 01:06Z"));
  next.at_time(at("2026-11-26 01:30Z"), DaemonEvent::Kind::Stop);
  Daemon(next, plan, left).run();
  EXPECT_EQ(names(next), (Names{"backup main --type full"}));
}

TEST_F(DaemonTest, AHookThatIsDueWhileItStopsKeepsItFromNothing) {
  FakeWorld world(at("2026-11-26 00:30Z"));
  Plan plan;
  plan.jobs.push_back(job("main", JobKind::Full, "daily at 01:00"));
  plan.hooks.push_back({"alerts", {"alert", "check"}, 5min});
  world.length = [](const std::string& what) { return what == "alert check" ? 0s : std::chrono::seconds(1h); };
  world.at_time(at("2026-11-26 01:04:59Z"), DaemonEvent::Kind::Stop);
  Daemon(world, plan, all_done(plan, at("2026-11-26 00:29Z"))).run();
  EXPECT_EQ(world.now(), at("2026-11-26 01:05:02Z"));
  EXPECT_LT(world.waits, 60U) << "and it does not ask again and again meanwhile";
}

TEST_F(DaemonTest, ASecondStopIsImmediate) {
  FakeWorld world(at("2026-11-26 00:59Z"));
  const auto plan = standard();
  world.at_time(at("2026-11-26 01:05Z"), DaemonEvent::Kind::Stop);
  world.at_time(at("2026-11-26 01:05:01Z"), DaemonEvent::Kind::StopNow);
  Daemon(world, plan, all_done(plan, at("2026-11-26 00:30Z"))).run();
  EXPECT_EQ(world.now(), at("2026-11-26 01:05:01Z"));
}

TEST_F(DaemonTest, WhatACrashCutOffIsRunAgainButNotForEver) {
  const auto plan = standard();
  auto memory = all_done(plan, at("2026-11-26 00:30Z"));
  std::vector<TimePoint> starts;
  auto now = at("2026-11-26 01:00Z");
  for (int crash = 0; crash < 6; ++crash) {
    FakeWorld world(now);
    world.length = [](const std::string&) { return 1h; };
    world.script.emplace(now + 10s, [](FakeWorld&) -> DaemonEvent { throw std::runtime_error("kill -9"); });
    EXPECT_THROW(Daemon(world, plan, memory).run(), std::runtime_error);
    for (const auto time : world.starts("backup main --type full")) starts.push_back(time);
    memory = world.saved;
    now += 30s;
  }
  // The third time it is taken for a failure, with the patience of one: four minutes since it began.
  EXPECT_EQ(starts, (std::vector{at("2026-11-26 01:00Z"), at("2026-11-26 01:00:30Z"), at("2026-11-26 01:01Z")}));
}

TEST_F(DaemonTest, AJobThatAnEarlierDaemonBeganIsWaitedFor) {
  FakeWorld world(at("2026-11-26 01:00Z"));
  const auto plan = standard();
  world.orphan_until = at("2026-11-26 01:20Z");
  world.at_time(at("2026-11-26 01:40Z"), DaemonEvent::Kind::Stop);
  Daemon(world, plan, all_done(plan, at("2026-11-26 00:30Z"))).run();
  EXPECT_EQ(world.starts("backup main --type full"), (std::vector{at("2026-11-26 01:20Z")}));
}

TEST_F(DaemonTest, ChildrenThatCannotBeStartedAndADiskThatIsFullEndNothing) {
  FakeWorld world(at("2026-11-26 00:59Z"));
  const auto plan = standard();
  set_log_level(LogLevel::Error);
  world.no_start = world.disk_is_full = true;
  world.script.emplace(at("2026-11-26 01:02Z"), [](FakeWorld& self) {
    self.no_start = self.disk_is_full = false;
    return DaemonEvent{};
  });
  world.at_time(at("2026-11-26 01:30Z"), DaemonEvent::Kind::Stop);
  Daemon(world, plan, all_done(plan, at("2026-11-26 00:30Z"))).run();
  EXPECT_EQ(world.starts("backup main --type full"), (std::vector{at("2026-11-26 01:03Z")}));
  EXPECT_EQ(world.saved.at({"main", JobKind::Full}).succeeded, at("2026-11-26 01:13Z"));
}

TEST_F(DaemonTest, ReloadTakesTheNewPlanAndRefusesAWrongOne) {
  FakeWorld world(at("2026-11-26 00:30Z"));
  auto plan = standard();
  world.at_time(at("2026-11-26 00:40Z"), DaemonEvent::Kind::Reload);  // wrong: no plan
  world.script.emplace(at("2026-11-26 00:50Z"), [](FakeWorld& self) {
    self.plan = Plan();
    self.plan->jobs.push_back(job("main", JobKind::Full, "daily at 02:00"));
    self.plan->jobs.push_back(job("other", JobKind::Full, "daily at 02:00"));
    return DaemonEvent{DaemonEvent::Kind::Reload, 0, 0};
  });
  world.at_time(at("2026-11-26 02:05Z"), DaemonEvent::Kind::Stop);
  Daemon(world, plan, all_done(plan, at("2026-11-26 00:29Z"))).run();
  EXPECT_EQ(world.starts("backup main --type full"), (std::vector{at("2026-11-26 02:00Z")}));
  EXPECT_EQ(world.starts("backup other --type auto"), (std::vector{at("2026-11-26 00:50Z")})) << "a new cluster has its first backup at once";
  EXPECT_EQ(std::ranges::count(world.told, "READY=1"), 3);
  EXPECT_EQ(std::ranges::count_if(world.told, [](const auto& text) { return text.starts_with("RELOADING=1\nMONOTONIC_USEC="); }), 2);
}

TEST_F(DaemonTest, ReloadTriesAtOnceWhatHasFailed) {
  FakeWorld world(at("2026-11-26 00:30Z"));
  world.plan = Plan();
  world.plan->jobs.push_back(job("main", JobKind::Full, "daily at 01:00"));
  world.length = [](const std::string&) { return 0s; };
  world.code = [&](const std::string&) { return world.now() < at("2026-11-26 01:20Z") ? 9 : 0; };
  world.at_time(at("2026-11-26 01:20Z"), DaemonEvent::Kind::Reload);
  world.at_time(at("2026-11-26 04:00Z"), DaemonEvent::Kind::Stop);
  Daemon(world, *world.plan, all_done(*world.plan, at("2026-11-26 00:29Z"))).run();
  const auto starts = world.starts("backup");
  ASSERT_EQ(starts.size(), 6U);  // 0, 1, 3, 7, 15 minutes, and then
  EXPECT_EQ(starts.back(), at("2026-11-26 01:20Z"));
}

TEST_F(DaemonTest, HooksRunAfterEachJobAndEverySoOftenWithoutALock) {
  FakeWorld world(at("2026-11-26 00:30Z"));
  Plan plan;
  plan.jobs.push_back(job("main", JobKind::Full, "daily at 01:00"));
  plan.hooks.push_back({"alerts", {"alert", "check"}, 20min});
  world.length = [](const std::string& what) { return what == "alert check" ? 1s : std::chrono::seconds(15min); };
  world.code = [](const std::string& what) { return what == "alert check" ? 10 : 0; };
  world.at_time(at("2026-11-26 01:45Z"), DaemonEvent::Kind::Stop);
  Daemon(world, plan, all_done(plan, at("2026-11-26 00:29Z"))).run();
  // Every 20 minutes, also while the backup runs, and when it has ended.
  EXPECT_EQ(world.starts("alert check"), (std::vector{at("2026-11-26 00:30Z"), at("2026-11-26 00:50Z"), at("2026-11-26 01:10Z"), at("2026-11-26 01:15Z"), at("2026-11-26 01:35Z")}));
}

TEST_F(DaemonTest, AHookThatHangsIsEnded) {
  FakeWorld world(at("2026-11-26 00:30Z"));
  Plan plan;
  plan.jobs.push_back(job("main", JobKind::Full, "daily at 01:00"));
  plan.hooks.push_back({"alerts", {"alert", "check"}, 20min});
  world.length = [](const std::string&) { return 100h; };
  world.at_time(at("2026-11-26 00:55Z"), DaemonEvent::Kind::Stop);
  Daemon(world, plan, all_done(plan, at("2026-11-26 00:29Z"))).run();
  EXPECT_EQ(world.starts("alert check"), (std::vector{at("2026-11-26 00:30Z"), at("2026-11-26 00:50Z")}));
}

TEST_F(DaemonTest, AHookThatKeepsFailingIsToldEveryHourAndInTheStatus) {
  std::vector<std::string> lines;
  set_log_level(LogLevel::Warning);
  set_log_observer([&](LogLevel, std::string_view text) { lines.emplace_back(text); });
  FakeWorld world(at("2026-11-26 00:30Z"));
  Plan plan;
  plan.jobs.push_back(job("main", JobKind::Full, "daily at 01:00"));
  plan.hooks.push_back({"alerts", {"alert", "check"}, 5min});
  world.length = [](const std::string&) { return 1s; };
  world.code = [&](const std::string& what) { return what == "alert check" && world.now() < at("2026-11-26 04:00Z") ? 6 : 0; };
  bool was_told = false;
  world.script.emplace(at("2026-11-26 02:00Z"), [&](FakeWorld& self) {
    was_told = self.told.back().find("alerts FAILS since 2026-11-26T00:30:01Z: exit 6") != std::string::npos;
    return DaemonEvent{};
  });
  world.at_time(at("2026-11-26 05:02Z"), DaemonEvent::Kind::Stop);
  Daemon(world, plan, all_done(plan, at("2026-11-26 00:29Z"))).run();
  set_log_observer({});
  EXPECT_EQ(std::ranges::count_if(lines, [](const auto& line) { return line.find("alerts FAILS: exit 6") != std::string::npos; }), 4) << "00:30, 01:30, 02:30, 03:30";
  EXPECT_TRUE(was_told);
  const auto& last = world.told.at(world.told.size() - 2);  // before STOPPING=1
  EXPECT_EQ(last.find("FAILS"), std::string::npos) << last;
}

TEST_F(DaemonTest, AHookThatHangsIsEndedAlsoWhenTheClockIsSetBack) {
  FakeWorld world(at("2026-11-26 00:30Z"));
  Plan plan;
  plan.jobs.push_back(job("main", JobKind::Full, "daily at 01:00"));
  plan.hooks.push_back({"alerts", {"alert", "check"}, 20min});
  world.length = [](const std::string&) { return 100'000h; };
  world.script.emplace(at("2026-11-26 00:31Z"), [](FakeWorld& self) {
    self.set_clock(at("2025-11-26 00:31Z"));
    self.at_time(at("2025-11-26 00:55Z"), DaemonEvent::Kind::Stop);
    return DaemonEvent{};
  });
  Daemon(world, plan, all_done(plan, at("2026-11-26 00:29Z"))).run();
  EXPECT_EQ(world.starts("alert check").size(), 2U);
}

/// Ten years of the default schedule without mishaps: each time of each schedule has its run, and no other moment has one.
TEST_F(DaemonProperties, TenYearsAreOnTime) {
  for (const auto* name : {"Europe/Berlin", "Australia/Sydney"}) {
    const auto zone = *TimeZone::named(name);
    const auto plan = standard("main", zone);
    const auto begin = at("2020-01-01 00:30Z"), end = at("2030-01-01 00:00Z");
    FakeWorld world(begin);
    world.length = [](const std::string&) { return 1min; };
    world.at_time(end, DaemonEvent::Kind::Stop);
    Daemon(world, plan, all_done(plan, begin)).run();
    std::size_t expected = 0, found = 0;
    for (const auto& one : plan.jobs) {
      const auto words = job_arguments(one.kind, "main", false);
      auto what = words[0];
      for (std::size_t i = 1; i < words.size() && words[i] != "--progress"; ++i) what += " " + words[i];
      std::vector<TimePoint> times;
      for (auto next = one.schedule.next(begin, zone); next && *next < end; next = one.schedule.next(*next, zone)) times.push_back(*next);
      const auto starts = world.starts(what);
      EXPECT_EQ(starts, times) << what;
      expected += times.size();
      found += starts.size();
    }
    EXPECT_EQ(found, world.started.size());
    EXPECT_GT(expected, 25'000U);
  }
}

/// Years of bad days: clocks that jump, failures, crashes, stops, reloads, jobs that take days. Whatever happens, jobs of a cluster
/// never overlap (FakeWorld looks), nothing storms, and when days are good again every job runs.
TEST_F(DaemonProperties, YearsOfBadDaysHaveNoOverlapNoStormAndNoSleep) {
  const auto first = test_seed();
  for (std::uint64_t seed = first; seed < first + 8; ++seed) {
    SCOPED_TRACE(fmt::format("PGMINT_TEST_SEED={}", seed));
    SeededRandom random(seed);
    const auto zone = *TimeZone::named(random.below(2) == 0 ? "Australia/Lord_Howe" : "Europe/Berlin");
    Plan plan;
    // All of them within the week that is looked at in the end.
    const auto busier = [](const JobSpec& spec) -> std::string_view { return spec.kind == JobKind::Logical ? "every 4 h" : spec.kind == JobKind::Lock ? "weekly on Sunday at 06:00" : spec.default_schedule; };
    for (const auto* cluster : {"a", "b", "c"})
      for (const auto& spec : kJobs)
        if (!spec.is_of_repository && random.below(3) != 0) plan.jobs.push_back(job(cluster, spec.kind, busier(spec), zone, std::chrono::seconds(random.below(300))));
    if (plan.jobs.empty()) continue;
    plan.hooks.push_back({"alerts", {"alert", "check"}, 1h});
    RunMemory memory;
    auto now = at("2026-01-01 00:00Z");
    std::size_t starts = 0, mishaps = 0;
    for (int life = 0; life < 40; ++life) {
      FakeWorld world(now);
      world.plan = plan;
      // Some lives are those of jobs that end at once, and always in the same way: only there does a storm show.
      const bool is_quick = random.below(8) == 0;
      const int always[] = {5, 8, 9};
      const auto same = is_quick ? std::optional(always[random.below(3)]) : std::nullopt;
      world.length = [&](const std::string&) { return std::chrono::seconds(is_quick ? 0 : random.below(random.below(10) == 0 ? 200'000 : 1'500)); };
      world.code = [&](const std::string&) { const int codes[] = {0, 0, 0, 0, 0, 5, 8, 9, 70, 137}; return same.value_or(codes[random.below(10)]); };
      auto when = now;
      bool is_crash = false;
      const auto mishaps_before = mishaps;
      for (auto n = random.below(is_quick ? 4 : 12); n > 0; --n) {
        when += std::chrono::seconds(random.below(is_quick ? 7200 : 5 * 86400));
        ++mishaps;
        switch (random.below(is_quick ? 2 : 4)) {
          case 0: world.at_time(when, DaemonEvent::Kind::Reload); break;
          case 1: {
            const auto jump = std::chrono::seconds(random.below(400 * 86400));
            world.script.emplace(when, [jump](FakeWorld& self) { self.set_clock(self.now() + jump); return DaemonEvent{}; });
            break;
          }
          case 2: {
            const auto jump = std::chrono::seconds(random.below(random.below(2) == 0 ? 1800 : 400 * 86400));
            world.script.emplace(when, [jump](FakeWorld& self) { self.set_clock(self.now() - jump); return DaemonEvent{}; });
            break;
          }
          default: break;
        }
      }
      // The end of the script is an end by count and not by clock, which jumps.
      world.script.emplace(when + (is_quick ? 6h : 48h), [&](FakeWorld& self) -> DaemonEvent {
        is_crash = random.below(2) == 0;
        if (is_crash) throw std::runtime_error("kill -9");
        (void)self;
        return DaemonEvent{random.below(4) == 0 ? DaemonEvent::Kind::StopNow : DaemonEvent::Kind::Stop, 0, 0};
      });
      try {
        Daemon(world, plan, memory).run();
      } catch (const std::runtime_error& error) {
        if (std::string_view(error.what()) != "kill -9") throw;
      }
      // Once a minute while others are at work is the most; a mishap may begin each once more. The hook runs after each job besides.
      world.lived_starts.erase("alert check");
      ASSERT_LE(world.most_in_an_hour(), 61 + mishaps - mishaps_before) << "life " << life;
      starts += world.started.size();
      memory = random.below(5) == 0 ? RunMemory() : world.saved;
      now = world.now() + std::chrono::seconds(random.below(3 * 86400));
      ++mishaps;
    }
    EXPECT_GT(starts, 500U);

    // Good days: within a week and a bit, everything has run.
    FakeWorld calm(now);
    calm.length = [](const std::string&) { return 1min; };
    calm.at_time(now + 9 * 24h, DaemonEvent::Kind::Stop);
    Daemon(calm, plan, memory).run();
    for (const auto& one : plan.jobs) {
      const auto& end = calm.saved.at({one.cluster, one.kind});
      const bool is_covered = one.kind == JobKind::Incremental;  // a full one may have made it needless; its times go on
      ASSERT_TRUE(is_covered || (end.succeeded && *end.succeeded > now)) << one.cluster << " " << spec_of(one.kind).name;
    }
    EXPECT_GT(mishaps, 40U);
  }
}

}  // namespace
}  // namespace pgmint::service

// For tests: a world in which recovery plans run on a clock of its own, break down, and leave things behind.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <tuple>

#include "service/recovery_run.h"

namespace pgmint::service {

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

inline RecoveryStep step(const std::string& name, StepGroup group = StepGroup::Database) {
  RecoveryStep one;
  one.name = name;
  one.group = group;
  one.command = {"/bin/" + name};
  one.check = HealthCheck{CommandCheck{{name}}};
  one.timeout = seconds(30);
  return one;
}

struct RecoveryFixture : ::testing::Test {
  ManualClock clock{TimePoint(seconds(1'800'000'000))};
  FakeWorld world{clock};
  CancelToken cancel;
  RecoveryPlan plan;
  IncidentRecord record;

  RecoveryFixture() {
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
using Names = std::vector<std::string>;

}  // namespace pgmint::service

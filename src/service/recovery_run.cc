#include "service/recovery_run.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "base/log.h"
#include "base/units.h"

namespace pgmint::service {
namespace {

constexpr auto kPoll = milliseconds(50);        ///< between two looks at a command
constexpr auto kCheckPause = milliseconds(500); ///< between two looks at a service
constexpr auto kProgress = seconds(10);         ///< a line at least this often
constexpr std::size_t kWords = 5;               ///< lines of its output that a failed command is quoted with
constexpr std::string_view kInterrupted = "interrupted";
constexpr int kStepFailed = 10;                 ///< exit_code(Errc::Objective)

/// One recovery under way.
class Recovery {
 public:
  Recovery(const RecoveryPlan& plan, IncidentRecord& record, const RecoveryOptions& options, RecoveryWorld& world, Clock& clock, const CancelToken& cancel)
      : plan_(plan), record_(record), options_(options), world_(world), clock_(clock), cancel_(cancel) {}

  Result<RecoveryOutcome> run() {
    if (auto ended = end_interrupted(record_, world_); !ended) {
      record_.runs.back().ended = clock_.now();
      record_.runs.back().outcome = ended.error().describe();
      save();
      return std::move(ended).failure();
    }
    prepare();
    TRY(world_.save(record_));
    notify({Notice::Kind::Started, fmt::format("recovery of {} has begun, incident {}", plan_.name, record_.id)});
    auto ended = go_through();
    finish(ended);
    return ended;
  }

 private:
  struct Ended {
    bool done = false, cancelled = false;
    std::string outcome;
    std::optional<int> exit_code;
    std::size_t left{};  ///< processes of it that are there all the same
  };

  /// A record for each step, in the plan's order; what is no longer in the plan goes.
  void prepare() {
    std::vector<StepRecord> steps;
    for (std::size_t i = 0; i < plan_.steps.size(); ++i) {
      const auto& step = plan_.steps[i];
      const bool reached = i >= first();
      auto* known = record_.find(step.name);
      StepRecord one = known != nullptr ? *known : StepRecord{};
      const auto digest = step_digest(step);
      // What came of another step says nothing of this one: above all not that its restore has finished.
      if (const bool done = one.state == StepState::Done; (done || one.state == StepState::Running) && one.digest != digest) {
        one.state = StepState::Waiting;
        one.note = fmt::format("it {} as an earlier version of the plan had it", done ? "was done" : "was interrupted");
      }
      one.name = step.name;
      one.digest = digest;
      one.group = step.group;
      one.command = step.command.empty() ? "" : shown_command(step.command);
      one.check = step.check ? describe(*step.check) : "";
      if (options_.only) {
        if (step.name == *options_.only && one.state == StepState::Skipped) one.state = StepState::Waiting;
        else if (step.name != *options_.only && one.state == StepState::Waiting) one.note = "left out by --only";
      } else if (!reached && one.state != StepState::Done) {
        one.state = StepState::Skipped;
        one.note = "left out by --from";
      } else if (reached && one.state == StepState::Skipped) {
        one.state = StepState::Waiting;
        one.note.clear();
      }
      steps.push_back(std::move(one));
    }
    record_.steps = std::move(steps);
  }

  Result<RecoveryOutcome> go_through() {
    RecoveryOutcome outcome;
    for (std::size_t i = 0; i < plan_.steps.size(); ++i) {
      TRY(cancel_.check());
      const auto& step = plan_.steps[i];
      auto& record = record_.steps[i];
      if (options_.only && step.name != *options_.only) continue;
      if (record.state == StepState::Skipped) {
        world_.tell(fmt::format("step {}: {}", place(i), record.note));
        continue;
      }
      if (i < first()) {
        // It may have been repaired by hand: it is looked at, and whoever said --from hears of it.
        if (!TRY(is_done_already(step, record, i))) unwell_.push_back(step.name);
        continue;
      }
      const bool done = TRY(is_done_already(step, record, i)) || TRY(carry_out(step, record, i));
      if (!done) {
        outcome.failed.push_back(step.name);
        const int code = record.attempts.empty() ? 0 : record.attempts.back().exit_code.value_or(0);
        if (outcome.exit_code == 0) outcome.exit_code = step.restores && code >= 6 && code <= 9 ? code : kStepFailed;
        notify({Notice::Kind::Failed, fmt::format("step {} of {} failed: {}", step.name, plan_.name, record.attempts.back().outcome), step.name, step.group});
        if (record.state == StepState::Running) {
          world_.warn(fmt::format("step {}: what it has left running cannot be ended, and nothing is run beside it", place(i)));
          return outcome;
        }
        if (!step.goes_on) return outcome;
        world_.warn(fmt::format("step {} failed, and the plan goes on all the same", place(i)));
      }
      end_group(i, outcome);
    }
    return outcome;
  }

  /// One that an earlier run has done, and that is still well.
  Result<bool> is_done_already(const RecoveryStep& step, StepRecord& record, std::size_t i) {
    if (record.state != StepState::Done || options_.only) return false;
    if (!step.check) {
      record.note = "taken from the journal: it has no check";
      world_.warn(fmt::format("step {}: was done, says the journal; it has no check that could show it", place(i)));
      return true;
    }
    auto looked = world_.look(*step.check, step.check->limit);
    TRY(cancel_.check());
    if (looked) {
      record.note = "done before, and checked again";
      world_.tell(fmt::format("step {}: was done, and its check passes", place(i)));
      return true;
    }
    const bool left_out = i < first();
    if (left_out) record.note = redact(fmt::format("done before, left out by --from, and its check does not pass: {}", looked.error().describe()));
    world_.warn(fmt::format("step {}: was done, but its check does not pass: {}; {}", place(i), looked.error().describe(), left_out ? "--from leaves it out" : "it runs again"));
    return false;
  }

  /// All attempts. @return whether it is done. @errors Cancelled
  Result<bool> carry_out(const RecoveryStep& step, StepRecord& record, std::size_t i) {
    if (record.state == StepState::Running) {
      world_.warn(fmt::format("step {}: was interrupted; it runs again", place(i)));
      if (TRY(had_restored(step, record, i))) return true;
    }
    if (step.needs_confirmation && !world_.confirm(step)) return Error(Errc::Cancelled, fmt::format("step {} was not confirmed", step.name));
    for (unsigned attempt = 0;; ++attempt) {
      record.state = StepState::Running;
      record.note.clear();
      record.attempts.push_back({clock_.now(), std::nullopt, "", std::nullopt, !step.restores_to.empty() && world_.is_free(step.restores_to)});
      save();
      world_.tell(fmt::format("step {}: starts{}, at most {}: {}", place(i), attempt == 0 ? "" : fmt::format(" again ({} of {})", attempt, step.retries),
                              human(step.timeout), record.command.empty() ? "waits for " + record.check : record.command));
      const auto ended = carry_out_once(step, i);
      auto& now = record.attempts.back();
      now.ended = clock_.now();
      now.outcome = redact(ended.outcome);
      now.exit_code = ended.exit_code;
      // An interrupted step stays as running, so that it runs again; so does one of which something runs, so that it is ended before anything else is run.
      if (!ended.cancelled && ended.left == 0) record.state = ended.done ? StepState::Done : StepState::Failed;
      save();
      if (ended.cancelled) return Error(Errc::Cancelled, fmt::format("interrupted in step {}", step.name));
      const auto took = human(*now.ended - now.started);
      if (ended.done) {
        world_.tell(fmt::format("step {}: done in {}{}", place(i), took, record.check.empty() ? ", not checked" : ": " + record.check));
        return true;
      }
      world_.warn(fmt::format("step {}: failed after {}: {}", place(i), took, now.outcome));
      if (attempt >= step.retries || ended.left != 0) return false;
      TRY(wait(step.retry_after, fmt::format("step {}: waits before it is tried again", place(i))));
    }
  }

  /// A restore into a free directory that had finished, and nobody was there to hear it: run again, it would be refused. pg_control comes last, so that a directory
  /// that has it is complete. @errors Cancelled
  Result<bool> had_restored(const RecoveryStep& step, StepRecord& record, std::size_t i) {
    if (step.restores_to.empty() || record.attempts.empty() || !record.attempts.back().target_was_free) return false;
    if (!record.attempts.back().outcome.starts_with(kInterrupted)) return false;
    const auto complete = world_.look({DataDirectoryCheck{step.restores_to}}, seconds(1));
    const auto well = complete && step.check ? world_.look(*step.check, step.check->limit) : complete;
    TRY(cancel_.check());
    if (!well) return false;
    record.state = StepState::Done;
    record.note = "it had finished when it was interrupted";
    save();
    world_.tell(fmt::format("step {}: {}", place(i), record.note));
    return true;
  }

  Ended carry_out_once(const RecoveryStep& step, std::size_t i) {
    const auto started = clock_.now();
    const auto deadline = started + step.timeout;
    last_told_ = started;
    std::unique_ptr<RunningCommand> command;
    Ended ended;
    if (!step.command.empty()) {
      auto begun = world_.start(step, i + 1);
      if (!begun) return {false, false, begun.error().describe(), std::nullopt};
      command = std::move(*begun);
      ended = await_command(*command, step, i, started, deadline);
    } else {
      ended.done = true;
    }
    if (ended.done && step.check) {
      const auto exit = ended.exit_code;
      ended = await_check(step, i, started, deadline);
      ended.exit_code = exit;
    } else if (ended.done) {
      ended.outcome = "done, not checked";
    }
    if (command && ended.done) {
      command->leave();
    } else if (command) {
      ended.left = command->end();
      if (ended.left != 0) ended.outcome += fmt::format("; {} of its processes could not be ended", ended.left);
    }
    return ended;
  }

  Ended await_command(RunningCommand& command, const RecoveryStep& step, std::size_t i, TimePoint started, TimePoint deadline) {
    for (;;) {
      const auto status = command.poll();
      if (!status) return {false, false, status.error().describe(), std::nullopt};
      if (*status) {
        if (**status == 0) return {true, false, "", 0};
        const auto words = world_.last_words(i + 1, kWords);
        return {false, false, fmt::format("exit {}{}", **status, words.empty() ? "" : ": " + words), **status};
      }
      if (cancel_.cancelled()) return {false, true, std::string(kInterrupted), std::nullopt};
      if (clock_.now() >= deadline) {
        const auto words = world_.last_words(i + 1, kWords);
        return {false, false, fmt::format("it had not ended after {}{}", human(step.timeout), words.empty() ? "" : ": " + words), std::nullopt};
      }
      if (clock_.now() - last_told_ >= kProgress - seconds(1)) {
        const auto words = world_.last_words(i + 1, 1);
        tell_waiting(i, started, deadline, words.empty() ? "its command runs" : words);
      }
      clock_.sleep(std::min(milliseconds(kPoll), std::chrono::ceil<milliseconds>(deadline - clock_.now())));
    }
  }

  Ended await_check(const RecoveryStep& step, std::size_t i, TimePoint started, TimePoint deadline) {
    std::string why = "its check is made";
    for (;;) {
      // One look at least, however late the command has ended.
      const auto left = std::chrono::ceil<milliseconds>(deadline - clock_.now());
      const auto limit = std::clamp(left, milliseconds(1000), milliseconds(step.check->limit));
      // A look may take all of its limit, in which nothing can be told.
      if (clock_.now() > last_told_ && clock_.now() - last_told_ + limit > kProgress) tell_waiting(i, started, deadline, why);
      const auto looked = world_.look(*step.check, limit);
      if (looked) return {true, false, "done", std::nullopt};
      if (cancel_.cancelled()) return {false, true, std::string(kInterrupted), std::nullopt};
      if (clock_.now() + kCheckPause > deadline)
        return {false, false, fmt::format("its check did not pass in {}: {}", human(step.timeout), looked.error().describe()), std::nullopt};
      why = looked.error().describe();
      clock_.sleep(kCheckPause);
    }
  }

  void tell_waiting(std::size_t i, TimePoint started, TimePoint deadline, std::string_view what) {
    last_told_ = clock_.now();
    world_.tell(fmt::format("step {}: {} of at most {}: {}", place(i), human(last_told_ - started), human(deadline - started), what));
  }

  Status wait(seconds duration, const std::string& line) {
    const auto until = clock_.now() + duration;
    if (duration.count() > 0) world_.tell(fmt::format("{}, {}", line, human(duration)));
    auto told = clock_.now();
    while (clock_.now() < until) {
      TRY(cancel_.check());
      if (clock_.now() - told >= kProgress - seconds(1)) {
        told = clock_.now();
        world_.tell(fmt::format("{}, {} left", line, human(until - told)));
      }
      clock_.sleep(std::min(milliseconds(200), std::chrono::ceil<milliseconds>(until - clock_.now())));
    }
    return ok();
  }

  /// Tells the contacts after the last step of a group.
  void end_group(std::size_t i, const RecoveryOutcome& outcome) {
    const auto group = plan_.steps[i].group;
    if (options_.only || (i + 1 < plan_.steps.size() && plan_.steps[i + 1].group == group)) return;
    const bool all = std::ranges::none_of(outcome.failed, [&](const std::string& name) { return plan_.find(name)->group == group; });
    notify({Notice::Kind::GroupDone, fmt::format("{} of {}: {}", group_title(group), plan_.name, all ? "all steps are done" : "ended, with steps that failed"), "", group});
  }

  void finish(const Result<RecoveryOutcome>& ended) {
    auto& run = record_.runs.back();
    run.ended = clock_.now();
    const auto took = human(*run.ended - run.started);
    if (!ended) run.outcome = ended.error().describe();
    else if (ended->failed.empty()) run.outcome = "done" + what_was_left_out();
    else run.outcome = fmt::format("failed: {}", fmt::join(ended->failed, ", "));
    if (ended && ended->failed.empty() && unwell_.empty() && (options_.only ? record_.runs.size() == 1 : record_.is_through())) record_.state = IncidentState::Ended;
    notify({Notice::Kind::Ended, fmt::format("recovery of {}, incident {}, after {}: {}", plan_.name, record_.id, took, run.outcome)});
    save();
  }

  /// Whoever reads "done" must not take it for more than it is.
  std::string what_was_left_out() const {
    if (options_.only) return fmt::format(", {} alone", *options_.only);
    std::vector<std::string> out;
    for (const auto& step : record_.steps)
      if (step.state == StepState::Skipped) out.push_back(step.name);
    return (out.empty() ? "" : fmt::format("; left out: {}", fmt::join(out, ", "))) +
           (unwell_.empty() ? "" : fmt::format("; left out, and not well: {}", fmt::join(unwell_, ", ")));
  }

  void notify(const Notice& notice) {
    if (auto told = world_.notify(notice); !told) {
      const auto text = fmt::format("the contacts were not told that {}: {}", notice.text, told.error().describe());
      record_.warnings.push_back(redact(text));
      world_.warn(text);
    }
  }

  /// What was not written is done again after an interruption: that costs time, and is no reason not to recover.
  void save() {
    auto saved = world_.save(record_);
    if (saved) return;
    const auto text = fmt::format("the journal cannot be written, an interruption would repeat this step: {}", saved.error().describe());
    if (std::ranges::find(record_.warnings, text) == record_.warnings.end()) record_.warnings.push_back(text);
    world_.warn(text);
  }

  /// The step that --from names.
  std::size_t first() const {
    const auto found = options_.from ? std::ranges::find(plan_.steps, *options_.from, &RecoveryStep::name) : plan_.steps.begin();
    return static_cast<std::size_t>(found - plan_.steps.begin());
  }

  std::string place(std::size_t i) const { return fmt::format("{} of {} ({})", i + 1, plan_.steps.size(), plan_.steps[i].name); }

  const RecoveryPlan& plan_;
  IncidentRecord& record_;
  const RecoveryOptions& options_;
  RecoveryWorld& world_;
  Clock& clock_;
  const CancelToken& cancel_;
  TimePoint last_told_{};
  std::vector<std::string> unwell_;  ///< done by an earlier run, left out of this one, and their checks do not pass
};

}  // namespace

std::string_view notice_name(Notice::Kind kind) {
  switch (kind) {
    case Notice::Kind::Started: return "recovery-started";
    case Notice::Kind::GroupDone: return "recovery-group-done";
    case Notice::Kind::Failed: return "recovery-step-failed";
    case Notice::Kind::Ended: return "recovery-ended";
  }
  return "recovery";
}

Status end_interrupted(IncidentRecord& record, RecoveryWorld& world) {
  std::set<int> sessions;
  for (const auto& run : record.runs) sessions.insert(run.session);
  std::vector<std::string> left;
  for (auto& step : record.steps) {
    // What a step that is done has left is a service. A step of any other state has nothing that should run: where the journal could not be written, not even
    // that it was started stands there.
    if (step.state == StepState::Done) continue;
    if (!step.attempts.empty() && !step.attempts.back().ended) step.attempts.back().outcome = kInterrupted;
    std::size_t found = 0;
    for (const int session : sessions) {
      const auto ended = world.end_leftovers(step.digest, session);
      if (!ended) {
        world.warn(fmt::format("step {}: what an earlier run has left running is not known: {}", step.name, ended.error().describe()));
        continue;
      }
      found += ended->found - std::min(ended->found, ended->left.size());
      if (!ended->left.empty()) left.push_back(fmt::format("{}: {}", step.name, fmt::join(ended->left, ", ")));
    }
    if (found != 0) world.warn(fmt::format("step {}: what an earlier run had started was still there: {} ended", step.name, found == 1 ? "1 process" : fmt::format("{} processes", found)));
  }
  if (left.empty()) return ok();
  return Error(Errc::Busy, fmt::format("processes of interrupted steps cannot be ended ({}): nothing is run beside them", fmt::join(left, "; ")),
               Hint{"they are stuck in the kernel, or not yours to end: the same command goes on when they are gone; where they do no harm, PGMINT_STATE_DIRECTORY=DIR begins an incident beside them"});
}

Result<RecoveryOutcome> run_recovery(const RecoveryPlan& plan, IncidentRecord& record, const RecoveryOptions& options, RecoveryWorld& world, Clock& clock,
                                     const CancelToken& cancel) {
  PGMINT_ASSERT(!record.runs.empty());
  return Recovery(plan, record, options, world, clock, cancel).run();
}

}  // namespace pgmint::service

#include "service/daemon.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "base/log.h"
#include "base/units.h"

namespace pgmint::service {
namespace {

using policy::RunEnd;
using namespace std::chrono_literals;

constexpr int kBusyCode = 5, kDamageCode = 8;
constexpr int kCancelledCode = 130, kTerminatedCode = 128 + 15, kKilledCode = 128 + 9;
/// Nothing is due for so long: look again anyway.
constexpr auto kSleepMost = std::chrono::hours(24);
/// Starts later than this say how late they are.
constexpr auto kLate = 2min;
/// A hook that keeps failing is told again after so long.
constexpr auto kHookReminder = 1h;

policy::JobTiming timing_of(const PlannedJob& job) { return {job.schedule, job.zone, job.delay}; }

/// So often in a row it is tried before its next time.
unsigned tries_most(JobKind kind, int exit_code) {
  if (kind == JobKind::Config) return kConfigTriesMost;
  if (exit_code == kDamageCode && spec_of(kind).is_backup) return kDamageTriesMost;
  return std::numeric_limits<unsigned>::max();
}

std::string ending(int code) {
  switch (code) {
    case 0: return "done";
    case kBusyCode: return "busy (exit 5)";
    case kDamageCode: return "DAMAGE WAS FOUND (exit 8)";
    case kKilledCode: return "killed (by somebody, or for want of memory: journalctl -k)";
    case kCancelledCode:
    case kTerminatedCode: return "cancelled";
    default: return fmt::format("FAILED (exit {})", code);
  }
}

}  // namespace

Daemon::Daemon(Surroundings& world, Plan plan, RunMemory memory) : world_(world), plan_(std::move(plan)), memory_(std::move(memory)) {}

void Daemon::run() {
  recall();
  meet_new_jobs();
  world_.tell("READY=1");
  for (;;) {
    if (!stopping_) {
      correct_times();
      start_due();
      start_hooks();
    }
    end_late_hooks();
    if (stopping_ && (abandoned_ || !has_children())) return;
    if (const auto text = status(); text != told_) {
      told_ = text;
      world_.tell("STATUS=" + text);
    }
    const auto event = world_.wait(next_wake());
    switch (event.kind) {
      case DaemonEvent::Kind::Time: break;
      case DaemonEvent::Kind::Ended: on_end(event); break;
      case DaemonEvent::Kind::Reload: reload(); break;
      case DaemonEvent::Kind::Stop: stop(false); break;
      case DaemonEvent::Kind::StopNow: stop(true); break;
    }
  }
}

/// Jobs whose end an earlier daemon did not see.
void Daemon::recall() {
  for (auto& [id, job] : memory_) {
    if (job.history.end == RunEnd::Busy) job.history.end = RunEnd::Interrupted;
    if (!job.is_running) continue;
    job.is_running = false;
    ++job.history.failures;
    job.history.end = job.history.failures > kInterruptionsMost ? RunEnd::Failed : RunEnd::Interrupted;
    log_warning("{}: nobody saw the end of the {} of {}", id.cluster, spec_of(id.kind).title, format_rfc3339(job.started.value_or(job.history.ended)));
  }
}

/// Of what nothing is known: backups are due at once, everything else at its next time from now.
void Daemon::meet_new_jobs() {
  const auto now = world_.now();
  bool is_changed = false;
  for (const auto& job : plan_.jobs) {
    const auto [entry, is_new] = memory_.try_emplace({job.cluster, job.kind});
    if (!is_new) continue;
    is_changed = true;
    auto& history = entry->second.history;
    history.through = history.ended = now;
    if (spec_of(job.kind).is_backup) history.end = RunEnd::Interrupted;
  }
  for (const auto& hook : plan_.hooks)
    if (const auto [entry, is_new] = hooks_.try_emplace(hook.name); is_new) entry->second.next = now;
  if (is_changed) save();
}

void Daemon::reload() {
  const auto since_boot = std::chrono::steady_clock::now().time_since_epoch();
  world_.tell(fmt::format("RELOADING=1\nMONOTONIC_USEC={}", std::chrono::duration_cast<std::chrono::microseconds>(since_boot).count()));
  if (auto plan = world_.load_plan()) {
    plan_ = std::move(*plan);
    starts_.clear();
    const auto is_known = [&](const std::string& cluster) {
      return running_.contains(cluster) || std::ranges::any_of(plan_.jobs, [&](const auto& job) { return job.cluster == cluster; });
    };
    std::erase_if(memory_, [&](const auto& entry) { return !is_known(entry.first.cluster); });
    waits_.clear();
    // Whoever mends what made a job fail says so by this signal.
    for (auto& [id, job] : memory_)
      if (job.history.end != RunEnd::Settled) job.history.end = RunEnd::Interrupted;
    meet_new_jobs();
    log_info("the configuration has been read again: {} jobs", plan_.jobs.size());
  } else {
    log_error("the configuration cannot be read again, the old one stays: {}", plan.failure().describe());
  }
  world_.tell("READY=1");
}

void Daemon::correct_times() {
  const auto now = world_.now();
  bool is_changed = false;
  for (auto& [id, job] : memory_) {
    const auto right = policy::corrected(job.history, now);
    if (right == job.history) continue;
    log_warning("{}: the {} was remembered at {}, which is yet to come: a clock was wrong", id.cluster, spec_of(id.kind).title,
                format_rfc3339(job.history.through));
    job.history = right;
    is_changed = true;
  }
  for (const auto& hook : plan_.hooks) hooks_[hook.name].next = std::min(hooks_[hook.name].next, now + hook.every);
  if (is_changed) save();
}

std::optional<TimePoint> Daemon::start_of(const PlannedJob& job) const {
  const JobId id{job.cluster, job.kind};
  const auto& history = memory_.at(id).history;
  auto& known = starts_[id];
  if (!known || known->first != history) known = std::pair(history, policy::next_start(timing_of(job), history));
  return known->second;
}

void Daemon::start_due() {
  const auto now = world_.now();
  std::vector<std::pair<TimePoint, const PlannedJob*>> due;
  for (const auto& job : plan_.jobs)
    if (const auto start = start_of(job); start && *start <= now) due.emplace_back(*start, &job);
  std::ranges::stable_sort(due, [](const auto& a, const auto& b) { return std::pair(a.second->kind, a.first) < std::pair(b.second->kind, b.first); });
  for (const auto& [start, job] : due) {
    const auto other = running_.find(job->cluster);
    if (other == running_.end() && running_.size() < kClustersAtOnce) {
      launch(*job);
    } else if (const JobId id{job->cluster, job->kind}; is_to_wait(*job) && waits_.insert(id).second) {
      log_info("{}: the {} waits for {}", job->cluster, spec_of(job->kind).title,
               other == running_.end() ? std::string("jobs of other clusters") : fmt::format("the {}", spec_of(other->second.job.kind).title));
    }
  }
}

/// Not a job that is itself running.
bool Daemon::is_to_wait(const PlannedJob& job) const {
  const auto other = running_.find(job.cluster);
  if (other != running_.end() && other->second.job.kind == job.kind) return false;
  const auto start = start_of(job);
  return start && *start <= world_.now();
}

/// Only behind a full backup that is there: one that fails, or is never seen to end, must not take the incremental one with it.
void Daemon::leave_out_incremental(const std::string& cluster) {
  const auto now = world_.now();
  for (const auto& job : plan_.jobs) {
    if (job.cluster != cluster || job.kind != JobKind::Incremental) continue;
    const auto start = start_of(job);
    if (!start || *start > now) continue;
    auto& history = memory_[{cluster, job.kind}].history;
    history.through = now;
    history.end = RunEnd::Settled;
    history.failures = 0;
    waits_.erase({cluster, job.kind});
    log_info("{}: the incremental backup of {} is left out: a full one has just been made", cluster, format_rfc3339(*start));
    save();
  }
}

void Daemon::launch(const PlannedJob& job) {
  const auto now = world_.now();
  const JobId id{job.cluster, job.kind};
  auto& memory = memory_[id];
  const auto before = memory;
  const auto& title = spec_of(job.kind).title;
  memory.history.through = std::max(memory.history.through, now);
  memory.history.ended = now;
  memory.started = now;
  memory.exit_code.reset();
  memory.is_running = true;
  save();
  waits_.erase(id);

  const bool is_first = !before.succeeded;
  const auto child = world_.start(job_arguments(job.kind, job.cluster, is_first), job.cluster);
  if (!child) {
    memory = before;
    memory.history.through = std::max(before.history.through, now);
    memory.history.ended = now;
    const bool is_busy = child.failure().code() == Errc::Busy;
    memory.history.end = is_busy ? RunEnd::Busy : RunEnd::Failed;
    if (!is_busy) ++memory.history.failures;
    log_line(is_busy ? LogLevel::Warning : LogLevel::Error, fmt::format("{}: the {} cannot begin: {}", job.cluster, title, child.failure().describe()));
    save();
    return;
  }
  running_[job.cluster] = {id, *child, now};
  const auto planned = policy::next_planned(timing_of(job), before.history.through);
  std::string why;
  if (is_first && !before.started) why = ", the first that is known of";
  else if (before.history.failures > 0) why = fmt::format(", after {} without success", before.history.failures == 1 ? "one" : std::to_string(before.history.failures));
  if (planned && *planned + kLate < now) why += fmt::format(", planned for {}, {} late", format_rfc3339(*planned), human(now - *planned));
  log_info("{}: {} begins{}", job.cluster, title, why);
}

void Daemon::on_end(const DaemonEvent& event) {
  for (auto& [name, hook] : hooks_) {
    if (hook.child != event.child) continue;
    hook.child.reset();
    hook.was_told_to_end = false;
    if (event.exit_code == 0) hook_is_well(name, hook);
    else if (!stopping_) hook_fails(name, hook, fmt::format("exit {}", event.exit_code));
    return;
  }
  const auto found = std::ranges::find_if(running_, [&](const auto& entry) { return entry.second.child == event.child; });
  if (found == running_.end()) return;
  const auto run = found->second;
  running_.erase(found);
  settle(run, event.exit_code);
  for (auto& [name, hook] : hooks_) hook.is_due = true;
}

/// Said when it changes, and every so often: a hook that runs every few minutes must neither fill the journal nor fail unseen.
void Daemon::hook_fails(const std::string& name, HookState& hook, const std::string& how) {
  const auto now = world_.now();
  if (!hook.failing_since) hook.failing_since = now;
  hook.failing_since = std::min(*hook.failing_since, now);
  hook.told = std::min(hook.told, now);
  if (hook.failure == how && now < hook.told + kHookReminder) return;
  const auto since = now - *hook.failing_since;
  log_warning("{} FAILS: {}{}", name, how, since >= kHookReminder ? fmt::format(", for {} by now", human(since)) : "");
  hook.failure = how;
  hook.told = now;
}

void Daemon::hook_is_well(const std::string& name, HookState& hook) {
  if (hook.failing_since) log_info("{} works again", name);
  hook.failing_since.reset();
  hook.failure.clear();
}

void Daemon::settle(const Running& run, int exit_code) {
  const auto now = world_.now();
  auto& memory = memory_[run.job];
  auto& history = memory.history;
  memory.is_running = false;
  memory.exit_code = exit_code;
  history.ended = now;
  history.through = std::max(history.through, now);
  const bool is_cancelled = exit_code == kCancelledCode || exit_code == kTerminatedCode || exit_code == kKilledCode;
  // To find damage is what a verification is for. Any other job that meets it has not done its work, or not all of it.
  const bool is_done = exit_code == 0 || (exit_code == kDamageCode && run.job.kind == JobKind::Verify);
  if (is_done) {
    history.end = RunEnd::Settled;
    history.failures = 0;
    memory.succeeded = now;
  } else if (stopping_ && is_cancelled) {
    history.end = RunEnd::Interrupted;
  } else if (exit_code == kBusyCode) {
    history.end = RunEnd::Busy;
  } else {
    ++history.failures;
    history.end = history.failures >= tries_most(run.job.kind, exit_code) ? RunEnd::Settled : RunEnd::Failed;
  }
  save();
  if (is_done && run.job.kind == JobKind::Full) leave_out_incremental(run.job.cluster);
  const auto level = exit_code == 0 ? LogLevel::Info : exit_code == kBusyCode || stopping_ ? LogLevel::Warning : LogLevel::Error;
  std::string next;
  for (const auto& job : plan_.jobs)
    if (job.cluster == run.job.cluster && job.kind == run.job.kind && history.end != RunEnd::Settled && !stopping_)
      if (const auto start = start_of(job)) next = fmt::format("; again at {}", format_rfc3339(*start));
  log_line(level, fmt::format("{}: {} ends: {}, after {}{}", run.job.cluster, spec_of(run.job.kind).title, ending(exit_code), human(now - run.since), next));
}

void Daemon::start_hooks() {
  const auto now = world_.now();
  for (const auto& hook : plan_.hooks) {
    auto& state = hooks_[hook.name];
    if (state.child || (!state.is_due && state.next > now)) continue;
    state.is_due = false;
    state.next = now + hook.every;
    state.since = now;
    const auto child = world_.start(hook.arguments, "");
    if (child) state.child = *child;
    else hook_fails(hook.name, state, fmt::format("it cannot begin: {}", child.failure().describe()));
  }
}

void Daemon::end_late_hooks() {
  const auto now = world_.now();
  for (auto& [name, state] : hooks_) {
    state.since = std::min(state.since, now);  // a clock that was set back must not make it immortal
    if (!state.child || now < state.since + kHookPatience) continue;
    log_warning("{} has run for {} and is ended", name, human(now - state.since));
    world_.end(*state.child, state.was_told_to_end);
    state.was_told_to_end = true;
    state.since = now;
  }
}

void Daemon::stop(bool at_once) {
  if (!stopping_) world_.tell("STOPPING=1");
  stopping_ = true;
  abandoned_ |= at_once;
  for (const auto& [cluster, run] : running_) {
    log_info("{}: the {} is told to end{}", cluster, spec_of(run.job.kind).title, at_once ? " at once" : "");
    world_.end(run.child, at_once);
  }
  for (const auto& [name, hook] : hooks_)
    if (hook.child) world_.end(*hook.child, at_once);
}

bool Daemon::has_children() const {
  return !running_.empty() || std::ranges::any_of(hooks_, [](const auto& entry) { return entry.second.child.has_value(); });
}

TimePoint Daemon::next_wake() const {
  const auto now = world_.now();
  TimePoint wake = now + kSleepMost;
  if (!stopping_) {  // else nothing begins any more: what is due would be asked for again and again
    for (const auto& job : plan_.jobs)
      // What is due and waits is begun when something ends.
      if (const auto start = start_of(job); start && *start > now) wake = std::min(wake, *start);
    for (const auto& hook : plan_.hooks)
      if (const auto& state = hooks_.at(hook.name); !state.child) wake = std::min(wake, std::max(state.next, now));
  }
  for (const auto& [name, state] : hooks_)
    if (state.child) wake = std::min(wake, state.since + kHookPatience);
  return wake;
}

std::string Daemon::status() const {
  if (stopping_) return "stopping";
  std::string text;
  for (const auto& [cluster, run] : running_)
    text += fmt::format("{}{}: {} since {}", text.empty() ? "" : "; ", cluster, spec_of(run.job.kind).title, format_rfc3339(run.since));
  const PlannedJob* next = nullptr;
  std::optional<TimePoint> at;
  for (const auto& job : plan_.jobs)
    if (const auto start = start_of(job); start && *start > world_.now() && (!at || *start < *at)) {
      next = &job;
      at = start;
    }
  if (next != nullptr) text += fmt::format("{}next: {} of {} at {}", text.empty() ? "" : "; ", spec_of(next->kind).title, next->cluster, format_rfc3339(*at));
  for (const auto& hook : plan_.hooks)
    if (const auto& state = hooks_.at(hook.name); state.failing_since)
      text += fmt::format("{}{} FAILS since {}: {}", text.empty() ? "" : "; ", hook.name, format_rfc3339(*state.failing_since), state.failure);
  return text;
}

void Daemon::save() {
  const auto saved = world_.save(memory_);
  // Backups go on: they are worth more than the memory of them. Said once, until it works again.
  if (!saved && is_saved_) log_error("what has run cannot be remembered: {}", saved.failure().describe());
  is_saved_ = saved.has_value();
}

}  // namespace pgmint::service

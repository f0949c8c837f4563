// Runs a plan of jobs for ever: which job begins when, what waits for what, what is left out. The world comes by constructor.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/clock.h"
#include "service/run_memory.h"

namespace pgmint::service {

/// Jobs of so many clusters may run at the same time.
inline constexpr std::size_t kClustersAtOnce = 2;
/// So many times in a row a job is begun again at once after it, or the daemon, was cut off; then as after failures.
inline constexpr unsigned kInterruptionsMost = 2;
/// A configuration backup that lacks a file is kept, and fails: so often it is tried again, and then at its next time.
inline constexpr unsigned kConfigTriesMost = 3;
/// A backup that met damage (exit 8) may be there, with damaged pages, or not: so often it is tried, and then at its next time.
inline constexpr unsigned kDamageTriesMost = 2;
/// A hook that takes longer is ended.
inline constexpr auto kHookPatience = std::chrono::minutes(10);

/// A child process, by a number that is not used twice.
using ChildId = std::uint64_t;

struct DaemonEvent {
  enum class Kind { Time, Ended, Stop, StopNow, Reload } kind = Kind::Time;
  ChildId child = 0;
  int exit_code = 0;  ///< 128 and the signal's number where one ended it
};

/// Clock, processes, signals and disk of a daemon.
class Surroundings {
 public:
  virtual ~Surroundings() = default;
  virtual TimePoint now() const = 0;
  /// Starts pgmint with these arguments.
  /// @param cluster  whose lock the child has as long as it lives, unless it cannot be made, which is said; empty: none
  /// @errors Busy (the lock is held: a child of an earlier daemon still runs), Io
  virtual Result<ChildId> start(const std::vector<std::string>& arguments, const std::string& cluster) = 0;
  /// Asks a child to end, or ends it with all that it has started.
  virtual void end(ChildId child, bool at_once) = 0;
  /// Whatever comes first; Time also before `until`: then nothing has happened yet.
  virtual DaemonEvent wait(TimePoint until) = 0;
  /// @errors Configuration
  virtual Result<Plan> load_plan() = 0;
  /// @errors Key, Io
  virtual Status save(const RunMemory& memory) = 0;
  /// What the service manager is to know (sd_notify).
  virtual void tell(std::string_view message) = 0;
};

/// One run of the daemon. Not thread-safe. Borrows `world`.
///
/// Jobs of one cluster never overlap; where several are due the most important begins. A full backup that has been
/// made leaves an incremental one that is due needless. Times that pass while a job itself runs are left out. A start is remembered, durably,
/// before it happens: whoever comes after a crash knows of it.
class Daemon {
 public:
  Daemon(Surroundings& world, Plan plan, RunMemory memory);

  /// Until it is told to stop and its children have ended.
  void run();

  const RunMemory& memory() const { return memory_; }

 private:
  struct Running {
    JobId job;
    ChildId child = 0;
    TimePoint since;
  };
  struct HookState {
    TimePoint next;
    bool is_due = false, was_told_to_end = false;
    std::optional<ChildId> child;
    TimePoint since;
    std::optional<TimePoint> failing_since;
    std::string failure;  ///< how it failed last
    TimePoint told;       ///< of that
  };

  void recall();
  void meet_new_jobs();
  void reload();
  void correct_times();
  void start_due();
  bool is_to_wait(const PlannedJob& job) const;
  void leave_out_incremental(const std::string& cluster);
  void launch(const PlannedJob& job);
  void on_end(const DaemonEvent& event);
  void hook_fails(const std::string& name, HookState& hook, const std::string& how);
  void hook_is_well(const std::string& name, HookState& hook);
  void settle(const Running& run, int exit_code);
  void start_hooks();
  void end_late_hooks();
  void stop(bool at_once);
  bool has_children() const;
  TimePoint next_wake() const;
  std::string status() const;
  void save();
  std::optional<TimePoint> start_of(const PlannedJob& job) const;

  Surroundings& world_;
  Plan plan_;
  RunMemory memory_;
  std::map<std::string, Running> running_;  ///< by cluster
  std::map<std::string, HookState> hooks_;
  /// When each starts by which history: asked for at every turn, and a calendar is slow to ask.
  mutable std::map<JobId, std::optional<std::pair<policy::JobHistory, std::optional<TimePoint>>>> starts_;
  std::set<JobId> waits_;                   ///< of which it has been said
  bool stopping_ = false, abandoned_ = false, is_saved_ = true;
  std::string told_;
};

}  // namespace pgmint::service

// Runs a recovery plan: each step in its order, seen to work before the next begins, and written down so that an interruption costs one step.
#pragma once

#include <memory>

#include "service/incident_record.h"

namespace pgmint::service {

/// A step's command while it runs.
class RunningCommand {
 public:
  virtual ~RunningCommand() = default;
  /// Its exit status once it has ended. @errors Io
  virtual Result<std::optional<int>> poll() = 0;
  /// Ends it and what it has started. @return how many processes are there all the same
  virtual std::size_t end() = 0;
  /// It has ended; what it has started may go on.
  virtual void leave() = 0;
};

struct Notice {
  enum class Kind { Started, GroupDone, Failed, Ended } kind;
  std::string text;
  std::string step{};              ///< of Failed
  std::optional<StepGroup> group{};
};
std::string_view notice_name(Notice::Kind kind);

/// Of a step whose recovery was killed.
struct Leftovers {
  std::size_t found = 0;  ///< processes
  std::vector<int> left;  ///< the numbers of those that could not be ended
};

/// What a recovery does to the world and hears of it.
class RecoveryWorld {
 public:
  virtual ~RecoveryWorld() = default;
  /// @param number  of the step, from 1. @errors as the system says
  virtual Result<std::unique_ptr<RunningCommand>> start(const RecoveryStep& step, std::size_t number) = 0;
  /// The last lines of what the step's command has said, as one line.
  virtual std::string last_words(std::size_t number, std::size_t lines) = 0;
  /// As service::look(). @errors Precondition, Cancelled
  virtual Status look(const HealthCheck& check, milliseconds limit) = 0;
  /// Whether nothing is in a directory that is to be restored to.
  virtual bool is_free(const std::string& directory) = 0;
  /// Ends what an interrupted run has left of a step. @param digest  of the step as it was in that run. @param session  that run's. @errors Io, Key
  virtual Result<Leftovers> end_leftovers(const std::string& digest, int session) = 0;
  /// Asks a person.
  virtual bool confirm(const RecoveryStep& step) = 0;
  /// Makes the journal durable. @errors Io, Key
  virtual Status save(const IncidentRecord& record) = 0;
  /// A line for who watches.
  virtual void tell(std::string_view line) = 0;
  virtual void warn(std::string_view line) = 0;
  /// Tells the contacts. @errors whatever kept them from hearing it
  virtual Status notify(const Notice& notice) = 0;
};

struct RecoveryOptions {
  std::optional<std::string> from, only;  ///< names of steps
};

/// How a recovery has ended.
struct RecoveryOutcome {
  std::vector<std::string> failed;  ///< names of steps; empty: all that were to run are done
  int exit_code = 0;                ///< of the first that failed: 10, or what a restore of ours said where that is 6 to 9
};

/// Ends what the runs of `record` have left of steps that are not done, as they were in those runs, and closes their attempts. A host that cannot say what runs there is
/// warned of, and not waited for. @errors Busy (something could not be ended: named)
Status end_interrupted(IncidentRecord& record, RecoveryWorld& world);

/// Goes through `plan`. `record` holds the incident, new or as an earlier run left it; its last RunRecord is this run's. A step that `record` has as done, and whose
/// definition is the same, is looked at and not run again while its check passes (but with --only); one that was interrupted runs again. What was left running of any is ended before
/// anything is run. Ahead of --from nothing is run, whatever a look says; what one run left out the next one runs. The journal is saved before a command starts
/// and after it has ended. A journal that cannot be saved is a warning, but for the first time.
/// @errors Cancelled (or a confirmation was refused), Busy (of end_interrupted()), Io and Key (of the first save): of all but the first, nothing was run
Result<RecoveryOutcome> run_recovery(const RecoveryPlan& plan, IncidentRecord& record, const RecoveryOptions& options, RecoveryWorld& world, Clock& clock,
                                     const CancelToken& cancel);

}  // namespace pgmint::service

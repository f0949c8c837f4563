// A program and everything that it starts and does not detach, as one process group: looked at now and then, ended as a whole.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/file.h"

namespace pgmint {

/// Where a program is: `name` itself when it holds a slash, else the first executable file of that name in PATH. nullopt: nowhere.
std::optional<std::string> find_program(const std::string& name);

/// One program in a process group of its own. Its output goes to a file and never through a pipe: a server that it leaves running may hold it
/// open for years. Not thread-safe. Destroying one that has neither ended nor been left ends the whole group.
class ProcessGroup {
 public:
  struct Options {
    std::vector<std::string> arguments;                              ///< the program first, looked up in PATH
    std::vector<std::pair<std::string, std::string>> environment{};  ///< beside this process's own
    fs::path output{};                                               ///< standard output and error are appended to it; empty: /dev/null
    std::string input{};                                             ///< what its standard input holds
  };
  /// @param clock  borrowed, for waits
  /// @errors NotFound (no such program), Key (may not be run), Io
  static Result<std::unique_ptr<ProcessGroup>> start(Options options, Clock& clock);
  ~ProcessGroup();

  /// The program's exit status once it has ended (128 and the signal's number where one ended it), without waiting. Its number stays taken until
  /// leave() or end(), so that the group can still be ended. @errors Io
  Result<std::optional<int>> poll();
  /// SIGTERM to every process of the group; SIGKILL to those that are there after `grace`. @return how many are there all the same: another user's,
  /// which sudo started, or stuck in the kernel; 1 where processes cannot be listed
  std::size_t end(std::chrono::milliseconds grace = std::chrono::seconds(5));
  /// What it has started may go on without us. The program itself must have ended.
  void leave();
  int id() const { return pid_; }

 private:
  explicit ProcessGroup(Clock& clock) : clock_(clock) {}
  void reap();

  Clock& clock_;
  int pid_ = -1;  ///< -1: reaped
};

struct EndedProcesses {
  std::size_t found = 0;
  std::vector<int> left;  ///< their numbers: there all the same
};

/// Ends every process of session `session` in whose environment `variable` is `value`, as end() does: what a run that was killed has left. Processes that have
/// moved to a session of their own are left alone; another user's, such as what sudo has started, are not seen: their environment is not ours to read. It does not
/// return before those that are seen are gone, or are seen not to go. @errors Io, Key (processes cannot be listed)
Result<EndedProcesses> end_marked_processes(const std::string& variable, const std::string& value, int session, Clock& clock,
                                            std::chrono::milliseconds grace = std::chrono::seconds(5));

}  // namespace pgmint

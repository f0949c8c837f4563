// What posix_spawn() takes, for those that start programs: child_process, process_group, the daemon.
#pragma once

#include <spawn.h>
#include <sys/types.h>

#include <string>
#include <utility>
#include <vector>

#include "base/error.h"

namespace pgmint {

/// A group of its own, and signals as they usually are: a Ctrl-C reaches the child through us, or it would end before we know why.
class SpawnActions {
 public:
  SpawnActions();
  ~SpawnActions();
  SpawnActions(const SpawnActions&) = delete;
  SpawnActions& operator=(const SpawnActions&) = delete;

  /// `from` of this process becomes `to` of the child's; of the same number: it stays open.
  void connect(int from, int to) { ::posix_spawn_file_actions_adddup2(&files_, from, to); }
  void open(int fd, const char* path, int flags) { ::posix_spawn_file_actions_addopen(&files_, fd, path, flags, 0); }

  /// Runs arguments[0], a path, with this process's environment and `changes` in it. @errors NotFound, Io
  Result<pid_t> run(std::vector<std::string> arguments, const std::vector<std::pair<std::string, std::string>>& changes = {}) const;

 private:
  posix_spawn_file_actions_t files_{};
  posix_spawnattr_t attributes_{};
};

/// Starts arguments[0], a path, as a session of its own with nothing of ours open, for work that nobody waits for. @errors NotFound, Io
Status start_detached(std::vector<std::string> arguments);

}  // namespace pgmint

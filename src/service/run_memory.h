// What is remembered of each job's last run, in one file of the state directory.
#pragma once

#include <compare>
#include <map>
#include <optional>
#include <string>

#include "base/file.h"
#include "policy/due.h"
#include "service/jobs.h"

namespace pgmint::service {

struct JobId {
  std::string cluster;
  JobKind kind;
  auto operator<=>(const JobId&) const = default;
};

struct JobMemory {
  policy::JobHistory history;
  std::optional<TimePoint> started;    ///< of the last run
  std::optional<int> exit_code;        ///< of the last run; absent: it runs, or nobody saw its end
  std::optional<TimePoint> succeeded;  ///< the end of the last run that did its work
  bool is_running = false;             ///< when this was written
  bool operator==(const JobMemory&) const = default;
};
using RunMemory = std::map<JobId, JobMemory>;

/// Where in the state directory the daemon keeps things.
struct ServiceFiles {
  explicit ServiceFiles(const fs::path& state_directory) : directory(state_directory / "schedule") {}
  fs::path directory;
  fs::path memory() const { return directory / "runs.json"; }
  fs::path daemon_lock() const { return directory / "daemon.lock"; }
  fs::path cluster_lock(const std::string& cluster) const { return directory / ("cluster-" + cluster + ".lock"); }
};

/// Absent: empty. @errors Corruption (damaged: whoever goes on without it begins anew), Key, Io
Result<RunMemory> load_memory(const fs::path& file);
/// Whole or not at all, and durable. @errors Key, Io
Status save_memory(const fs::path& file, const RunMemory& memory);

/// An exclusive lock on the file, held as long as anybody has the descriptor; nullopt: somebody else has it. @errors Key, Io
Result<std::optional<Fd>> try_lock(const fs::path& file);

/// Whether somebody has that lock, without taking it. @errors Key, Io
Result<bool> is_locked(const fs::path& file);

}  // namespace pgmint::service

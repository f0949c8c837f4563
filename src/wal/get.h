// `wal get`: one file for restore_command, and the next segments fetched before they are asked for.
// Rules: POSTGRES facts 19. Decision: docs/adr/0006-batch-ahead-and-prefetch.md
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "base/cancel.h"
#include "base/file.h"
#include "repository/wal_archive.h"

namespace pgmint::wal {

/// What to do when the answer cannot be known while a hot standby would shut down for it.
enum class OnError { Stop, Absent };

struct GetRequest {
  std::string file_name;          ///< restore_command's %f
  std::string destination;        ///< %p: absolute, or relative to `directory`
  fs::path directory = ".";       ///< the server's working directory, its data directory
  /// The last segment that recovery to its target can need, as restore found when it knew of a hole behind it. PostgreSQL reads
  /// ahead of what it replays (recovery_prefetch, 15 and later); a hole behind this segment is told as absent, so that it gets
  /// to its target, and refuses by itself to end anywhere before.
  std::optional<std::string> until = {};
  unsigned attempts = 4;          ///< for transient errors, with pauses of 200 ms, doubled, at most 5 s
  std::chrono::seconds standby_retry{60};  ///< how long to go on when standby.signal stands in `directory`
  OnError on_error = OnError::Stop;        ///< after that, on a standby
  unsigned prefetch = 8;          ///< segments to keep ready; 0: none
  /// Command that runs prefetch() in a process of its own, e.g. {"/proc/self/exe", "wal", "prefetch", ...}; empty: none.
  /// The cache's directory and the file name are appended as its last two arguments.
  std::vector<std::string> prefetch_command;
  const CancelToken* cancel = nullptr;
  Clock* clock = &system_clock();
};

struct GetReport {
  bool delivered = false;         ///< false: positively absent
  bool from_cache = false;
  std::uint64_t bytes = 0;
  std::string explanation;        ///< for people, e.g. why it counts as absent
};

/// Delivers the whole file under `destination` (written beside it, fsynced, renamed) or finds it positively absent: the
/// store says so, no later file that would make this a hole stands on its timeline or a descendant, and it is not below the
/// floor of what `expire` let go; or it lies behind `until`.
/// @errors Precondition (absent, but not at the end of WAL: a hole, or expired), Storage, Unknown, Key, Corruption, Io,
///         Usage (not a WAL file name), Cancelled
Result<GetReport> get(repository::Cluster& cluster, const repository::WalIdentity& identity, const GetRequest& request);

/// restore_command: 0 delivered, 1 positively absent, 200 anything else (above 125 recovery stops instead of going on without).
int get_exit_code(const Result<GetReport>& result);
inline constexpr int kGetFailed = 200;

struct PrefetchRequest {
  fs::path cache;                 ///< from get()
  std::string file_name;          ///< the segment that was just delivered
  unsigned count = 8;
  unsigned workers = 2;
  std::chrono::seconds idle{10};  ///< ends, and empties the cache, when nothing was asked for during this time
  const CancelToken* cancel = nullptr;
  Clock* clock = &system_clock();
};
/// Keeps the next `count` segments behind the last one delivered in `cache`, until idle, cancelled, or the directory that
/// holds the cache is gone. One per cache: a second one returns at once. @errors Storage, Key, Corruption, Io, Cancelled
Status prefetch(repository::Cluster& cluster, const repository::WalIdentity& identity, const PrefetchRequest& request);

}  // namespace pgmint::wal

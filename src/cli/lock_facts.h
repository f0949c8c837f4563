// Object lock of a cluster: until when its objects are to be locked, and what its log says of the last look at them. Decision: docs/adr/0039-object-lock.md
#pragma once

#include <optional>

#include "base/file.h"
#include "cli/config.h"
#include "cli/health.h"
#include "policy/locks.h"
#include "repository/repository.h"

namespace pgmint::cli {

/// Reads log, manifests and the names of WAL. @param now  by the store's clock @errors Storage, Key
Result<policy::LockPlan> lock_plan(repository::Cluster& cluster, const RetentionSettings& retention, std::chrono::days renewed, TimePoint now);

/// The audit entry of one look.
inline constexpr std::string_view kLockEvent = "locks extended";
/// What this host remembers of the locks of a cluster's objects at `place` (LockMemory).
fs::path lock_memory_file(const fs::path& state_directory, const repository::Cluster& cluster, const std::string& place);
/// When the last look at them ended well: by the log; in a mirror, whose log tells of the source's, by what this host noted beside its memory. nullopt: never.
std::optional<TimePoint> last_lock_look(const repository::Cluster& cluster, const fs::path& memory);
/// For that, in a mirror. @errors Io
Status note_lock_look(const fs::path& memory);
/// A look is overdue, and locks of live backups end within a week, or may have ended. nullopt: all is well, or there is no backup.
/// @param renewed  how long objects are locked when they are created @param last  last_lock_look()
std::optional<Problem> lock_problem(const repository::LogState& state, std::optional<TimePoint> last, std::chrono::days renewed, TimePoint now);

}  // namespace pgmint::cli

// Object lock of a cluster: until when its objects are to be locked, and what its log says of the last look at them. Decision: docs/adr/0039-object-lock.md
#pragma once

#include <optional>

#include "cli/config.h"
#include "policy/locks.h"
#include "repository/repository.h"

namespace pgmint::cli {

/// Reads log, manifests and the names of WAL. @param now  by the store's clock @errors Storage, Key
Result<policy::LockPlan> lock_plan(repository::Cluster& cluster, const RetentionSettings& retention, std::chrono::days renewed, TimePoint now);

/// The audit entry of one look.
inline constexpr std::string_view kLockEvent = "locks extended";
/// When the locks were last looked at.
std::optional<TimePoint> locks_looked_at(const repository::LogState& state);
/// Until then all that live backups need is locked, if it was created so: after the last look, or the oldest backup. nullopt: there is no backup.
std::optional<TimePoint> surely_locked_until(const repository::LogState& state, std::chrono::days renewed);

}  // namespace pgmint::cli

// Locks of objects in a bucket are extended: those that would otherwise run out too soon. Decision: docs/adr/0039-object-lock.md
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>

#include "base/cancel.h"
#include "repository/lock_memory.h"
#include "storage/object_versions.h"

namespace pgmint::repository {

struct LockCounts {
  std::uint64_t needed = 0;    ///< objects that are to be locked
  std::uint64_t asked = 0;     ///< of which the store was asked how they are locked
  std::uint64_t extended = 0;  ///< with dry_run: that would be
  std::uint64_t governance = 0;  ///< locked in the mode governance, where compliance is asked for: modes change only for who may bypass locks
  /// When the first lock of what is needed ends, and the last, after the run.
  TimePoint first_end = TimePoint::max(), last_end{};
};

struct LockBatch {
  storage::LockMode mode = storage::LockMode::Governance;
  /// Until when an object of that name is to be locked; nullopt: it is nothing to us.
  std::function<std::optional<TimePoint>(const std::string& name)> wanted;
  /// A lock that ends then does for now, of an object that is wanted until `wanted`. At most `wanted`.
  std::function<TimePoint(TimePoint wanted)> enough;
  bool dry_run = false;
  bool ask_all = false;  ///< past the memory
  unsigned at_once = 16;
  const CancelToken* cancel = nullptr;
  std::function<void(const LockCounts&)> progress{};  ///< now and then
};

/// Of each name below `prefixes` the first version that was written, which is the true one (ADR 36), whatever hides it; and where it was hidden, and written again,
/// also what is read now. A lock is never shortened, and a mode never
/// changed. What was learnt is noted in `memory`, also when it fails.
/// @errors Storage, Key (these credentials may not), Precondition (no object lock), Cancelled
Status extend_locks(storage::ObjectVersions& versions, std::span<const std::string> prefixes, const LockBatch& batch, LockMemory& memory, LockCounts& counts);

}  // namespace pgmint::repository

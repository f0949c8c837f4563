// What somebody has deleted or overwritten in a bucket that keeps versions, and how it comes back. Decision: docs/adr/0036-versions-of-objects.md
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/cancel.h"
#include "base/clock.h"
#include "storage/object_versions.h"

namespace pgmint::repository {

/// One object that is not under its name what it was when it was written.
struct LostObject {
  std::string name;
  std::string version;       ///< that comes back: the first one written that bears this repository's header
  std::uint64_t size = 0;
  bool overwritten = false;  ///< other bytes stand there now; else it is hidden by a delete marker
  TimePoint when{};          ///< since when, by the store's clock
};

struct UndeletePlan {
  std::vector<LostObject> objects;         ///< in the order in which they come back: format and keys, logs, then the rest
  std::uint64_t bytes = 0;
  std::vector<std::string> beyond_help;    ///< no version of them bears this repository's header
  std::uint64_t versions = 0, old_versions = 0, old_bytes = 0;  ///< of all names: what is stored, and what of it is not read any more
  bool whole = true;                       ///< false: only the first `versions_max` were looked at
};

struct UndeleteOptions {
  std::optional<TimePoint> since;          ///< what was deleted or overwritten before is left; by the store's clock
  std::uint64_t versions_max = ~std::uint64_t{0};
  const CancelToken* cancel = nullptr;
  std::function<void(std::uint64_t versions)> progress{};  ///< how many were looked at
};

/// pgmint's objects never change, so whatever came behind the first version of one was not pgmint's doing. That the first one is authentic is for the
/// operations to say that read it, with keys; here it needs none. @errors Storage, Key, Precondition (the bucket keeps no versions), Cancelled
Result<UndeletePlan> plan_undelete(storage::ObjectVersions& versions, const UndeleteOptions& options);

/// Brings back all of `plan`, as copies before all other versions; removes nothing. Can be repeated.
/// @param progress  bytes that are back, from any thread but never two at once; may be empty
/// @errors Storage, Unknown, Key, Cancelled
Status undelete(storage::ObjectVersions& versions, const UndeletePlan& plan, const CancelToken& cancel, const std::function<void(std::uint64_t bytes)>& progress);

/// pgmint itself never removes it: `format`, key rings, the log.
bool is_never_removed(const std::string& name);

}  // namespace pgmint::repository

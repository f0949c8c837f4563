// Which backup, along which timeline, and does the WAL for it exist: decided before a byte is written.
#pragma once

#include "repository/wal_coverage.h"
#include "restore/restore.h"

namespace pgmint::restore {

struct Choice {
  repository::ManifestRoot root;
  postgres::TimelineHistory history{postgres::TimelineId(1)};  ///< that recovery follows
  /// The last segment that recovery to the target can need, where WAL is missing behind it.
  std::optional<std::string> last_segment;
  repository::RecoveryWindow window;                           ///< along that history
  std::vector<std::string> warnings;
};

/// Reads the log (or, with from_manifest, every manifest), the WAL inventory and as many change summaries as the target needs.
/// @errors NotFound (no backup, or none of that name), Precondition (no backup reaches the target, WAL missing, target after
///         the end: says what would work), Corruption, Storage, Key
Result<Choice> choose(const RestoreRequest& request);

}  // namespace pgmint::restore

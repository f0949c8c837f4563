// `repair --rebuild-log`: a new, root-signed generation from what stands in snap/ and in the readable part of the old log.
#pragma once

#include "repository/repository.h"

namespace pgmint::repository {

/// Nothing of the old log is changed. A live backup is kept when its root and all its packs are there; what the old log says to be
/// forgotten or aborted stays so; a root that no readable entry speaks of counts as a backup, since a root is put last.
struct RebuildReport {
  std::uint32_t generation = 0;
  std::vector<std::string> recovered;   ///< backup names
  std::vector<std::string> unreadable;  ///< objects below snap/ that did not open
  std::vector<std::string> incomplete;  ///< backups whose packs are not all there: left out, named
};
/// @param name_if_lost  the cluster's name, for when not even entry 0 of the log can be read
/// @errors Key (root role only), Storage, Precondition (name lost and not given; this root is not in force), Busy (others go on writing)
/// @param event, why  of the AUDIT entry that tells of it
Result<RebuildReport> rebuild_log(Repository& repository, const ClusterId& cluster, const std::string& name_if_lost = "", const std::string& event = "log rebuilt",
                                  const std::string& why = "");

}  // namespace pgmint::repository

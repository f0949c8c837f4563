// `repair --rebuild-log`: a new, root-signed generation from what stands in snap/ and in the readable part of the old log.
#pragma once

#include "repository/repository.h"

namespace pgmint::repository {

struct RebuildReport {
  std::uint32_t generation = 0;
  std::vector<std::string> recovered;   ///< backup names
  std::vector<std::string> unreadable;  ///< objects below snap/ that did not open
  std::vector<std::string> incomplete;  ///< backups whose packs are not all there: left out, named
};
/// @errors Key (root role only), Storage, Corruption (nothing can be read)
Result<RebuildReport> rebuild_log(Repository& repository, const ClusterId& cluster);

}  // namespace pgmint::repository

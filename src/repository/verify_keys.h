// The keys' part of verify: slots and rings against what the log says was made. Private to verify.cc.
#pragma once

#include "repository/verify.h"

namespace pgmint::repository {

/// @errors Storage, Key; damage is a finding
Status verify_keys(Cluster& cluster, std::vector<Finding>& findings);

}  // namespace pgmint::repository

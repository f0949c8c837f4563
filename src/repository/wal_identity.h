// What a cluster is at a time: under two of them the same WAL file name means different files.
#pragma once

#include "repository/ids.h"

namespace pgmint::repository {

struct WalIdentity {
  std::uint64_t system_id = 0;
  Incarnation incarnation{};
};

}  // namespace pgmint::repository

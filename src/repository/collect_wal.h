// The part of collect that lets WAL go. Rule: docs/format/log.md, "Deleting objects".
#pragma once

#include "postgres/wal_name.h"
#include "repository/repository.h"
#include "repository/wal_archive.h"

namespace pgmint::repository {

/// A stored file whose position is known: below the floors of the state that it was listed for.
struct ListedWal {
  WalIdentity identity;
  std::uint32_t timeline = 0;
  std::uint64_t first = 0, end = 0;  ///< bytes of WAL that its segment holds; end exclusive
  storage::BlobInfo info;
};

/// Files that `state` may let go, by their own headers. @errors Storage
Result<std::vector<ListedWal>> list_wal_below_floors(Cluster& cluster, const LogState& state);
/// Below the floor; or below the window floor and of no use to any live snapshot.
bool may_go(const ListedWal& file, const LogState& state);

}  // namespace pgmint::repository

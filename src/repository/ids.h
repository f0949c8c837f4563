// Identities of the repository's things. Random, 128 bits; names are not identities.
#pragma once

#include "base/bytes.h"
#include "base/strong.h"

namespace pgmint::repository {

using RepositoryId = Id128<struct RepositoryIdTag>;
using ClusterId = Id128<struct ClusterIdTag>;
using SessionId = Id128<struct SessionIdTag>;
/// Data key epoch, from 1. 0 stands for none.
using Epoch = Strong<std::uint32_t, struct EpochTag>;
/// Counts the clusters that one name has meant (pg_upgrade, re-initdb): from 1, `cluster adopt` opens the next.
using Incarnation = Strong<std::uint32_t, struct IncarnationTag>;

/// A pack: never reused, since sessions are random and numbers count up.
struct PackId {
  SessionId session;
  std::uint32_t number = 0;
  auto operator<=>(const PackId&) const = default;
};

}  // namespace pgmint::repository

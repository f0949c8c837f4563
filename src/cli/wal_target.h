// Whose WAL it is: the cluster and the identity that wal push and wal get work on.
#pragma once

#include "cli/cluster_choice.h"
#include "repository/wal_coverage.h"

namespace pgmint::cli {

struct WalTarget {
  ClusterPtr cluster;  ///< of push: its log may not have been read
  repository::WalIdentity identity;
};

/// For WAL of the server `identifier` whose data directory is `directory`: --cluster, else the configured cluster with
/// this data directory or system identifier, else the repository's with this system identifier. A cluster that is not
/// in the repository yet is made.
///
/// PostgreSQL calls this for every segment, so the answer is remembered in the state directory and holds for as long as
/// the cluster's log has not grown: two look-ups in place of reading the logs of all clusters.
/// @errors Configuration (no such cluster), Precondition (another server's WAL: cluster adopt), Storage, Key
Result<WalTarget> wal_target_for_push(Context& context, postgres::SystemIdentifier identifier,
                                      const fs::path& directory);

/// As wal_target_for_push(), by what is remembered of the last push from here and without asking the store.
/// @param repository  may be Context::repository_while_away() @errors Storage (nothing is remembered), Key
Result<WalTarget> wal_target_by_memory(Context& context, repository::Repository& repository, postgres::SystemIdentifier identifier, const fs::path& directory);

/// For a server that recovers in `directory`. A damaged log does not stop it: then the newest incarnation that has WAL
/// is taken. Remembered in the same way, since recovery asks for every segment. @errors as above, but nothing is made
Result<WalTarget> wal_target_for_get(Context& context, const std::optional<std::string>& cluster,
                                     std::optional<postgres::SystemIdentifier> identifier);

}  // namespace pgmint::cli

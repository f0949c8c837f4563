// Which cluster of the repository this host's server is, as it was found last: so that not all of them need be looked at to find it again.
#pragma once

#include "cli/cluster_choice.h"
#include "repository/wal_coverage.h"

namespace pgmint::cli {

/// What the state directory remembers of a look-up. Only a shortcut: whoever uses it holds it against the log.
struct KnownCluster {
  repository::ClusterId cluster;
  repository::WalIdentity identity;
  repository::LogEnd log;
};

/// @param name  under which it was looked for; "" where it was found by its identifier alone
Result<fs::path> cluster_memory_file(Context& context, const repository::Repository& repository, const std::string& name, postgres::SystemIdentifier identifier);
/// nullopt for anything that is not exactly what remember_cluster() writes.
std::optional<KnownCluster> recall_cluster(const fs::path& file, postgres::SystemIdentifier identifier);
/// What cannot be remembered costs time the next time and nothing else.
void remember_cluster(const fs::path& file, const repository::Cluster& cluster, const repository::WalIdentity& identity);

/// Neither an entry nor a generation has come since. @errors Storage, Key
Result<bool> log_stands_still(repository::Repository& repository, const KnownCluster& known);
/// The cluster with its log read; nullptr where that does not show the same name and server as were remembered, or cannot be read: the long way tells why.
ClusterPtr read_known_cluster(repository::Repository& repository, const KnownCluster& known, const std::optional<std::string>& name, postgres::SystemIdentifier identifier);

}  // namespace pgmint::cli

// Which cluster a command is about: a name on the command line, a data directory's system identifier, a cluster of the
// repository.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/context.h"
#include "postgres/control_file.h"

namespace pgmint::cli {

using ClusterPtr = std::unique_ptr<repository::Cluster>;

/// The configured cluster of that name, or the only one. @errors Configuration: unknown (names the nearest), none
/// configured, several and no name
Result<const ClusterSettings*> configured_cluster(Context& context, const std::optional<std::string>& name);

/// The configured clusters that a command is about whose rules stand in the configuration: the named one, else all. @errors as above; one without a name where none is configured
Result<std::vector<const ClusterSettings*>> configured_clusters(Context& context, const std::optional<std::string>& name);

/// For commands that read: the repository's cluster `name`; without a name the configured one, else the only one there
/// is.
/// @errors Configuration (unknown, or several to choose from), Precondition (configured, but not in the repository
/// yet),
///         Storage, Key, Corruption
Result<ClusterPtr> existing_cluster(Context& context, const std::optional<std::string>& name);
/// As above for commands that show everything when no name is given: all of the repository's clusters.
Result<std::vector<ClusterPtr>> clusters_to_show(Context& context, const std::optional<std::string>& name);

/// For a repository whose log is damaged: the cluster by name as far as a log can still be read, by its id, or the only
/// one. The log of what is returned may not have been read. @errors Configuration (cannot be told), Storage, Key
Result<ClusterPtr> cluster_without_log(Context& context, const std::optional<std::string>& name);

/// pg_control of a configured cluster; of a remote one, what its server says of it. @errors Precondition (no data directory there), Key, Corruption, Io, Postgres
Result<postgres::ControlFile> control_of(const ClusterSettings& settings);

/// For commands that write: the repository's cluster for this server, made when it is not there yet.
/// @errors Precondition: the name belongs to another system identifier, or the system identifier to another name (hint:
///         cluster adopt); Key (only a root role creates clusters), Storage
Result<ClusterPtr> cluster_for_writing(Context& context, const std::string& name,
                                       postgres::SystemIdentifier identifier);

/// A live backup by its display name, or by the name of one of its dumps (dump_names.h), in the named or any cluster. @errors NotFound (names the nearest), Precondition
/// (several clusters have one of that name), as clusters_to_show
struct FoundBackup {
  ClusterPtr cluster;
  repository::SessionId session;
  std::string database{};  ///< where a dump was named
};
Result<FoundBackup> find_backup(Context& context, const std::string& backup, const std::optional<std::string>& cluster);

/// Clusters are created by one process at a time on this repository. Held until the Fd closes. @errors Storage, Key
Result<Fd> lock_repository(Context& context);

}  // namespace pgmint::cli

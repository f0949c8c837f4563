// One read of the database for several repositories: the backup that another one has just been given, to be copied in place of
// reading everything again. docs/adr/0037-one-read.md
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "backup/copied_backup.h"
#include "cli/cluster_choice.h"

namespace pgmint::cli {

/// A backup of another repository, with what it is read through.
struct ReusableBackup {
  std::unique_ptr<Context> context;
  ClusterPtr cluster;
  repository::SessionId session;
  std::string description;

  backup::CopyOrigin origin() const { return {*cluster, session, description}; }
};

/// Says to runs for later repositories, in other processes, that a backup of this cluster into this repository is on its way; until the Fd closes.
/// Where that cannot be said the database is read once more, no more.
Fd announce_backup(Context& context, const std::string& cluster);

/// The newest backup of an earlier repository of the configuration that `mine` does not have yet and that began in this run of the command, or, by --reuse,
/// not longer ago than that: then one that is on its way there is waited for. nullopt: the database is to be read. Repositories that cannot be asked are passed over.
/// @param began  this run
/// @errors Usage, Configuration, Cancelled
Result<std::optional<ReusableBackup>> backup_to_reuse(Context& context, const repository::Cluster& mine, const std::string& cluster, TimePoint began);

}  // namespace pgmint::cli

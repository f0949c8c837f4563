// The root of the manifest: what a backup says about itself.
#pragma once

#include <optional>

#include "backup/backup.h"
#include "backup/describe.h"
#include "backup/incremental.h"
#include "backup/origin.h"
#include "repository/session.h"

namespace pgmint::backup {

/// What one run found and did, borrowed.
struct RootFacts {
  const repository::Cluster& cluster;
  const repository::WriteSession& session;
  const BackupReport& report;
  const std::string& note;
  repository::BackupType type;
  std::optional<repository::SessionId> parent;
  const Incremental& incremental;
  const Origin& origin;
  const postgres::ControlFile& control;  ///< as it was read last
  const postgres::ServerFacts& server;
  const ServerStart& start;
  const postgres::BackupStop& stop;
  const std::optional<postgres::Lsn>& consistent_after;  ///< of a standby's backup
  const postgres::DirectoryScan& scan;
  const Described& tree;
  const std::vector<repository::RecordLocation>& account;  ///< of packs
  const std::optional<postgres::Contents>& contents;
  const CopyCounters& counters;
  std::uint32_t extent_size;
};

repository::ManifestRoot describe_root(const RootFacts& facts);

/// What a root says of the server; the other way round. Fields that no root has are as they are made.
postgres::ServerFacts server_of(const repository::ManifestRoot& root);

}  // namespace pgmint::backup

// The part of verify that concerns WAL: every stored file opens, and nothing is missing in between.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/cancel.h"
#include "cli/backup_facts.h"
#include "repository/verify_depth.h"

namespace pgmint::cli {

struct WalFinding {
  std::string kind;    ///< "wal-gap", "wal-object", "wal-history"
  std::string object;  ///< name in the store; of a gap its first missing segment
  std::string message;
  std::vector<std::string> backups;  ///< that cannot become consistent without it
};

struct WalVerifyOptions {
  std::optional<repository::SessionId> only;  ///< the WAL that this backup needs, and no other
  repository::VerifyDepth depth = repository::VerifyDepth::Presence;
  unsigned workers = 2;
  const CancelToken* cancel = nullptr;
  std::function<void(std::uint64_t bytes_done, std::uint64_t bytes_total)> progress;
};

struct WalVerifyReport {
  std::vector<WalFinding> findings;
  std::uint64_t files = 0;       ///< checked
  std::uint64_t bytes_read = 0;  ///< of files that were found sound
};

/// All identities that the cluster has had. @errors Storage, Key, Cancelled
Result<WalVerifyReport> verify_wal(repository::Cluster& cluster, const std::vector<BackupFacts>& backups,
                                   const WalVerifyOptions& options);

}  // namespace pgmint::cli

// The part of verify that concerns WAL: every stored file opens, nothing is missing in between, and the log remembers what was read.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/cancel.h"
#include "cli/backup_facts.h"
#include "repository/verify_depth.h"
#include "repository/wal_choice.h"

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
  /// Which segments are read, of those that `depth` has read at all; history and backup files, which are small, always are. Header, index,
  /// summary and size of every file are looked at, whatever is chosen.
  repository::VerifyChoice choice;
  /// What was found sound and what damaged is written into the log, each time that a turn ends and when `cancel` is set. What cannot be
  /// written is a warning.
  bool remember = false;
  std::chrono::seconds turn = std::chrono::minutes(10);  ///< so much is lost to whatever ends the process
  unsigned workers = 2;
  const CancelToken* cancel = nullptr;
  std::function<void(std::uint64_t bytes_done, std::uint64_t bytes_total)> progress;
};

struct WalVerifyReport {
  std::vector<WalFinding> findings;
  std::vector<std::string> warnings;
  std::uint64_t files = 0;       ///< checked
  std::uint64_t files_read = 0;  ///< every byte of them
  repository::EarlierWal left;   ///< segments that `choice` left out
  std::uint64_t bytes_read = 0;  ///< of files that were found sound
};

/// All identities that the cluster has had. @errors Storage, Key, Cancelled
Result<WalVerifyReport> verify_wal(repository::Cluster& cluster, const std::vector<BackupFacts>& backups,
                                   const WalVerifyOptions& options);

}  // namespace pgmint::cli

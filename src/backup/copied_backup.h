// A backup of one repository becomes a backup of another: opened, checked and compared with what that one has like a data
// directory, and sealed with its own keys. The database is not read, and need not run. Decision: docs/adr/0037-one-read.md
#pragma once

#include "backup/backup.h"
#include "backup/server.h"

namespace pgmint::backup {

struct CopyOrigin {
  repository::Cluster& cluster;          ///< of the other repository; its log was refreshed
  repository::SessionId snapshot;        ///< a physical backup that is live there
  std::string description;               ///< "20261127-020000-full of repository near"
};

/// As run(), but for what is read. `request.data_directory` gives only WAL that is not archived yet. Of the other repository
/// the backup is pinned as long as it is read.
///
/// @param archiver  asked how archiving is getting on while WAL is waited for; may be null
/// @return nullopt: it is no use as an origin, or cannot be read; the reason was logged, nothing is listed, and the data directory can be read instead
/// @errors as run(), of this repository
Result<std::optional<BackupReport>> copy_backup(const BackupRequest& request, const CopyOrigin& origin, Server* archiver);

}  // namespace pgmint::backup

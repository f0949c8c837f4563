// What must be true before a backup starts: each check changes nothing and says what to do. Pure but for the file
// system.
#pragma once

#include "backup/backup.h"
#include "backup/server.h"
#include "postgres/control_file.h"

namespace pgmint::backup {

/// @errors Configuration: an extent size that the cluster's block size does not fit, or out of range
Status check_options(const BackupRequest& request, const postgres::ControlFile& control);
/// @errors Key: this user cannot read the directory (names its owner); NotFound: there is no such directory
Status check_readable(const fs::path& data_directory);
/// @errors Precondition: the repository knows this cluster by another system identifier
Status check_identity(const postgres::ControlFile& control, const repository::LogState& state);
/// @errors Precondition: minimal
Status check_wal_level(const postgres::ServerFacts& facts);
/// WAL must reach a repository, or the backup can never be used. @errors Precondition: names the setting
Status check_archiving(const postgres::ServerFacts& facts);

/// When the last attempt to archive failed, makes the archiver try again and watches it, at most `patience`.
/// @errors Precondition: it still fails (names the segment); Postgres, Cancelled
Status check_archiver(Server& server, Clock& clock, const CancelToken* cancel,
                      std::chrono::seconds patience = std::chrono::seconds(20));

/// Whether what a remote server archives is known to arrive in this repository: nullopt, or why it is not. Waits for nothing.
/// @errors Postgres, Storage, Key
Result<std::optional<std::string>> why_wal_does_not_come(Server& server, const postgres::ServerFacts& facts, repository::Cluster& cluster);

}  // namespace pgmint::backup

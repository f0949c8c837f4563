// One run of a backup, against any server, source and origin: what run() does in production, copy_backup() with a backup
// of another repository, and tests with scripted ones.
#pragma once

#include "backup/backup.h"
#include "backup/origin.h"
#include "backup/remote_server.h"
#include "backup/server.h"
#include "backup/source.h"

namespace pgmint::backup {

/// As run(). Borrows all.
Result<BackupReport> run_against(const BackupRequest& request, Server& server, Source& source, Origin& origin);
/// Of the request's data directory.
Result<BackupReport> run_against(const BackupRequest& request, Server& server, Source& source);
/// The same where the server sends its files itself; request.data_directory is empty.
Result<BackupReport> run_streamed(const BackupRequest& request, RemoteServer& server);

}  // namespace pgmint::backup

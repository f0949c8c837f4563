// One run of a full backup, against any server and source: what run() does in production and tests do with scripted
// ones.
#pragma once

#include "backup/backup.h"
#include "backup/server.h"
#include "backup/source.h"

namespace pgmint::backup {

/// As run(). Borrows all.
Result<BackupReport> run_against(const BackupRequest& request, Server& server, Source& source);

}  // namespace pgmint::backup

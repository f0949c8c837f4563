// Damaged pages of a backup, named in its report: those that were found, and those that nobody has read since.
#pragma once

#include "backup/backup.h"
#include "backup/copy.h"

namespace pgmint::backup {

/// Into the report: names, count, warnings. @param before  those that are known of what was copied, in place of a data directory
void report_bad_pages(BackupReport& report, const PageFindings& findings, const CopyOutcome& copied, const std::vector<repository::BadPage>& before);

}  // namespace pgmint::backup

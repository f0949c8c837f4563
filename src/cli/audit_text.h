// Log entries in words.
#pragma once

#include <map>
#include <string>

#include "repository/log_state.h"

namespace pgmint::cli {

/// Session to backup name, of live snapshots: sessions mean nothing to people.
using BackupNames = std::map<repository::SessionId, std::string>;
BackupNames backup_names(const repository::LogState& state);

/// "begin", "snap", ...: lower case.
std::string entry_kind_text(const repository::EntryContent& content);
/// What an entry says, in one line.
std::string entry_detail(const repository::EntryContent& content, const BackupNames& names);

}  // namespace pgmint::cli

// Files of which a server sends only the blocks that changed: which it is asked for so, and what one that comes is made of. Pure.
// Decision: docs/adr/0041-incremental-streams.md
#pragma once

#include <variant>

#include "backup/file_plan.h"
#include "postgres/incremental_file.h"

namespace pgmint::backup {

/// Whether a file of the parent stands in the manifest that the server gets. What does not comes whole and is compared: forks whose changes
/// are not all in the WAL (POSTGRES 10), files whose turn it is to be read again (POSTGRES 14), and those that had damaged pages.
/// @param damaged  sorted
bool may_come_in_part(const ParentFile& file, const IncrementalOptions& options, const std::vector<std::string>& damaged);

/// How a file is taken of which `sent` came, its size set by what came; or why the list by which the server sent it cannot be right.
/// Kept: nothing differs from the parent's.
std::variant<FilePlan, std::string> plan_sent(const postgres::DirectoryEntry& entry, postgres::IncrementalFile sent, const ParentFiles& parent,
                                              const IncrementalOptions& options);

}  // namespace pgmint::backup

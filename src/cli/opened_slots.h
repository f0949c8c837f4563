// Which key slots have been opened: an off-host key that nobody has ever tried is a hope, not a key.
//
// The slot object itself is immutable, so an opening is an AUDIT entry "slot-opened" in the log of each cluster that
// this role may write, and a mark in the state directory that keeps it from being written twice.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/file.h"
#include "repository/repository.h"

namespace pgmint::cli {

/// Records the slot that `repository` was opened with, unless it is a key file: those are used all the time. Best
/// effort: a damaged or read-only store must still restore.
void note_opened_slot(repository::Repository& repository, const fs::path& state_directory);

/// When each slot was first opened, from `clusters`' logs and the state directory. @errors Storage, Corruption
Result<std::map<std::string, TimePoint>> opened_slots(repository::Repository& repository,
                                                      const std::vector<std::unique_ptr<repository::Cluster>>& clusters,
                                                      const fs::path& state_directory);

}  // namespace pgmint::cli

// What a delta restore does to an existing directory before it writes files: no server can start on it, its WAL is kept, what the backup
// does not have goes.
#pragma once

#include <unordered_map>

#include "repository/wal_coverage.h"
#include "restore/target_directory.h"

namespace pgmint::restore {

/// What the backup has at one place.
struct NamedPlace {
  repository::FileKind kind{};
  std::string link;  ///< where it leads, of links
};
/// By path in the file system.
using NamedPlaces = std::unordered_map<std::string, NamedPlace>;

/// Marks every directory of target.new_roots, moves pg_control away, then pg_wal, if anything is in it, to pg_wal.before-restore-TIME.
/// In that order, so that an interruption leaves what a server does not start on and the next delta restore recognises. What cannot be done
/// leaves pg_control in its place. @return warnings: what was kept, and which of it the repository lacks
/// @errors Io, Key, Precondition (a server has been started meanwhile), Storage
Result<std::vector<std::string>> close_directory(const TargetPlan& target, repository::WalArchive& archive, postgres::WalSegmentSize size);

/// Deletes what `named` does not have, in the target and, in tablespaces, in the directory of this PostgreSQL version. Links are deleted, never
/// followed; a file with a second name goes too, since writing into it would change both. @return how many entries went @errors Io, Key
Result<std::uint64_t> sweep_directory(const TargetPlan& target, const NamedPlaces& named);

}  // namespace pgmint::restore

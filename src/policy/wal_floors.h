// Up to where WAL may go: below what no backup needs, and, older than the recovery window, all but what backups need to become
// consistent. Pure. Rules that a FLOOR must obey anyway: docs/format/log.md, 10.
#pragma once

#include <map>
#include <vector>

#include "policy/retention.h"
#include "repository/log_state.h"
#include "repository/wal_coverage.h"

namespace pgmint::policy {

/// What the log alone does not say about a backup.
struct WalBackup {
  TimePoint time{};      ///< when it was published
  bool reliable = true;  ///< whole, and its time beyond doubt: it may be what the recovery window stands on
};

struct WalOfIdentity {
  repository::WalIdentity identity;
  repository::WalInventory inventory;
};

/// The moment `period` before `now`, or somewhat earlier.
TimePoint window_start(TimePoint now, Period period);

/// Lines that rise above the state's. For every timeline that has WAL:
/// - the floor is the lowest start of any live backup of the identity, and of what open sessions read or build on. An identity
///   that the cluster has no more, without backup and without a running one, keeps no WAL;
/// - the window floor is the start of the newest reliable backup that was published before the window, and before any running
///   backup began: of each timeline that leads through this one its own. Where the history of a later timeline cannot be read,
///   or no backup is on the way to it, it stays as it is.
repository::FloorEntry plan_floors(const repository::LogState& state, const std::vector<WalOfIdentity>& wal,
                                   const std::map<repository::SessionId, WalBackup>& backups, TimePoint window_start);

}  // namespace pgmint::policy

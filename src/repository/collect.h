// Collection: abort sessions whose lease has passed, PURGE what nobody needs, delete only what the log allows: packs and roots
// after PURGE or ABORT, WAL below the floors.
#pragma once

#include "repository/repository.h"

namespace pgmint::repository {

struct CollectPlan {
  std::vector<SessionId> expired;              ///< open writers' and readers' sessions past their lease: to be aborted or ended
  std::vector<PackId> purge;                   ///< packs that a PURGE will name
  /// Objects that may go now: purged packs, packs and roots of aborted sessions, WAL below the floors.
  std::vector<storage::BlobInfo> remove;
  std::vector<storage::BlobInfo> unknown;      ///< packs of sessions that the log does not know: reported, never removed
  std::uint64_t remove_bytes = 0, unknown_bytes = 0, live_bytes = 0;
  std::size_t remove_wal = 0;                  ///< how many of `remove` are WAL
  std::uint64_t remove_wal_bytes = 0;
  std::vector<storage::BlobInfo> locked;       ///< of what was to go: the store has locked them, and a later run will remove them (only collect() finds out)
  std::uint64_t locked_bytes = 0;
  std::size_t live_packs = 0;
};
/// What collect would do; reads the whole log (chain and signatures checked) and lists packs, manifests and WAL.
Result<CollectPlan> plan_collection(Cluster& cluster);
/// How much goes.
struct CollectCount {
  std::size_t objects = 0, wal_objects = 0;
  std::uint64_t bytes = 0, wal_bytes = 0;
};
/// What plan_collection() would find to remove if the log stood as `state` says, such as after entries that have not been written.
/// Counted, since the names of hundreds of thousands of objects take tens of megabytes.
Result<CollectCount> count_collection(Cluster& cluster, const LogState& state);
/// Does it, revalidating each PURGE and ABORT against the newest fold. Returns what was removed. @errors as Log::append
Result<CollectPlan> collect(Cluster& cluster);

}  // namespace pgmint::repository

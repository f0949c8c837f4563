// Collection: abort sessions whose lease has passed, PURGE what nobody needs, delete only what the log allows (I5, I6).
#pragma once

#include "repository/repository.h"

namespace pgmint::repository {

struct CollectPlan {
  std::vector<SessionId> expired;              ///< open writers' and readers' sessions past their lease: to be aborted or ended
  std::vector<PackId> purge;                   ///< packs that a PURGE will name
  std::vector<storage::BlobInfo> remove;       ///< objects that may go now: purged packs, packs and roots of aborted sessions
  std::vector<storage::BlobInfo> unknown;      ///< packs of sessions that the log does not know: reported, never removed
  std::uint64_t remove_bytes = 0, unknown_bytes = 0, live_bytes = 0;
  std::size_t live_packs = 0;
};
/// What collect would do; reads the whole log (chain and signatures checked) and lists packs and manifests.
Result<CollectPlan> plan_collection(Cluster& cluster);
/// Does it, revalidating each PURGE and ABORT against the newest fold. Returns what was removed. @errors as Log::append
Result<CollectPlan> collect(Cluster& cluster);

}  // namespace pgmint::repository

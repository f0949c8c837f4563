#include "backup/forward.h"

#include <algorithm>

#include "repository/layout.h"

namespace pgmint::backup {

using repository::PackId;
using repository::RecordLocation;

std::set<PackId> packs_to_empty(const repository::PackSet& packs, const repository::PackUse& use,
                                std::uint64_t budget) {
  struct Candidate {
    PackId id;
    std::uint64_t used, size;
  };
  std::vector<Candidate> candidates;
  std::uint64_t alive = 0, won = 0;
  for (const auto& pack : packs) {
    const auto used = use.of(pack.id);
    alive += used;
    // Nothing in use: nothing refers to it, and it goes by itself.
    if (used == 0 || used * 2 >= pack.size) continue;
    candidates.push_back({pack.id, used, pack.size});
    won += pack.size - used;
  }
  std::set<PackId> chosen;
  if (won * 20 < alive) return chosen;
  std::ranges::sort(candidates, [](const Candidate& a, const Candidate& b) { return a.used * b.size < b.used * a.size; });
  for (const auto& candidate : candidates) {
    if (candidate.used > budget) break;
    budget -= candidate.used;
    chosen.insert(candidate.id);
  }
  return chosen;
}

Result<RecordLocation> Forward::move(const RecordLocation& record) {
  if (!leaves(record)) return record;
  std::lock_guard lock(mutex_);
  const auto place = std::pair(record.pack, record.offset);
  if (const auto found = moved_.find(place); found != moved_.end()) return found->second;
  Bytes stored(record.stored_length);
  TRY(store_.read_range(repository::pack_name(context_.cluster, record.pack), record.offset, stored));
  Bytes opened = stored;
  TRY(opener_.unseal(record, opened));
  const auto now = TRY(into_.append_sealed(record, stored));
  moved_bytes_ += record.stored_length;
  moved_.emplace(place, now);
  return now;
}

Result<bool> Forward::move(repository::SegmentMap& map) {
  bool any = false;
  const auto take = [&](RecordLocation& record) -> Status {
    if (!leaves(record)) return ok();
    record = TRY(move(record));
    any = true;
    return ok();
  };
  for (auto& extent : map.extents)
    if (extent.location) TRY(take(*extent.location));
  for (auto& delta : map.deltas) TRY(take(delta.location));
  return any;
}

}  // namespace pgmint::backup

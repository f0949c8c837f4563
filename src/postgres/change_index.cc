#include "postgres/change_index.h"

#include <algorithm>

namespace pgmint::postgres {

SegmentChanges ChangeIndex::of(const RelationSegment& file) const {
  SegmentChanges result;
  const RelationFork fork{file.locator, file.fork};
  const std::uint64_t first = std::uint64_t{file.segment} * blocks_per_segment_;
  const std::uint64_t end = first + blocks_per_segment_;
  const RelationFork database{{file.locator.tablespace, file.locator.database, Oid(0)}, Fork::Main};
  for (const auto& limit : {limit_of(fork), limit_of(database)}) {
    if (!limit) continue;
    if (*limit >= end) {
      result.cut_behind = true;
      continue;
    }
    const std::uint64_t here = *limit > first ? *limit - first : 0;
    result.limit = std::min(result.limit, static_cast<BlockNumber>(here));
  }
  const auto found = std::ranges::lower_bound(changes_.blocks, fork, {}, &ForkBlocks::where);
  if (found == changes_.blocks.end() || found->where != fork) return result;
  for (auto at = std::ranges::lower_bound(found->blocks, first, {}, [](BlockNumber b) { return std::uint64_t{b}; });
       at != found->blocks.end() && *at < end; ++at) {
    const auto block = static_cast<BlockNumber>(*at - first);
    if (block < result.limit) result.blocks.push_back(block);
  }
  return result;
}

std::optional<BlockNumber> ChangeIndex::limit_of(const RelationFork& fork) const {
  const auto found = std::ranges::lower_bound(changes_.limits, fork, {}, &LimitBlock::where);
  if (found == changes_.limits.end() || found->where != fork) return std::nullopt;
  return found->limit;
}

}  // namespace pgmint::postgres

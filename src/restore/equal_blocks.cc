#include "restore/equal_blocks.h"

#include <algorithm>

namespace pgmint::restore {

bool has_live_delta(const repository::SegmentMap& map, std::uint64_t i) {
  if (map.deltas.empty() || map.page_size == 0) return false;
  const std::uint64_t pages = map.extent_size / map.page_size, from = i * pages, to = from + pages;
  for (const auto& delta : map.deltas) {
    auto at = std::ranges::lower_bound(delta.blocks, from, {}, [](std::uint32_t block) { return std::uint64_t{block}; });
    for (; at != delta.blocks.end() && *at < to; ++at)
      if (delta.is_live(static_cast<std::size_t>(at - delta.blocks.begin()))) return true;
  }
  return false;
}

bool is_certainly_equal(repository::RecordOpener& opener, const repository::SegmentMap& map, std::uint64_t i, ByteView have) {
  if (have.size() != map.extent_length(i) || has_live_delta(map, i)) return false;
  const auto& extent = map.extents[i];
  if (!extent.location) return std::ranges::all_of(have, [](std::byte b) { return b == std::byte{0}; });
  return opener.fingerprint(extent.location->nonce, have) == extent.fingerprint;
}

}  // namespace pgmint::restore

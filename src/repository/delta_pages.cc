#include "repository/delta_pages.h"

#include <algorithm>
#include <cstring>
#include <tuple>

#include "repository/layout.h"

namespace pgmint::repository {
namespace {

constexpr std::size_t kRunMax = 4 << 20;  ///< bytes read from a pack at once

std::uint64_t pages_per_extent(const SegmentMap& map) { return map.extent_size / map.page_size; }

}  // namespace

Result<DeltaPages> DeltaPages::load(storage::BlobStore& store, const RecordContext& context, RecordOpener& opener,
                                    const SegmentMap& map, std::uint64_t first, std::uint64_t last) {
  DeltaPages result;
  result.first_ = first;
  result.last_ = last;
  if (map.deltas.empty()) return result;
  const auto from = first * pages_per_extent(map), to = last * pages_per_extent(map);
  std::vector<const MapDelta*> wanted;
  for (const auto& delta : map.deltas) {
    const auto here = wanted.size();
    auto at = std::ranges::lower_bound(delta.blocks, from, {}, [](std::uint32_t b) { return std::uint64_t{b}; });
    for (; at != delta.blocks.end() && *at < to; ++at) {
      const auto position = static_cast<std::size_t>(at - delta.blocks.begin());
      if (!delta.is_live(position)) continue;
      if (wanted.size() == here) wanted.push_back(&delta);
      result.pages_.push_back({*at, static_cast<std::uint32_t>(here), static_cast<std::uint32_t>(position)});
    }
  }
  std::ranges::sort(result.pages_, {}, &Page::block);
  result.records_.resize(wanted.size());

  std::vector<std::size_t> order(wanted.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::ranges::sort(order, {}, [&](std::size_t i) { return std::tuple(wanted[i]->location.pack, wanted[i]->location.offset); });
  Bytes run;
  for (std::size_t i = 0; i < order.size();) {
    const auto& begin = wanted[order[i]]->location;
    std::size_t end = i;
    std::size_t bytes = 0;
    while (end < order.size()) {
      const auto& next = wanted[order[end]]->location;
      if (next.pack != begin.pack || next.offset != begin.offset + bytes) break;
      if (end > i && bytes + next.stored_length > kRunMax) break;
      bytes += next.stored_length;
      ++end;
    }
    run.resize(bytes);
    TRY(store.read_range(pack_name(context.cluster, begin.pack), begin.offset, run));
    result.read_bytes_ += bytes;
    for (std::size_t at = 0; i < end; ++i) {
      const auto& location = wanted[order[i]]->location;
      auto& record = result.records_[order[i]];
      record.resize(location.raw_length);
      TRY(opener.open(location, MutableByteView(run).subspan(at, location.stored_length), record)
              .context("a record of changed pages"));
      at += location.stored_length;
    }
  }
  return result;
}

std::vector<DeltaPages::Page>::const_iterator DeltaPages::first_at(std::uint64_t block) const {
  return std::ranges::lower_bound(pages_, block, {}, [](const Page& page) { return std::uint64_t{page.block}; });
}

bool DeltaPages::has(std::uint64_t block) const {
  const auto at = first_at(block);
  return at != pages_.end() && at->block == block;
}

bool DeltaPages::touches(const SegmentMap& map, std::uint64_t i) const {
  if (pages_.empty()) return false;
  const auto at = first_at(i * pages_per_extent(map));
  return at != pages_.end() && at->block < (i + 1) * pages_per_extent(map);
}

bool DeltaPages::apply(const SegmentMap& map, std::uint64_t i, MutableByteView data) const {
  if (pages_.empty()) return false;
  const std::size_t size = map.page_size;
  const auto from = i * pages_per_extent(map);
  bool any = false;
  for (auto at = first_at(from); at != pages_.end() && at->block < from + pages_per_extent(map); ++at, any = true)
    std::memcpy(data.data() + (at->block - from) * size, records_[at->record].data() + at->position * size, size);
  return any;
}

}  // namespace pgmint::repository

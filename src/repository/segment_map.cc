#include "repository/segment_map.h"

#include <algorithm>

#include "repository/record_place.h"

namespace pgmint::repository {
namespace {

constexpr std::uint8_t kVersion = 1;
/// Deltas follow the extents. A reader that does not know them must not take such a map for a map without.
constexpr std::uint8_t kVersionWithDeltas = 2;
constexpr std::uint8_t kRecordFollows = 0;
constexpr std::uint8_t kAllZero = 1;

}  // namespace

std::size_t MapDelta::live_count() const {
  return blocks.size() - static_cast<std::size_t>(std::ranges::count(dead, true));
}

std::uint32_t SegmentMap::extent_length(std::uint64_t i) const {
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(extent_size, file_length - i * extent_size));
}

Bytes encode_segment_map(const SegmentMap& map) {
  PGMINT_ASSERT(map.extents.size() == map.extent_count());
  PlaceTable table;
  codec::BinaryWriter body;
  body.varint(map.extents.size());
  for (const auto& extent : map.extents) {
    if (!extent.location) {
      body.u8(kAllZero);
      continue;
    }
    body.u8(kRecordFollows);
    encode_place(body, table, *extent.location);
    encode_seal(body, *extent.location);
    body.raw(extent.fingerprint);
  }
  body.varint(map.deltas.size());
  for (const auto& delta : map.deltas) {
    PGMINT_ASSERT(delta.dead.empty() || delta.dead.size() == delta.blocks.size());
    encode_place(body, table, delta.location);
    body.varint(delta.location.raw_length);
    encode_seal(body, delta.location);
    body.raw(delta.fingerprint);
    body.varint(delta.blocks.size());
    for (std::size_t i = 0; i < delta.blocks.size(); ++i) {
      const std::uint64_t step = i == 0 ? delta.blocks[0] : delta.blocks[i] - delta.blocks[i - 1] - 1;
      body.varint(step << 1 | (delta.is_live(i) ? 0U : 1U));
    }
  }
  codec::BinaryWriter out;
  out.u8(map.deltas.empty() ? kVersion : kVersionWithDeltas);
  out.varint(map.page_size);
  out.varint(map.extent_size);
  out.varint(map.file_length);
  table.encode(out);
  out.raw(body.view());
  return out.take();
}

Result<SegmentMap> parse_segment_map(ByteView data) {
  codec::BinaryReader in(data, "segment map");
  const auto version = TRY(in.u8());
  if (version != kVersion && version != kVersionWithDeltas) return in.corrupt("unknown version");
  SegmentMap map;
  const auto page = TRY(in.varint());
  const auto extent = TRY(in.varint());
  map.file_length = TRY(in.varint());
  if (page > 65536 || extent == 0 || extent > kDataRecordMax) return in.corrupt("sizes out of range");
  if (map.file_length > (std::uint64_t{1} << 50)) return in.corrupt("file length out of range");
  map.page_size = static_cast<std::uint32_t>(page);
  map.extent_size = static_cast<std::uint32_t>(extent);

  auto table = TRY(PlaceTable::parse(in));
  const auto extent_count = TRY(in.count(1));
  if (extent_count != map.extent_count()) return in.corrupt("its extents do not cover the file");
  map.extents.resize(extent_count);
  for (std::size_t i = 0; i < extent_count; ++i) {
    const auto flags = TRY(in.u8());
    if (flags == kAllZero) continue;
    if (flags != kRecordFollows) return in.corrupt("unknown extent flags");
    RecordLocation l;
    l.type = RecordType::Extent;
    l.raw_length = map.extent_length(i);
    TRY(parse_place(in, table, l));
    TRY(parse_seal(in, l));
    map.extents[i].fingerprint = TRY(in.array<16>());
    map.extents[i].location = l;
  }
  map.deltas.resize(TRY(in.count(48)));
  if (map.deltas.empty() != (version == kVersion)) return in.corrupt("deltas in a map without, or none in a map with deltas");
  if (!map.deltas.empty() && (map.page_size == 0 || map.extent_size % map.page_size != 0))
    return in.corrupt("deltas of a file whose extents are no whole pages");
  std::vector<std::uint32_t> live;
  for (auto& delta : map.deltas) {
    auto& l = delta.location;
    l.type = RecordType::Delta;
    TRY(parse_place(in, table, l));
    const auto raw = TRY(in.varint());
    if (raw > kDataRecordMax) return in.corrupt("delta too long");
    l.raw_length = static_cast<std::uint32_t>(raw);
    TRY(parse_seal(in, l));
    delta.fingerprint = TRY(in.array<16>());
    delta.blocks.resize(TRY(in.count(1)));
    if (delta.blocks.size() * std::uint64_t{map.page_size} != raw)
      return in.corrupt("a delta's pages do not fill it");
    delta.dead.resize(delta.blocks.size());
    std::uint64_t next = 0;
    for (std::size_t i = 0; i < delta.blocks.size(); ++i) {
      const auto step = TRY(in.varint());
      if (step >> 1 > UINT32_MAX) return in.corrupt("block out of range");
      const std::uint64_t at = next + (step >> 1);
      if (at > UINT32_MAX) return in.corrupt("block out of range");
      delta.blocks[i] = static_cast<std::uint32_t>(at);
      delta.dead[i] = (step & 1) != 0;
      next = at + 1;
      if (delta.dead[i]) continue;
      if ((at + 1) * map.page_size > map.file_length) return in.corrupt("block beyond the file's end");
      live.push_back(delta.blocks[i]);
    }
    if (std::ranges::find(delta.dead, true) == delta.dead.end()) delta.dead.clear();
  }
  std::ranges::sort(live);
  if (std::ranges::adjacent_find(live) != live.end()) return in.corrupt("a block is live in two deltas");
  TRY(in.expect_end());
  return map;
}

}  // namespace pgmint::repository

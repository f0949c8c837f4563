#include "repository/segment_map.h"

#include <algorithm>
#include <map>

namespace pgmint::repository {
namespace {

constexpr std::uint8_t kVersion = 1;
/// Deltas follow the extents. A reader that does not know them must not take such a map for a map without.
constexpr std::uint8_t kVersionWithDeltas = 2;
constexpr std::uint8_t kRecordFollows = 0;
constexpr std::uint8_t kAllZero = 1;

/// Packs by first use, and the end of the last record in each, so that offsets are small differences.
class PackTable {
 public:
  std::size_t index_of(const PackId& pack) {
    auto [it, added] = index_.try_emplace(pack, packs_.size());
    if (added) {
      packs_.push_back(pack);
      ends_.push_back(0);
    }
    return it->second;
  }
  void add(const PackId& pack) {
    packs_.push_back(pack);
    ends_.push_back(0);
  }
  const std::vector<PackId>& packs() const { return packs_; }
  std::uint64_t& end(std::size_t index) { return ends_[index]; }

 private:
  std::map<PackId, std::size_t> index_;
  std::vector<PackId> packs_;
  std::vector<std::uint64_t> ends_;
};

void encode_place(codec::BinaryWriter& out, PackTable& table, const RecordLocation& l) {
  const auto index = table.index_of(l.pack);
  out.varint(index);
  out.signed_varint(static_cast<std::int64_t>(l.offset) - static_cast<std::int64_t>(table.end(index)));
  out.varint(l.stored_length);
  table.end(index) = l.offset + l.stored_length;
}

void encode_seal(codec::BinaryWriter& out, const RecordLocation& l) {
  out.u8(static_cast<std::uint8_t>(l.codec));
  out.varint(l.epoch.value());
  out.raw(l.nonce);
}

Status parse_place(codec::BinaryReader& in, PackTable& table, RecordLocation& l) {
  const auto index = TRY(in.varint());
  if (index >= table.packs().size()) return in.corrupt("pack index out of range");
  l.pack = table.packs()[index];
  const auto step = TRY(in.signed_varint());
  const auto stored = TRY(in.varint());
  constexpr std::int64_t kFar = std::int64_t{1} << 40;
  if (step > kFar || step < -kFar || stored > kDataRecordMax + crypto::kSealOverhead || stored < crypto::kSealOverhead)
    return in.corrupt("record place out of range");
  const auto offset = static_cast<std::int64_t>(table.end(index)) + step;
  if (offset < 0 || offset > kFar) return in.corrupt("record place out of range");
  l.offset = static_cast<std::uint64_t>(offset);
  l.stored_length = static_cast<std::uint32_t>(stored);
  table.end(index) = l.offset + stored;
  return ok();
}

Status parse_seal(codec::BinaryReader& in, RecordLocation& l) {
  l.codec = static_cast<codec::CodecId>(TRY(in.u8()));
  const auto epoch = TRY(in.varint());
  if (epoch > UINT32_MAX) return in.corrupt("epoch out of range");
  l.epoch = Epoch(static_cast<std::uint32_t>(epoch));
  l.nonce = TRY(in.array<24>());
  if (l.stored_length > l.raw_length + crypto::kSealOverhead) return in.corrupt("impossible record length");
  return ok();
}

}  // namespace

std::size_t MapDelta::live_count() const {
  return blocks.size() - static_cast<std::size_t>(std::ranges::count(dead, true));
}

std::uint32_t SegmentMap::extent_length(std::uint64_t i) const {
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(extent_size, file_length - i * extent_size));
}

Bytes encode_segment_map(const SegmentMap& map) {
  PGMINT_ASSERT(map.extents.size() == map.extent_count());
  PackTable table;
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
  out.varint(table.packs().size());
  for (const auto& pack : table.packs()) {
    out.raw(pack.session.bytes);
    out.varint(pack.number);
  }
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

  PackTable table;
  const auto pack_count = TRY(in.count(17));
  for (std::size_t i = 0; i < pack_count; ++i) {
    PackId pack;
    pack.session.bytes = TRY(in.array<16>());
    const auto number = TRY(in.varint());
    if (number > UINT32_MAX) return in.corrupt("pack number out of range");
    pack.number = static_cast<std::uint32_t>(number);
    table.add(pack);
  }
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

#include "repository/segment_map.h"

#include <gtest/gtest.h>

namespace pgmint::repository {
namespace {

SegmentMap sample(SeededRandom& random) {
  SegmentMap map;
  map.page_size = 8192;
  map.extent_size = 262144;
  map.file_length = 262144 * 3 + 8192;
  const PackId packs[2] = {{random.id<SessionId>(), 1}, {random.id<SessionId>(), 2}};
  std::uint64_t at = 72;
  for (std::uint64_t i = 0; i < map.extent_count(); ++i) {
    MapExtent extent;
    if (i != 1) {
      RecordLocation l;
      l.pack = packs[i % 2];
      l.offset = at;
      l.stored_length = static_cast<std::uint32_t>(100 + i);
      l.raw_length = map.extent_length(i);
      l.codec = codec::CodecId::Zstd;
      l.epoch = Epoch(3);
      random.fill(l.nonce);
      random.fill(extent.fingerprint);
      extent.location = l;
      at += l.stored_length;
    }
    map.extents.push_back(extent);
  }
  MapDelta delta;
  delta.location = *map.extents[0].location;
  delta.location.type = RecordType::Delta;
  delta.location.raw_length = 3 * 8192;
  delta.blocks = {0, 5, 96};
  map.deltas.push_back(delta);
  return map;
}

TEST(SegmentMap, RoundTrips) {
  SeededRandom random(7);
  const auto map = sample(random);
  const auto again = parse_segment_map(encode_segment_map(map));
  ASSERT_TRUE(again) << again.failure().describe();
  ASSERT_EQ(again->extents.size(), 4u);
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(again->extents[i].location, map.extents[i].location) << i;
    EXPECT_EQ(again->extents[i].fingerprint, map.extents[i].fingerprint);
  }
  EXPECT_EQ(again->deltas[0].location, map.deltas[0].location);
  EXPECT_EQ(again->deltas[0].blocks, map.deltas[0].blocks);
}

TEST(SegmentMap, AnEmptyFileHasNoExtents) {
  SegmentMap map;
  map.extent_size = 262144;
  const auto again = parse_segment_map(encode_segment_map(map));
  ASSERT_TRUE(again);
  EXPECT_EQ(again->file_length, 0u);
}

TEST(SegmentMap, EveryTruncationIsCorruption) {
  SeededRandom random(8);
  const auto raw = encode_segment_map(sample(random));
  for (std::size_t n = 0; n < raw.size(); ++n) EXPECT_FALSE(parse_segment_map(ByteView(raw).first(n))) << n;
}

TEST(SegmentMap, AHugeFileLengthWithoutExtentsReservesNothing) {
  codec::BinaryWriter out;
  out.u8(1);
  out.varint(8192);
  out.varint(262144);
  out.varint(std::uint64_t{1} << 49);
  out.varint(0);
  out.varint(std::uint64_t{1} << 31);
  EXPECT_EQ(parse_segment_map(out.view()).failure().code(), Errc::Corruption);
}

}  // namespace
}  // namespace pgmint::repository

#include "repository/pack.h"

#include <gtest/gtest.h>

#include "repository/layout.h"
#include "repository/testing_keys.h"
#include "storage/memory_store.h"

namespace pgmint::repository {
namespace {

struct PackTest : ::testing::Test {
  SeededRandom random{20261125};
  RecordContext context = testing::make_context(random);
  ClusterKeys keys = testing::make_cluster_keys(random, 2);
  RecordSealer sealer{context, keys, {codec::CodecId::Zstd, 1}, random};
  RecordOpener opener{context, keys};
  PackId id{random.id<SessionId>(), 3};

  PackWriter writer(PackKind kind = PackKind::Base) {
    return PackWriter(context, id, kind, Epoch(2), sealer, keys.maintenance_key, random);
  }
};

TEST_F(PackTest, RecordsOfEveryTypeComeBackThroughTheStore) {
  auto store = storage::make_memory_store();
  auto pack = writer();
  std::vector<std::pair<RecordLocation, Bytes>> written;
  for (auto type : {RecordType::Extent, RecordType::Delta, RecordType::Bundle, RecordType::SegmentMap, RecordType::ManifestNode,
                    RecordType::StreamChunk}) {
    for (std::size_t size : {0, 1, 100, 8192, 262144}) {
      auto plain = testing::make_plain(random, size);
      auto location = pack.append(type, plain);
      ASSERT_TRUE(location);
      written.emplace_back(*location, plain);
    }
  }
  auto finished = std::move(pack).finish();
  ASSERT_TRUE(store->create(pack_name(context.cluster, id), finished.data));
  for (const auto& [location, plain] : written) {
    auto read = read_record(*store, context, opener, location);
    ASSERT_TRUE(read) << read.failure().describe();
    EXPECT_EQ(*read, plain);
  }
  auto lines = parse_pack(finished.data, context, id, keys.maintenance_key);
  ASSERT_TRUE(lines);
  EXPECT_EQ(lines->size(), written.size());
}

TEST_F(PackTest, CopiedForwardRecordsKeepTheirEpochAndOpen) {
  auto first = writer();
  const auto plain = testing::make_plain(random, 5000);
  const auto location = *first.append(RecordType::Extent, plain);
  const auto old_pack = std::move(first).finish();
  PackWriter second(context, {random.id<SessionId>(), 0}, PackKind::Base, Epoch(2), sealer, keys.maintenance_key, random);
  const auto moved = second.append_sealed(location, ByteView(old_pack.data).subspan(location.offset, location.stored_length));
  const auto id2 = second.id();
  auto finished = std::move(second).finish();
  auto store = storage::make_memory_store();
  ASSERT_TRUE(store->create(pack_name(context.cluster, id2), finished.data));
  EXPECT_EQ(*read_record(*store, context, opener, moved), plain);
}

TEST_F(PackTest, AValidRecordInAnotherRecordsPlaceIsDamage) {
  auto store = storage::make_memory_store();
  auto pack = writer();
  const Bytes same(8192, std::byte{1});
  auto a = *pack.append(RecordType::Extent, same);
  auto b = *pack.append(RecordType::Extent, same);
  ASSERT_EQ(a.stored_length, b.stored_length);
  ASSERT_TRUE(store->create(pack_name(context.cluster, id), std::move(pack).finish().data));
  std::swap(a.offset, b.offset);
  EXPECT_EQ(read_record(*store, context, opener, a).failure().code(), Errc::Corruption);
}

TEST_F(PackTest, EveryFlippedByteOfARecordIsNoticed) {
  auto pack = writer();
  const auto plain = testing::make_plain(random, 200);
  const auto location = *pack.append(RecordType::Extent, plain);
  const auto data = std::move(pack).finish().data;
  for (std::size_t i = 0; i < location.stored_length; ++i) {
    Bytes stored(data.begin() + static_cast<std::ptrdiff_t>(location.offset),
                 data.begin() + static_cast<std::ptrdiff_t>(location.offset + location.stored_length));
    stored[i] ^= std::byte{0x40};
    Bytes out(location.raw_length);
    EXPECT_EQ(opener.open(location, stored, out).failure().code(), Errc::Corruption) << i;
  }
}

TEST_F(PackTest, EveryFieldOfALocationIsBound) {
  auto pack = writer();
  const Bytes plain(8192, std::byte{7});
  const auto good = *pack.append(RecordType::Extent, plain);
  const auto data = std::move(pack).finish().data;
  auto open = [&](RecordLocation l) {
    Bytes stored(data.begin() + static_cast<std::ptrdiff_t>(good.offset),
                 data.begin() + static_cast<std::ptrdiff_t>(good.offset + good.stored_length));
    Bytes out(l.raw_length);
    return opener.open(l, stored, out);
  };
  ASSERT_TRUE(open(good));
  auto l = good;
  l.type = RecordType::Bundle;
  EXPECT_FALSE(open(l));
  l = good;
  l.codec = codec::CodecId::Lz4;
  EXPECT_FALSE(open(l));
  l = good;
  l.epoch = Epoch(1);
  EXPECT_FALSE(open(l));
  l = good;
  l.raw_length -= 1;
  EXPECT_FALSE(open(l));
  RecordOpener elsewhere(testing::make_context(random), keys);
  Bytes stored(data.begin() + static_cast<std::ptrdiff_t>(good.offset),
               data.begin() + static_cast<std::ptrdiff_t>(good.offset + good.stored_length));
  Bytes out(good.raw_length);
  EXPECT_FALSE(elsewhere.open(good, stored, out));
}

TEST_F(PackTest, RejectsEveryTruncationAndEveryFlipOfHeaderFooterAndTrailer) {
  auto pack = writer();
  const auto location = *pack.append(RecordType::Extent, Bytes(100, std::byte{1}));
  const auto data = std::move(pack).finish().data;
  ASSERT_TRUE(parse_pack(data, context, id, keys.maintenance_key));
  for (std::size_t n = 0; n < data.size(); ++n)
    EXPECT_FALSE(parse_pack(ByteView(data).first(n), context, id, keys.maintenance_key)) << n;
  const std::size_t records_end = kPackHeaderSize + location.stored_length;
  for (std::size_t i = 0; i < data.size(); ++i) {
    if (i >= kPackHeaderSize && i < records_end) continue;  // records are found by hash, or by opening them
    Bytes flipped = to_bytes(data);
    flipped[i] ^= std::byte{1};
    EXPECT_FALSE(parse_pack(flipped, context, id, keys.maintenance_key)) << i;
  }
}

TEST_F(PackTest, AnotherPackUnderThisNameIsRefused) {
  auto pack = writer();
  ASSERT_TRUE(pack.append(RecordType::Extent, Bytes(100, std::byte{1})));
  const auto data = std::move(pack).finish().data;
  EXPECT_FALSE(parse_pack(data, context, {id.session, 4}, keys.maintenance_key));
  EXPECT_FALSE(parse_pack(data, context, {random.id<SessionId>(), 3}, keys.maintenance_key));
  EXPECT_FALSE(parse_pack(data, testing::make_context(random), id, keys.maintenance_key));
}

TEST(Layout, PackNamesRoundTrip) {
  SeededRandom random(1);
  const auto cluster = random.id<ClusterId>();
  const PackId id{random.id<SessionId>(), 0xabcdef};
  EXPECT_EQ(parse_pack_name(pack_name(cluster, id)), id);
  EXPECT_TRUE(storage::valid_blob_name(pack_name(cluster, id)));
  EXPECT_FALSE(parse_pack_name("c/x/p/00/y"));
  auto elsewhere = pack_name(cluster, id);
  elsewhere[elsewhere.find("/p/") + 3] ^= 1;
  EXPECT_FALSE(parse_pack_name(elsewhere)) << elsewhere;
  const auto slot = parse_log_entry_name(log_entry_name(cluster, 2, 77));
  ASSERT_TRUE(slot);
  EXPECT_EQ(slot->generation, 2u);
  EXPECT_EQ(slot->seq, 77u);
}

}  // namespace
}  // namespace pgmint::repository

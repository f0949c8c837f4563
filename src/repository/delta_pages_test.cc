#include "repository/delta_pages.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/test_seed.h"
#include "repository/layout.h"
#include "repository/pack.h"
#include "repository/testing_keys.h"
#include "storage/memory_store.h"

namespace pgmint::repository {
namespace {

constexpr std::uint32_t kPage = 8192, kExtent = 4 * kPage;

/// A file of 40 pages of which some stand in deltas.
struct DeltaPagesTest : ::testing::Test {
  std::uint64_t seed = test_seed();
  ::testing::ScopedTrace trace{__FILE__, __LINE__, fmt::format("PGMINT_TEST_SEED={}", seed)};
  SeededRandom random{seed};
  RecordContext context = testing::make_context(random);
  ClusterKeys keys = testing::make_cluster_keys(random);
  storage::MemoryStore store;
  RecordSealer sealer{context, keys, {codec::CodecId::Zstd, 1}, random};
  RecordOpener opener{context, keys};
  SegmentMap map;

  DeltaPagesTest() {
    map.page_size = kPage;
    map.extent_size = kExtent;
    map.file_length = 40 * kPage;
    map.extents.resize(map.extent_count());
  }

  static Bytes page(std::uint32_t block, int version) {
    Bytes bytes(kPage, static_cast<std::byte>(version));
    std::memcpy(bytes.data(), &block, sizeof block);
    return bytes;
  }
  /// One pack of deltas, each of one version of some blocks.
  void add(const std::vector<std::pair<int, std::vector<std::uint32_t>>>& deltas) {
    PackWriter writer(context, {random.id<SessionId>(), 0}, PackKind::Delta, keys.newest_epoch(), sealer, keys.maintenance_key,
                      random);
    for (const auto& [version, blocks] : deltas) {
      Bytes raw;
      for (const auto block : blocks) append(raw, page(block, version));
      MapDelta delta;
      delta.location = writer.append(RecordType::Delta, raw).value();
      delta.blocks = blocks;
      map.deltas.push_back(std::move(delta));
    }
    auto pack = std::move(writer).finish();
    ASSERT_TRUE(store.create(pack_name(context.cluster, pack.id), pack.data));
  }
  Bytes extent(const DeltaPages& deltas, std::uint64_t i) {
    Bytes data(map.extent_length(i));
    deltas.apply(map, i, data);
    return data;
  }
};

TEST_F(DeltaPagesTest, LivePagesOfThePartAreLaidOver) {
  add({{1, {0, 5, 6, 39}}, {2, {1, 17, 18}}});
  map.deltas[0].dead = {false, false, true, false};
  const auto deltas = DeltaPages::load(store, context, opener, map, 0, map.extent_count()).value();
  Bytes expected(kExtent);
  std::ranges::copy(page(0, 1), expected.begin());
  std::ranges::copy(page(1, 2), expected.begin() + kPage);
  EXPECT_EQ(extent(deltas, 0), expected);
  expected.assign(kExtent, std::byte{0});
  std::ranges::copy(page(5, 1), expected.begin() + kPage);
  EXPECT_EQ(extent(deltas, 1), expected) << "block 6 is dead";
  EXPECT_TRUE(deltas.touches(map, 4));
  EXPECT_FALSE(deltas.touches(map, 2));
  EXPECT_TRUE(deltas.touches(map, 9));
}

TEST_F(DeltaPagesTest, OnlyRecordsOfThePartAreRead) {
  add({{1, {0, 1}}, {2, {20, 21}}, {3, {38}}});
  const auto all = DeltaPages::load(store, context, opener, map, 0, map.extent_count()).value();
  const auto part = DeltaPages::load(store, context, opener, map, 5, 6).value();
  EXPECT_EQ(part.read_bytes(), map.deltas[1].location.stored_length);
  EXPECT_EQ(extent(part, 5), extent(all, 5));
  EXPECT_FALSE(part.touches(map, 0));
  map.deltas[1].dead = {true, true};
  EXPECT_EQ(DeltaPages::load(store, context, opener, map, 5, 6).value().read_bytes(), 0U) << "nothing of it is alive";
}

TEST_F(DeltaPagesTest, ADamagedRecordIsAnErrorAndNotAPage) {
  add({{1, {0, 1}}, {2, {20, 21}}});
  map.deltas[1].location.nonce[3] ^= std::byte{1};
  const auto loaded = DeltaPages::load(store, context, opener, map, 0, map.extent_count());
  ASSERT_FALSE(loaded);
  EXPECT_EQ(loaded.failure().code(), Errc::Corruption);
}

}  // namespace
}  // namespace pgmint::repository

#include "restore/equal_blocks.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/test_seed.h"
#include "repository/testing_keys.h"

namespace pgmint::restore {
namespace {

constexpr std::uint32_t kPage = 8192, kExtent = 4 * kPage;

/// A file of two and a half extents: the first random, the second zeros, the last short and random.
struct EqualBlocks : ::testing::Test {
  std::uint64_t seed = test_seed();
  ::testing::ScopedTrace trace{__FILE__, __LINE__, fmt::format("PGMINT_TEST_SEED={}", seed)};
  SeededRandom random{seed};
  repository::RecordContext context = repository::testing::make_context(random);
  repository::ClusterKeys keys = repository::testing::make_cluster_keys(random);
  repository::RecordSealer sealer{context, keys, {codec::CodecId::Zstd, 1}, random};
  repository::RecordOpener opener{context, keys};
  repository::SegmentMap map;
  std::vector<Bytes> file;

  EqualBlocks() {
    map.page_size = kPage;
    map.extent_size = kExtent;
    map.file_length = 10 * kPage;
    map.extents.resize(map.extent_count());
    for (std::uint64_t i = 0; i < map.extent_count(); ++i) {
      file.emplace_back(map.extent_length(i));
      if (i == 1) continue;
      random.fill(file[i]);
      DirectBuffer sealed;
      map.extents[i].location = sealer.seal(repository::RecordType::Extent, file[i], sealed).value();
      map.extents[i].fingerprint = sealer.fingerprint(map.extents[i].location->nonce, file[i]);
    }
  }
  bool equal(std::uint64_t i) { return is_certainly_equal(opener, map, i, file[i]); }
  void add_delta(std::vector<std::uint32_t> blocks, std::vector<bool> dead = {}) {
    repository::MapDelta delta;
    delta.blocks = std::move(blocks);
    delta.dead = std::move(dead);
    map.deltas.push_back(std::move(delta));
  }
};

TEST_F(EqualBlocks, WhatABackupHoldsIsKept) {
  for (std::uint64_t i = 0; i < map.extent_count(); ++i) EXPECT_TRUE(equal(i)) << i;
}

TEST_F(EqualBlocks, OneBitAnywhereIsADifference) {
  for (std::uint64_t i = 0; i < map.extent_count(); ++i)
    for (const std::size_t at : {std::size_t{0}, file[i].size() / 2, file[i].size() - 1}) {
      file[i][at] ^= std::byte{1};
      EXPECT_FALSE(equal(i)) << i << " at " << at;
      file[i][at] ^= std::byte{1};
    }
}

TEST_F(EqualBlocks, AnotherExtentsContentIsADifference) {
  file[1] = file[0];
  EXPECT_FALSE(equal(1));
  file[0].assign(kExtent, std::byte{0});
  EXPECT_FALSE(equal(0));
}

TEST_F(EqualBlocks, AShorterOrLongerPieceIsADifference) {
  for (std::uint64_t i = 0; i < map.extent_count(); ++i) {
    file[i].push_back(std::byte{0});
    EXPECT_FALSE(equal(i)) << i;
    file[i].erase(file[i].end() - 2, file[i].end());
    EXPECT_FALSE(equal(i)) << i;
  }
}

TEST_F(EqualBlocks, ALiveDeltaMakesItUncertainEvenWhereTheBaseIsThere) {
  add_delta({2, 5});
  EXPECT_FALSE(equal(0));  // equal to the base, which is not what belongs there
  EXPECT_FALSE(equal(1));
  EXPECT_TRUE(equal(2));
}

TEST_F(EqualBlocks, ADeadDeltaSaysNothing) {
  add_delta({2, 5, 9}, {true, true, false});
  EXPECT_TRUE(equal(0));
  EXPECT_TRUE(equal(1));
  EXPECT_FALSE(equal(2));
  EXPECT_FALSE(has_live_delta(map, 0));
  EXPECT_TRUE(has_live_delta(map, 2));
}

TEST_F(EqualBlocks, TheNeighboursOfADeltaAreNotTouchedByIt) {
  add_delta({4, 7});
  EXPECT_TRUE(equal(0));
  EXPECT_FALSE(equal(1));
  EXPECT_TRUE(equal(2));
}

}  // namespace
}  // namespace pgmint::restore

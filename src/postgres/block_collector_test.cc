#include "postgres/block_collector.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "base/test_seed.h"

namespace pgmint::postgres {
namespace {

RelationFork fork_number(std::uint32_t n) {
  // Neighbours differ in one part only, so that forks are told apart by all of them.
  return {{Oid(1663 + n % 2), Oid(5 + n / 2 % 2), Oid(16384 + n / 4 % 2)}, static_cast<Fork>(n / 8 % 4)};
}

TEST(BlockCollector, NamesEachBlockOfEachForkOnceInOrder) {
  const auto seed = test_seed();
  SCOPED_TRACE(fmt::format("PGMINT_TEST_SEED={}", seed));
  SeededRandom random(seed);
  BlockCollector collector;
  std::map<RelationFork, std::set<BlockNumber>> expected;
  for (int i = 0; i < 400'000; ++i) {
    const auto fork = static_cast<std::uint32_t>(random.below(random.below(4) == 0 ? 32 : 3));
    // Few blocks and many, dense and far apart, up to the last there can be.
    const BlockNumber ends[] = {7, 3000, 70'000, 0xFFFFFFFE};
    const auto block = static_cast<BlockNumber>(random.below(ends[fork % 4]));
    collector.add(fork_number(fork), block);
    expected[fork_number(fork)].insert(block);
  }
  ForkBlocks more{fork_number(1), {5, 100'000, 4'000'000'000}};
  collector.add(more);
  expected[more.where].insert(more.blocks.begin(), more.blocks.end());

  const auto taken = collector.take();
  ASSERT_EQ(taken.size(), expected.size());
  auto fork = expected.begin();
  for (const auto& [where, blocks] : taken) {
    EXPECT_EQ(where, fork->first);
    EXPECT_TRUE(std::equal(blocks.begin(), blocks.end(), fork->second.begin(), fork->second.end()));
    ++fork;
  }
  EXPECT_TRUE(collector.take().empty()) << "what was taken is gone";
}

}  // namespace
}  // namespace pgmint::postgres

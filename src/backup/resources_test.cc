#include "backup/resources.h"

#include <gtest/gtest.h>

#include "repository/pack.h"

namespace pgmint::backup {
namespace {

constexpr std::uint64_t kMemory = 320U << 20;

TEST(PackSizes, AreWholeOnAUsualMachine) {
  EXPECT_EQ(pack_sizes(kMemory, 2, 2, 0).target, repository::kPackTarget);
  // Four uploads at once, to a store that is far away.
  EXPECT_GT(pack_sizes(kMemory, 2, 4, 0).target, repository::kPackTarget * 98 / 100);
}

TEST(PackSizes, StayWithinTheMemoryWithTheListsUntilTheyAreAsSmallAsTheyMayBe) {
  constexpr std::size_t kLeast = 4U << 20;
  bool met_least = false;
  for (const unsigned workers : {1U, 2U, 7U, 16U, 64U, 256U})
    for (const unsigned uploaders : {2U, 4U})
      for (const std::uint64_t lists : {std::uint64_t{0}, kMemory / 3, kMemory - 1, kMemory, 4 * kMemory}) {
        const auto sizes = pack_sizes(kMemory, workers, uploaders, lists);
        const auto packs = workers + uploaders + kQueuedPacks + 2;
        EXPECT_GE(sizes.target, kLeast);
        EXPECT_LE(sizes.target, repository::kPackTarget);
        EXPECT_GT(sizes.limit, sizes.target);
        met_least = met_least || sizes.target == kLeast;
        if (sizes.target > kLeast) {
          EXPECT_LE(packs * sizes.limit + lists, kMemory) << workers << " workers, lists of " << lists;
        }
      }
  EXPECT_TRUE(met_least);
}

}  // namespace
}  // namespace pgmint::backup

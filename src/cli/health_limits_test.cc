#include "cli/health_limits.h"

#include <gtest/gtest.h>

namespace pgmint::cli {
namespace {

constexpr std::uint64_t kGiB = std::uint64_t{1} << 30;

TEST(Fullness, IsAShareOfTheFileSystem) {
  const SpaceLimit limit;
  EXPECT_EQ(fullness({.free = 11 * kGiB, .total = 100 * kGiB}, limit), Fullness::Fine);
  EXPECT_EQ(fullness({.free = 9 * kGiB, .total = 100 * kGiB}, limit), Fullness::Low);
  EXPECT_EQ(fullness({.free = 3 * kGiB, .total = 100 * kGiB}, limit), Fullness::Critical);
}

TEST(Fullness, IsNoShareOfTheVeryLargeAndAtLeastOneGiB) {
  const SpaceLimit limit;
  EXPECT_EQ(fullness({.free = 200 * kGiB, .total = 100'000 * kGiB}, limit), Fullness::Fine);
  EXPECT_EQ(fullness({.free = 100 * kGiB, .total = 100'000 * kGiB}, limit), Fullness::Low);
  EXPECT_EQ(fullness({.free = kGiB / 2, .total = 2 * kGiB}, limit), Fullness::Low);
  EXPECT_EQ(fullness({.free = 0, .total = 0}, limit), Fullness::Critical);
}

TEST(Fullness, OrASizeOfItsOwner) {
  const SpaceLimit limit{.share = 0, .size = ByteCount(50 * kGiB)};
  EXPECT_EQ(fullness({.free = 50 * kGiB, .total = 60 * kGiB}, limit), Fullness::Fine);
  EXPECT_EQ(fullness({.free = 49 * kGiB, .total = 100'000 * kGiB}, limit), Fullness::Low);
}

TEST(Space, OfAPathThatIsNotThereIsThatOfItsNearestParent) {
  const auto root = space_of("/");
  const auto below = space_of("/nosuch/folder");
  ASSERT_TRUE(root && below);
  EXPECT_EQ(root->total, below->total);
  EXPECT_GT(root->total, 0U);
  EXPECT_LE(root->free, root->total);
}

}  // namespace
}  // namespace pgmint::cli

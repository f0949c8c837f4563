#include "policy/estimate.h"

#include <gtest/gtest.h>

#include "base/test_seed.h"

namespace pgmint::policy {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t kGiB = 1ULL << 30;

TEST(Estimate, NothingMeasuredIsNotKnown) {
  const auto estimate = estimate_restore(kGiB, kGiB, {});
  EXPECT_FALSE(estimate.copy);
  EXPECT_FALSE(estimate.replay);
  EXPECT_FALSE(estimate.total());
  EXPECT_TRUE(estimate.is_partial());
  EXPECT_EQ(estimate.copies_measured, 0U);
}

TEST(Estimate, GrowsWithTheWork) {
  const Measures measures{{{kGiB, 10s}}, {{kGiB, 100s}}};
  const auto estimate = estimate_restore(3 * kGiB, kGiB / 2, measures);
  EXPECT_EQ(estimate.copy, 30s);
  EXPECT_EQ(estimate.replay, 50s);
  EXPECT_EQ(estimate.total(), 80s);
  EXPECT_FALSE(estimate.is_partial());
  EXPECT_DOUBLE_EQ(*estimate.copy_rate, kGiB / 10.0);
  EXPECT_DOUBLE_EQ(*estimate.replay_rate, kGiB / 100.0);
}

TEST(Estimate, CopyAloneIsALowerBound) {
  const auto estimate = estimate_restore(kGiB, kGiB, {{{kGiB, 10s}}, {}});
  EXPECT_EQ(estimate.total(), 10s);
  EXPECT_TRUE(estimate.is_partial());
  EXPECT_FALSE(estimate.replay_rate);
}

TEST(Estimate, AShortRestoreOfLittleSaysNothingOfALargeOne) {
  const Measures measures{{{1 << 20, 900ms}}, {}};
  EXPECT_FALSE(estimate_restore(1000 * kGiB, 0, measures).copy);
  EXPECT_TRUE(estimate_restore(5 << 20, 0, measures).copy) << "one of its own size does";
}

TEST(Estimate, OneOutlierDoesNotDecide) {
  const Measures measures{{{kGiB, 10s}, {kGiB, 11s}, {kGiB, 3600s}, {kGiB, 10s}, {kGiB, 12s}}, {}};
  EXPECT_EQ(estimate_restore(kGiB, 0, measures).copy, 11s);
}

TEST(Estimate, NoWalTakesNoTimeAndIsKnown) {
  const auto estimate = estimate_restore(kGiB, 0, {{{kGiB, 10s}}, {}});
  EXPECT_EQ(estimate.replay, 0s);
  EXPECT_FALSE(estimate.is_partial());
}

TEST(Estimate, LiesBetweenTheRatesItRestsOn) {
  const auto seed = test_seed();
  SeededRandom random(seed);
  for (int round = 0; round < 2000; ++round) {
    Measures measures;
    const auto count = random.next() % 9;
    for (std::size_t i = 0; i < count; ++i)
      measures.copies.push_back({random.next() % (4 * kGiB), std::chrono::microseconds(static_cast<std::int64_t>(random.next() % 100'000'000))});
    const auto work = random.next() % (1ULL << (random.next() % 50));
    const auto estimate = estimate_restore(work, 0, measures);
    ASSERT_LE(estimate.copies_measured, 5U);
    ASSERT_EQ(estimate.copy.has_value(), work == 0 || estimate.copies_measured > 0) << "seed " << seed;
    if (!estimate.copy || work == 0) continue;
    double least = 1e300, most = 0;
    for (const auto& measure : measures.copies) {
      if (measure.bytes == 0) continue;
      const double took = std::max(1.0, static_cast<double>(measure.took.count())) / static_cast<double>(measure.bytes) * static_cast<double>(work);
      least = std::min(least, took);
      most = std::max(most, took);
    }
    ASSERT_GE(static_cast<double>(estimate.copy->count()) + 1, std::min(least, 1e15)) << "seed " << seed;
    ASSERT_LE(static_cast<double>(estimate.copy->count()) - 1, most) << "seed " << seed;
  }
}

}  // namespace
}  // namespace pgmint::policy

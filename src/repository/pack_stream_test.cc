#include "repository/pack_stream.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <numeric>
#include <set>

#include "base/test_seed.h"
#include "repository/testing_keys.h"

namespace pgmint::repository {
namespace {

/// What a stream without compression made of runs: the sizes of its packs, and for each run the packs that it stands in.
struct PackStreamTest : ::testing::Test {
  static constexpr std::size_t kTarget = 64 << 10, kLimit = kTarget + kTarget / 8;

  void write(const std::vector<std::vector<std::size_t>>& runs) {
    std::uint32_t next = 0;
    PackBuffers buffers;
    const PackSettings settings{context, keys, {codec::CodecId::None, 0}, random, [&] { return PackId{session, next++}; }, buffers, kTarget, kLimit};
    PackStream stream(settings, PackKind::Base, [&](FinishedPack pack) {
      sizes.push_back(pack.data.size());
      return ok();
    });
    for (const auto& run : runs) {
      std::set<std::uint32_t> packs;
      for (const auto size : run) packs.insert(stream.append(RecordType::Extent, testing::make_plain(random, size))->pack.number);
      packs_of_runs.push_back(packs.size());
      ASSERT_TRUE(stream.end_run());
    }
    ASSERT_TRUE(stream.close());
  }

  SeededRandom random{20261128};
  RecordContext context = testing::make_context(random);
  ClusterKeys keys = testing::make_cluster_keys(random, 1);
  SessionId session{random.id<SessionId>()};
  std::vector<std::size_t> sizes, packs_of_runs;
};

TEST_F(PackStreamTest, RunsStandInOnePackAndPacksHaveTheirSize) {
  const auto seed = test_seed();
  SCOPED_TRACE(fmt::format("PGMINT_TEST_SEED={}", seed));
  SeededRandom draw(seed);
  std::vector<std::vector<std::size_t>> runs;
  std::size_t longest = 0;
  for (int i = 0; i < 400; ++i) {
    std::vector<std::size_t> run(1 + draw.below(6));
    for (auto& size : run) size = 500 + draw.below(1500);
    longest = std::max(longest, std::accumulate(run.begin(), run.end(), std::size_t{0}));
    runs.push_back(std::move(run));
  }
  write(runs);
  ASSERT_GT(sizes.size(), 10u);
  for (std::size_t i = 0; i < packs_of_runs.size(); ++i) EXPECT_EQ(packs_of_runs[i], 1u) << "run " << i;
  sizes.pop_back();
  for (const auto size : sizes) {
    EXPECT_GE(size + longest, kTarget);
    EXPECT_LE(size, kLimit + longest);
  }
  const auto mean = static_cast<double>(std::accumulate(sizes.begin(), sizes.end(), std::size_t{0})) / static_cast<double>(sizes.size());
  EXPECT_NEAR(mean / kTarget, 1.0, 0.03) << "as many objects as the target says, and no more";
}

TEST_F(PackStreamTest, ARunThatIsTooLongIsTornApartAtTheLimit) {
  write({std::vector<std::size_t>(100, 4000)});
  EXPECT_EQ(packs_of_runs.front(), sizes.size());
  ASSERT_GT(sizes.size(), 4u);
  sizes.pop_back();
  for (const auto size : sizes) {
    EXPECT_GE(size, kLimit);
    EXPECT_LT(size, kLimit + 6000);
  }
}

TEST_F(PackStreamTest, ARunAsLongAsThePackHasThePackForItself) {
  write({std::vector<std::size_t>(16, 4000), std::vector<std::size_t>(16, 4000), {4000}});
  EXPECT_EQ(packs_of_runs, (std::vector<std::size_t>{1, 1, 1}));
  EXPECT_EQ(sizes.size(), 3u);
}

}  // namespace
}  // namespace pgmint::repository

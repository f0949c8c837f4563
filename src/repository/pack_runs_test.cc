#include "repository/pack_runs.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <set>

#include "base/test_seed.h"
#include "repository/log_fixture.h"

namespace pgmint::repository {
namespace {

Bytes written(const std::vector<PackRun>& runs) {
  codec::BinaryWriter out;
  write_pack_runs(out, runs);
  return out.take();
}

Result<std::vector<PackRun>> read(ByteView bytes) {
  codec::BinaryReader in(bytes, "test");
  auto runs = TRY(read_pack_runs(in));
  TRY(in.expect_end());
  return runs;
}

TEST(PackRuns, NeighboursAreOneRunWhateverTheirOrder) {
  const auto runs = runs_of({pack_id(2, 7), pack_id(1, 5), pack_id(1, 3), pack_id(1, 4), pack_id(2, 9), pack_id(1, 4)});
  const std::vector<PackRun> expected = {{session_id(1), 3, 5}, {session_id(2), 7, 7}, {session_id(2), 9, 9}};
  EXPECT_EQ(runs, expected);
}

TEST(PackRuns, ReadBackAsTheyWereWritten) {
  const std::vector<std::vector<PackRun>> examples = {
      {}, {{session_id(1), 0, 0}}, {{session_id(1), 0, UINT32_MAX}}, {{session_id(1), 0, 1}, {session_id(1), 3, 4}, {session_id(9), UINT32_MAX, UINT32_MAX}}};
  for (const auto& runs : examples) {
    const auto again = read(written(runs));
    ASSERT_TRUE(again) << again.failure().describe();
    EXPECT_EQ(*again, runs);
  }
}

/// Some thousand packs of a few sessions, as a full backup and what is left of older ones are.
TEST(PackRuns, AnyPacksSurviveInFewBytes) {
  const auto seed = test_seed();
  SCOPED_TRACE(fmt::format("PGMINT_TEST_SEED={}", seed));
  SeededRandom random(seed);
  for (int round = 0; round < 200; ++round) {
    std::set<PackId> packs;
    for (std::uint64_t i = 0, n = random.below(40); i < n; ++i) {
      const auto session = static_cast<unsigned>(random.below(5));
      const auto first = static_cast<std::uint32_t>(random.below(300));
      for (std::uint32_t number = first; number < first + random.below(30); ++number) packs.insert(pack_id(session, number));
    }
    const auto runs = runs_of({packs.begin(), packs.end()});
    const auto bytes = written(runs);
    const auto again = read(bytes);
    ASSERT_TRUE(again);
    EXPECT_EQ(*again, runs);
    std::set<PackId> back;
    for (const auto& run : *again)
      for (auto number = run.first; number <= run.last; ++number) back.insert({run.session, number});
    EXPECT_EQ(back, packs);
    EXPECT_LE(bytes.size(), 1 + 5 * 18 + runs.size() * 4);
  }
}

TEST(PackRuns, OneTextForEachSetAndNoOther) {
  const auto session = [](unsigned n) { return to_bytes(session_id(n).bytes); };
  const auto joined = [](std::vector<Bytes> parts) {
    Bytes all;
    for (const auto& part : parts) append(all, part);
    return all;
  };
  const auto raw = [](std::initializer_list<unsigned> values) {
    Bytes bytes;
    for (auto value : values) bytes.push_back(static_cast<std::byte>(value));
    return bytes;
  };
  ASSERT_TRUE(read(joined({raw({1}), session(1), raw({1, 3, 2})})));
  for (const auto& [what, bytes] : std::vector<std::pair<const char*, Bytes>>{
           {"sessions out of order", joined({raw({2}), session(2), raw({1, 0, 0}), session(1), raw({1, 0, 0})})},
           {"a session twice", joined({raw({2}), session(1), raw({1, 0, 0}), session(1), raw({1, 5, 0})})},
           {"a session without runs", joined({raw({1}), session(1), raw({0, 0, 0})})},
           {"runs that touch", joined({raw({1}), session(1), raw({2, 3, 2, 0, 2})})},
           {"first above 32 bits", joined({raw({1}), session(1), raw({1, 0x80, 0x80, 0x80, 0x80, 0x10, 0})})},
           {"last above 32 bits", joined({raw({1}), session(1), raw({1, 1, 0xff, 0xff, 0xff, 0xff, 0x0f})})},
           {"behind the last number", joined({raw({1}), session(1), raw({2, 0, 0xff, 0xff, 0xff, 0xff, 0x0f, 1, 0})})},
           {"more runs than bytes", joined({raw({1}), session(1), raw({9, 0, 0})})},
           {"more sessions than bytes", joined({raw({9}), session(1), raw({1, 0, 0})})},
           {"cut off", joined({raw({1}), session(1), raw({1, 3})})}}) {
    const auto runs = read(bytes);
    ASSERT_FALSE(runs) << what;
    EXPECT_EQ(runs.failure().code(), Errc::Corruption) << what;
  }
}

TEST(PackRuns, MoreThanALimitAreRefused) {
  codec::BinaryWriter out;
  out.varint(1);
  out.raw(session_id(1).bytes);
  out.varint(kPackRunsMax + 1);
  for (std::size_t i = 0; i <= kPackRunsMax; ++i) {
    out.varint(1);
    out.varint(0);
  }
  EXPECT_FALSE(read(out.view()));
}

}  // namespace
}  // namespace pgmint::repository

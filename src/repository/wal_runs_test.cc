#include "repository/wal_runs.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <set>

#include "base/test_seed.h"
#include "repository/wal_fixture.h"

namespace pgmint::repository {
namespace {

using std::chrono::seconds;
const TimePoint kNow = at_second(0);

Bytes written(const std::vector<WalRun>& runs) {
  codec::BinaryWriter out;
  write_wal_runs(out, runs);
  return out.take();
}

Result<std::vector<WalRun>> read(ByteView bytes) {
  codec::BinaryReader in(bytes, "test");
  auto runs = TRY(read_wal_runs(in));
  TRY(in.expect_end());
  return runs;
}

TEST(WalRuns, NeighboursOfOnePlaceAreOneRunAndItsTimesAreTheirs) {
  const auto runs = wal_runs_of({stored(7, kNow + seconds(3)), stored(5, kNow), stored(6, kNow - seconds(2)), stored(9, kNow), stored(8, kNow, wal_place(2)),
                                 stored(8, kNow, wal_place(1, kMiB16, true)), stored(8, kNow, wal_place(1, 64 << 20))});
  const std::vector<WalRun> expected = {{wal_place(), 5, 7, kNow - seconds(2), kNow + seconds(3)},
                                        {wal_place(), 9, 9, kNow, kNow},
                                        {wal_place(1, kMiB16, true), 8, 8, kNow, kNow},
                                        {wal_place(1, 64 << 20), 8, 8, kNow, kNow},
                                        {wal_place(2), 8, 8, kNow, kNow}};
  EXPECT_EQ(runs, expected);
}

/// docs/format/log.md, byte for byte.
TEST(WalRuns, AreWrittenAsTheFormatSays) {
  const auto time = TimePoint(std::chrono::microseconds(1'790'000'000'000'000));
  const std::vector<WalRun> runs = {{wal_place(), 3, 10'002, time, time + std::chrono::microseconds(129)}, {wal_place(), 10'004, 10'004, time, time},
                                    {wal_place(2, 64 << 20, true), 0, 0, TimePoint{}, TimePoint{}}};
  const std::string golden =
      "02"
      "0700000000000000" "01000000" "01000000" "00000001" "01" "02" "03" "8f4e" "00e025dafe5b0600" "8101" "01" "00" "00e025dafe5b0600" "00"
      "0700000000000000" "01000000" "02000000" "00000004" "02" "01" "00" "00" "0000000000000000" "00";
  EXPECT_EQ(to_hex(written(runs)), golden);
  const auto again = read(written(runs));
  ASSERT_TRUE(again) << again.failure().describe();
  EXPECT_EQ(*again, runs);
}

/// A month of a busy cluster is as long as a minute of it.
TEST(WalRuns, TenThousandWithoutAHoleTakeAFewBytes) {
  std::vector<StoredSegment> wal;
  for (std::uint64_t number = 0; number < 10'000; ++number) wal.push_back(stored(number + 123'456'789, kNow + seconds(number)));
  EXPECT_LE(written(wal_runs_of(std::move(wal))).size(), 50u);
}

TEST(WalRuns, WhatNamesMean) {
  const auto size = *postgres::WalSegmentSize::of(64 << 20);
  const WalIdentity identity{7, Incarnation(1)};
  EXPECT_EQ(wal_segment_of(identity, size, "000000020000000100000003"), (WalSegmentId{wal_place(2, 64 << 20), 67}));
  EXPECT_EQ(wal_segment_of(identity, size, "000000020000000100000003.partial"), (WalSegmentId{wal_place(2, 64 << 20, true), 67}));
  for (const auto* other : {"00000002.history", "000000020000000100000003.00000028.backup", "000000020000000100000040", "000000000000000100000003", "x"})
    EXPECT_EQ(wal_segment_of(identity, size, other), std::nullopt) << other;
}

TEST(WalRuns, WhatNobodyWouldWriteIsDamage) {
  const auto time = kNow;
  const std::vector<WalRun> one = {{wal_place(), 3, 4, time, time}};
  const auto good = written(one);
  ASSERT_TRUE(read(good));
  const auto with = [&](std::size_t at, int value) {
    auto bytes = good;
    bytes[at] = static_cast<std::byte>(value);
    return bytes;
  };
  EXPECT_FALSE(read(with(13, 0))) << "timeline 0";
  EXPECT_FALSE(read(with(17, 1))) << "a segment size that is no power of two";
  EXPECT_FALSE(read(with(20, 0))) << "nor has it less than 1 MiB";
  EXPECT_FALSE(read(with(21, 0)));
  EXPECT_FALSE(read(with(21, 3))) << "history and backup files are no segments";
  EXPECT_FALSE(read(with(22, 0))) << "a place without runs";
  for (std::size_t length = 0; length < good.size(); ++length) EXPECT_FALSE(read(ByteView(good).first(length))) << length;
  EXPECT_FALSE(read(written({{wal_place(), 3, 4, time, time}, {wal_place(), 5, 6, time, time}}))) << "one run";
  EXPECT_FALSE(read(written({{wal_place(2), 3, 4, time, time}, {wal_place(1), 3, 4, time, time}}))) << "not in order";
  EXPECT_FALSE(read(written({{wal_place(), 0, UINT64_MAX / kMiB16 + 1, time, time}}))) << "beyond the end of WAL";
  EXPECT_TRUE(read(written({{wal_place(), 0, UINT64_MAX / kMiB16, time, time}})));
  EXPECT_FALSE(read(written({{wal_place(), 3, 4, TimePoint(std::chrono::microseconds(-1)), time}})));
  EXPECT_TRUE(read(written({{wal_place(), 3, 4, TimePoint{}, TimePoint::max()}})));
}

TEST(WalRuns, AnySegmentsSurviveAndNoiseDoesNoHarm) {
  const auto seed = test_seed();
  SCOPED_TRACE(fmt::format("PGMINT_TEST_SEED={}", seed));
  SeededRandom random(seed);
  for (int round = 0; round < 300; ++round) {
    std::map<WalSegmentId, TimePoint> wal;
    for (std::uint64_t i = 0, n = random.below(30); i < n; ++i) {
      const auto place = wal_place(1 + static_cast<std::uint32_t>(random.below(3)), random.below(2) == 0 ? kMiB16 : 1 << 20, random.below(4) == 0);
      const auto first = random.below(200);
      for (auto number = first; number < first + random.below(30); ++number) wal[{place, number}] = kNow + seconds(random.below(10'000));
    }
    std::vector<StoredSegment> segments;
    for (const auto& [id, time] : wal) segments.push_back({id, time});
    const auto runs = wal_runs_of(segments);
    const auto bytes = written(runs);
    const auto again = read(bytes);
    ASSERT_TRUE(again);
    EXPECT_EQ(*again, runs);
    std::size_t count = 0;
    for (const auto& run : runs)
      for (auto number = run.first; number <= run.last; ++number, ++count) {
        const auto time = wal.at({run.place, number});
        EXPECT_TRUE(run.oldest <= time && time <= run.newest);
      }
    EXPECT_EQ(count, wal.size());
    auto noise = bytes;
    for (std::uint64_t i = 0, n = 1 + random.below(4); i < n && !noise.empty(); ++i) noise[random.below(noise.size())] = static_cast<std::byte>(random.below(256));
    if (const auto parsed = read(noise)) { EXPECT_EQ(*read(written(*parsed)), *parsed); }
  }
}

}  // namespace
}  // namespace pgmint::repository

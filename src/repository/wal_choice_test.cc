#include "repository/wal_choice.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <set>

#include "base/test_seed.h"
#include "repository/wal_fixture.h"

namespace pgmint::repository {
namespace {

using std::chrono::hours;
using enum ProofDepth;
constexpr hours kDay{24};
const TimePoint kNow = at_second(0) + 1000 * kDay;
const TimePoint kWritten = kNow - 100 * kDay;

class WalChoiceTest : public testing::Test {
 protected:
  std::vector<ListedSegment> wal;
  WalProofs proofs;
  ProofClock clock{kNow, kNow};
  std::uint64_t seq = 0;

  void add(std::uint64_t number, std::uint64_t bytes = 100) { wal.push_back({stored(number, kWritten), bytes}); }
  void prove(std::uint64_t number, TimePoint read, ProofDepth depth = Opened) {
    proofs.note({depth, false, read, seq + 1, {{wal_place(), number, number, kWritten, kWritten}}}, ++seq, read);
  }
  void spoil(std::uint64_t number) { proofs.note({Opened, true, kNow, 0, {{wal_place(), number, number, kWritten, kWritten}}}, ++seq, kNow); }
  ChosenWal choose(const VerifyChoice& choice, ProofDepth depth = Opened) { return choose_wal(wal, proofs, depth, clock, choice); }
  static std::vector<std::uint64_t> numbers(const ChosenWal& chosen) {
    std::vector<std::uint64_t> all;
    for (const auto& one : chosen.read) all.push_back(one.segment.id.number);
    std::ranges::sort(all);
    return all;
  }
  using Numbers = std::vector<std::uint64_t>;
};

TEST_F(WalChoiceTest, OlderThanLeavesOutWhatIsProvenSince) {
  for (std::uint64_t i = 0; i < 6; ++i) add(i);
  prove(0, kNow - 29 * kDay);
  prove(1, kNow - 31 * kDay);
  prove(2, kNow - 30 * kDay);
  prove(3, kNow - kDay, Decompressed);
  prove(5, kNow - kDay);
  wal[5].segment.written = kNow - hours(1);  // lost, and pushed again
  const auto chosen = choose({.older_than = 30 * kDay});
  EXPECT_EQ(numbers(chosen), (Numbers{1, 4, 5}));
  EXPECT_EQ(chosen.left.segments, 3u);
  EXPECT_EQ(chosen.left.bytes, 300u);
  EXPECT_EQ(chosen.left.unproven_segments, 0u);
  EXPECT_EQ(chosen.left.oldest, kNow - 30 * kDay);
  EXPECT_EQ(chosen.left.newest, kNow - kDay);
  EXPECT_EQ(numbers(choose({.older_than = 30 * kDay}, Decompressed)), (Numbers{0, 1, 2, 4, 5}));
  EXPECT_EQ(numbers(choose({})), (Numbers{0, 1, 2, 3, 4, 5}));
}

TEST_F(WalChoiceTest, EveryDoubtOfClocksMakesAProofOlder) {
  add(0);
  prove(0, kNow);
  clock = {kNow - hours(2), kNow};
  EXPECT_EQ(numbers(choose({.older_than = 30 * kDay})), (Numbers{0})) << "one of the clocks says that it is yet to come";
  prove(0, kNow - 31 * kDay);
  clock = {kNow - 20 * kDay, kNow};
  EXPECT_EQ(numbers(choose({.older_than = 30 * kDay})), (Numbers{0})) << "the store's, or the log's last entry, know better";
}

TEST_F(WalChoiceTest, WhatIsDamagedIsReadWhateverElseIsChosen) {
  for (std::uint64_t i = 0; i < 10; ++i) add(i);
  for (std::uint64_t i = 0; i < 10; ++i) prove(i, kNow);
  spoil(3);
  spoil(7);
  EXPECT_EQ(numbers(choose({.older_than = 30 * kDay})), (Numbers{3, 7}));
  EXPECT_EQ(numbers(choose({.share = 200'000})), (Numbers{0, 1, 3, 7})) << "and they use up nothing of the share";
  wal[3].segment.written = kNow;
  EXPECT_EQ(numbers(choose({.older_than = 30 * kDay})), (Numbers{3, 7})) << "nor does another object make it good unread";
  const auto known = what_wal_is_proven(wal, proofs, clock);
  EXPECT_EQ(known.damaged_segments, 2u);
  EXPECT_EQ(known.unproven_segments, 2u);
  EXPECT_EQ(known.segments, 8u);
  EXPECT_EQ(known.unproven_since, std::nullopt);
}

TEST_F(WalChoiceTest, AShareBeginsWithWhatWasNeverReadGoesOnWithWhatIsAnotherObjectNowAndThenByTheLogsOrder) {
  for (std::uint64_t i = 0; i < 5; ++i) add(i);
  prove(2, kNow + 300 * kDay);  // a clock ran ahead
  prove(0, kNow);
  prove(4, kNow);
  prove(1, kNow - 300 * kDay);
  wal[4].segment.written = kNow;
  EXPECT_EQ(numbers(choose({.share = 200'000})), (Numbers{3}));
  EXPECT_EQ(numbers(choose({.share = 400'000})), (Numbers{3, 4}));
  EXPECT_EQ(numbers(choose({.share = 600'000})), (Numbers{2, 3, 4}));
  EXPECT_EQ(numbers(choose({.share = 800'000})), (Numbers{0, 2, 3, 4}));
  EXPECT_EQ(what_wal_is_proven(wal, proofs, clock).unproven_since, kWritten) << "of 3, which is older than the new 4";
}

/// Whatever the sizes and clocks, after 1 / share runs every byte was read; also where all times change between the runs.
TEST_F(WalChoiceTest, SharesAddUpToEverything) {
  const auto seed = test_seed();
  SCOPED_TRACE(fmt::format("PGMINT_TEST_SEED={}", seed));
  SeededRandom random(seed);
  for (int round = 0; round < 200; ++round) {
    wal.clear();
    proofs = {};
    seq = 0;
    std::set<WalSegmentId> unread;
    const bool touched = round % 4 == 3;
    for (std::uint64_t i = 0, n = 1 + random.below(60); i < n; ++i) {
      const auto place = wal_place(1 + static_cast<std::uint32_t>(random.below(3)), kMiB16, random.below(5) == 0);
      wal.push_back({stored(i, kWritten, place), 1 + (random.below(4) == 0 ? random.below(1'000'000) : random.below(1000))});
      unread.insert(wal.back().segment.id);
      if (random.below(3) == 0)  // proven before, with whatever clock
        proofs.note({Opened, false, kNow + kDay * (static_cast<int>(random.below(400)) - 200), 0, wal_runs_of({wal.back().segment})}, ++seq, kNow);
    }
    std::uint64_t bytes = 0;
    for (const auto& one : wal) bytes += one.bytes;
    const auto share = static_cast<std::uint32_t>(10'000 + random.below(round % 2 == 0 ? 990'000 : 200'000));
    const auto runs = (1'000'000 + share - 1) / share;
    for (std::uint64_t run = 0; run < runs; ++run) {
      const auto chosen = choose({.share = share});
      std::uint64_t taken = 0;
      std::vector<StoredSegment> read;
      for (const auto& one : chosen.read) {
        taken += one.bytes;
        read.push_back(one.segment);
        unread.erase(one.segment.id);
      }
      ASSERT_FALSE(read.empty());
      ASSERT_GE(static_cast<long double>(taken) * 1'000'000, static_cast<long double>(bytes) * share) << "share " << share;
      EXPECT_EQ(chosen.left.segments + chosen.left.unproven_segments + chosen.read.size(), wal.size());
      EXPECT_EQ(chosen.left.bytes + chosen.left.unproven_bytes + taken, bytes);
      const auto time = kNow + kDay * (static_cast<int>(random.below(400)) - 200);
      proofs.note({Opened, false, time, 0, wal_runs_of(std::move(read))}, ++seq, time);
      proofs.note_time(time);
      if (touched)
        for (auto& one : wal) *one.segment.written += kDay;
    }
    EXPECT_TRUE(unread.empty()) << unread.size() << " of " << wal.size() << " left out, share " << share << ", round " << round;
  }
}

}  // namespace
}  // namespace pgmint::repository

#include "repository/wal_proofs.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/test_seed.h"
#include "repository/wal_fixture.h"

namespace pgmint::repository {
namespace {

using std::chrono::hours;
using std::chrono::seconds;
using enum ProofDepth;

constexpr std::uint64_t kSeenAll = ~std::uint64_t{0};
const TimePoint kNow = at_second(0) + hours(24 * 1000);
const TimePoint kWritten = kNow - hours(50);

WalRun run(std::uint64_t first, std::uint64_t last, WalPlace place = wal_place()) { return {place, first, last, kWritten, kWritten + hours(1)}; }
WalRead sound(ProofDepth depth, std::vector<WalRun> runs, TimePoint read = kNow) { return {depth, false, read, kSeenAll, std::move(runs)}; }
WalRead damaged(ProofDepth depth, std::vector<WalRun> runs) { return {depth, true, kNow, kSeenAll, std::move(runs)}; }
WalSegmentId id(std::uint64_t number, WalPlace place = wal_place()) { return {place, number}; }

/// The point of it: after a loss the same name may stand for another object, whatever is in it.
TEST(WalProofs, AnObjectThatWasWrittenAnewIsNotTheOneThatWasProven) {
  WalProofs proofs;
  proofs.note(sound(Opened, {run(5, 9)}), 5, kNow);
  const auto& history = proofs.of(id(7));
  for (const auto& written : {kWritten, kWritten + hours(1)}) {
    EXPECT_EQ(history.newest(Opened, written), 5u);
    EXPECT_EQ(history.read(Opened, written), kNow);
  }
  const TimePoint::duration tick(1);
  for (const auto& written : {std::optional(kWritten + hours(1) + tick), std::optional(kWritten - tick), std::optional(kNow + hours(9)), std::optional<TimePoint>()}) {
    EXPECT_EQ(history.newest(Hashed, written), 0u) << "later, or by a clock that went back, or of no known time";
    EXPECT_EQ(history.read(Hashed, written), std::nullopt);
    EXPECT_EQ(history.newest_of_any(Opened), 5u);
  }
}

TEST(WalProofs, ADeeperProofIsOneOfWhatItShowsTooAndLookingFromOutsideIsNone) {
  WalProofs proofs;
  proofs.note(sound(Opened, {run(0, 9)}), 5, kNow);
  proofs.note(sound(Decompressed, {run(3, 3)}), 6, kNow);
  proofs.note(sound(Hashed, {run(0, 20)}), 7, kNow);
  EXPECT_EQ(proofs.of(id(0)).newest(Hashed, kWritten), 5u);
  EXPECT_EQ(proofs.of(id(0)).newest(Decompressed, kWritten), 0u);
  EXPECT_EQ(proofs.of(id(3)).newest(Hashed, kWritten), 6u);
  EXPECT_EQ(proofs.of(id(20)), WalHistory{});
}

TEST(WalProofs, WhatHasTheSameNumberElsewhereIsAnother) {
  WalProofs proofs;
  proofs.note(sound(Opened, {run(0, 9)}), 5, kNow);
  auto adopted = wal_place();
  adopted.incarnation = Incarnation(2);
  auto other = wal_place();
  other.system_id = 8;
  for (const auto& place : {adopted, other, wal_place(2), wal_place(1, 1 << 20), wal_place(1, kMiB16, true)}) EXPECT_EQ(proofs.of(id(3, place)), WalHistory{});
}

TEST(WalProofs, DamageTakesEveryProofBackUntilItIsSoundAtThatDepth) {
  WalProofs proofs;
  for (const auto depth : {Opened, Decompressed}) proofs.note(sound(depth, {run(0, 2)}), 5, kNow);
  proofs.note(damaged(Opened, {run(1, 1)}), 6, kNow);
  EXPECT_EQ(proofs.of(id(1)).newest(Hashed, kWritten), 0u);
  EXPECT_EQ(proofs.of(id(1)).damaged, (PackHistory::Damage{Opened, 6}));
  EXPECT_EQ(proofs.of(id(0)).newest(Decompressed, kWritten), 5u);
  EXPECT_EQ(proofs.of(id(2)).newest(Decompressed, kWritten), 5u);
  proofs.note(damaged(Hashed, {run(1, 1)}), 7, kNow);
  EXPECT_EQ(proofs.of(id(1)).damaged, (PackHistory::Damage{Opened, 7})) << "the greatest depth stays";
  proofs.note({Decompressed, false, kNow, 7, {run(0, 2)}}, 8, kNow);
  EXPECT_EQ(proofs.of(id(1)).damaged, (PackHistory::Damage{Opened, 7})) << "who did not know of it cannot tell";
  EXPECT_EQ(proofs.of(id(1)).newest(Hashed, kWritten), 0u);
  proofs.note({Opened, false, kNow, 8, {run(1, 1)}}, 9, kNow);
  EXPECT_EQ(proofs.of(id(1)).damaged, std::nullopt);
  EXPECT_EQ(proofs.of(id(1)).newest(Opened, kWritten), 9u);
  proofs.note(damaged(Decompressed, {run(1, 1)}), 10, kNow);
  proofs.note({Opened, false, kNow, 11, {run(1, 1)}}, 11, kNow);
  EXPECT_EQ(proofs.of(id(1)).damaged, (PackHistory::Damage{Decompressed, 10})) << "opening does not show it";
}

TEST(WalProofs, DatesThatClocksContradictAreGoneAndTheOrderStays) {
  WalProofs proofs;
  proofs.note(sound(Opened, {run(0, 0)}, kNow + hours(900)), 5, kNow + hours(900));
  proofs.note(sound(Opened, {run(1, 1)}, kNow + hours(9)), 6, kNow);
  proofs.note_time(kNow);
  EXPECT_EQ(proofs.of(id(0)).read(Opened, kWritten), std::nullopt);
  EXPECT_EQ(proofs.of(id(0)).newest(Opened, kWritten), 5u);
  EXPECT_EQ(proofs.of(id(1)).read(Opened, kWritten), kNow) << "no younger than its entry";
  for (const auto time : {TimePoint::max(), TimePoint::min(), TimePoint{}}) {
    WalProofs strange;
    strange.note(sound(Opened, {run(0, 0)}, time), 5, time);
    strange.note_time(TimePoint::min());
    strange.note_time(TimePoint::max());
    EXPECT_EQ(strange.of(id(0)).read(Opened, kWritten), std::nullopt);
  }
}

TEST(WalProofs, BelowAFloorNothingIsRemembered) {
  WalProofs proofs;
  proofs.note(sound(Opened, {run(0, 99), run(0, 99, wal_place(1, kMiB16, true)), run(0, 99, wal_place(2))}), 5, kNow);
  const auto lsn = std::uint64_t{40} * kMiB16 + 1;
  proofs.forget_before({7, Incarnation(2)}, 1, lsn);
  EXPECT_EQ(proofs.of(id(0)).newest(Opened, kWritten), 5u) << "another incarnation's";
  proofs.forget_before({7, Incarnation(1)}, 1, lsn, {{std::uint64_t{30} * kMiB16, std::uint64_t{32} * kMiB16}, {std::uint64_t{10} * kMiB16 + 5, std::uint64_t{10} * kMiB16 + 5}});
  for (const bool partial : {false, true})
    for (std::uint64_t number = 0; number < 100; ++number)
      EXPECT_EQ(proofs.of(id(number, wal_place(1, kMiB16, partial))).newest(Opened, kWritten) != 0, number >= 40 || number == 10 || (number >= 30 && number <= 32)) << number;
  EXPECT_EQ(proofs.of(id(0, wal_place(2))).newest(Opened, kWritten), 5u);
  proofs.forget_before({7, Incarnation(1)}, 1, UINT64_MAX);
  proofs.forget_before({7, Incarnation(1)}, 2, UINT64_MAX);
  EXPECT_EQ(proofs.pieces(), 0u);
}

/// Against a fold that keeps every segment by itself, with random logs and clocks.
TEST(WalProofs, RunsAreWhatEachSegmentByItselfWouldBe) {
  const auto seed = test_seed();
  SCOPED_TRACE(fmt::format("PGMINT_TEST_SEED={}", seed));
  SeededRandom random(seed);
  constexpr std::uint64_t kNumbers = 24;
  constexpr std::array kDepths = {Opened, Decompressed, Hashed};
  for (int round = 0; round < 300; ++round) {
    WalProofs proofs;
    std::map<WalSegmentId, WalHistory> simple;
    for (std::uint64_t seq = 1; seq < 40; ++seq) {
      const auto time = kNow + std::chrono::minutes(random.below(600));
      const auto place = wal_place(1 + static_cast<std::uint32_t>(random.below(2)));
      const auto first = random.below(kNumbers), last = first + random.below(kNumbers - first);
      const auto depth = kDepths[random.below(3)];
      switch (random.below(5)) {
        case 0:
          proofs.forget_before({7, Incarnation(1)}, place.timeline, first * kMiB16);
          std::erase_if(simple, [&](const auto& one) { return one.first.place == place && one.first.number < first; });
          break;
        case 1:
          proofs.note_time(time);
          for (auto& [segment, history] : simple)
            for (auto& proof : history.proofs)
              if (proof.read > time + hours(1)) proof.read = {};
          break;
        default: {
          const bool bad = random.below(3) == 0;
          const auto read = kNow + std::chrono::minutes(random.below(600));
          const auto seen = random.below(seq + 1);
          const auto oldest = kWritten + seconds(random.below(3)), newest = oldest + seconds(random.below(3));
          proofs.note({depth, bad, read, seen, {{place, first, last, oldest, newest}}}, seq, time);
          if (depth == Hashed && !bad) break;
          for (auto number = first; number <= last; ++number) {
            auto& history = simple[{place, number}];
            if (bad) {
              history.proofs = {};
              history.damaged = {std::max(history.damaged.value_or(PackHistory::Damage{Hashed, 0}).depth, depth), seq};
            } else if (!history.damaged || seen > history.damaged->seq) {
              history.proofs[static_cast<std::size_t>(depth) - 1] = {seq, std::min(read, time), oldest, newest};
              if (history.damaged && history.damaged->depth <= depth) history.damaged.reset();
            }
          }
        }
      }
      for (std::uint32_t timeline = 1; timeline < 3; ++timeline)
        for (std::uint64_t number = 0; number < kNumbers; ++number) {
          const auto known = simple.find(id(number, wal_place(timeline)));
          ASSERT_EQ(proofs.of(id(number, wal_place(timeline))), known == simple.end() ? WalHistory{} : known->second) << "round " << round << " seq " << seq << " segment " << number;
        }
    }
  }
}

// --- in the fold

class WalProofsOfALog : public testing::Test, public LogFixture {
 protected:
  WalProofsOfALog() { EXPECT_TRUE(genesis()); }
  Status verified(ProofDepth depth, std::vector<WalRun> runs, bool bad = false) {
    return write(AuditEntry{"WAL verified", "", {}, {}, {{depth, bad, now, state.next_seq(), std::move(runs)}}});
  }
  const WalHistory& of(std::uint64_t number) { return state.wal_proofs().of(id(number)); }
};

TEST_F(WalProofsOfALog, AnAuditEntryProvesAndAFloorForgets) {
  ASSERT_TRUE(verified(Opened, {run(0, 9)}));
  const auto seq = state.next_seq() - 1;
  EXPECT_EQ(of(0).newest(Opened, kWritten), seq);
  EXPECT_EQ(of(9).read(Opened, kWritten), now);
  ASSERT_TRUE(write(FloorEntry{{{7, Incarnation(1), 1, std::uint64_t{3} * kMiB16}}}));
  EXPECT_EQ(of(2), WalHistory{});
  EXPECT_EQ(of(3).newest(Opened, kWritten), seq);
}

TEST_F(WalProofsOfALog, BelowAWindowFloorStaysWhatALiveBackupNeeds) {
  ASSERT_TRUE(backup(2, {pack(2, 0)}));  // of segment 0
  ASSERT_TRUE(verified(Opened, {run(0, 9)}));
  ASSERT_TRUE(write(FloorEntry{{}, {{7, Incarnation(1), 1, std::uint64_t{3} * kMiB16}}}));
  EXPECT_NE(of(0).newest(Opened, kWritten), 0u);
  EXPECT_EQ(of(1), WalHistory{});
  EXPECT_EQ(of(2), WalHistory{});
  EXPECT_NE(of(3).newest(Opened, kWritten), 0u);
}

TEST_F(WalProofsOfALog, AVoidEntryProvesNothing) {
  actor = public_key(9);
  EXPECT_FALSE(verified(Opened, {run(0, 9)}));
  actor = public_key(kRoot);
  EXPECT_EQ(of(0), WalHistory{});
}

TEST_F(WalProofsOfALog, AnyLaterEntryContradictsADateFromTheFuture) {
  const auto right = now;
  now = right + hours(1000);
  ASSERT_TRUE(verified(Opened, {run(0, 9)}));
  now = right;
  ASSERT_TRUE(begin(5));
  EXPECT_FALSE(of(0).read(Opened, kWritten));
  EXPECT_NE(of(0).newest(Opened, kWritten), 0u);
}

/// Otherwise a host with a wrong clock that verifies would confirm by it the time at which old backups go.
TEST_F(WalProofsOfALog, VerifyingSaysNothingOfTheTime) {
  const auto before = state.last_activity();
  now += hours(1000);
  ASSERT_TRUE(verified(Opened, {run(0, 9)}));
  EXPECT_EQ(state.last_activity(), before);
}

/// 30 days of WAL of a cluster, 100,000 segments, of which new ones come and old ones go each day; a twentieth verified each night,
/// by the order in which verify takes them: what the log and memory grow by.
TEST_F(WalProofsOfALog, TwentiethsOfAHundredThousandSegmentsStaySmall) {
  constexpr std::uint64_t kDay = 3'334, kKept = 30;
  std::size_t most = 0, pieces = 0;
  std::uint64_t unproven_at_the_end = 0;
  for (std::uint64_t night = kKept; night < kKept + 30; ++night) {
    now += hours(24);
    std::vector<ListedSegment> wal;
    for (auto number = (night - kKept) * kDay; number < night * kDay; ++number) wal.push_back({stored(number, at_second(0) + seconds(number * 3)), 1 << 20});
    auto chosen = choose_wal(std::move(wal), state.wal_proofs(), Opened, {now, now}, {.share = 50'000});
    std::vector<StoredSegment> read;
    for (const auto& one : chosen.read) read.push_back(one.segment);
    auto runs = wal_runs_of(std::move(read));
    codec::BinaryWriter out;
    write_wal_runs(out, runs);
    most = std::max(most, out.size());
    ASSERT_TRUE(verified(Opened, std::move(runs)));
    ASSERT_TRUE(write(FloorEntry{{{7, Incarnation(1), 1, (night + 1 - kKept) * kDay * kMiB16}}}));
    pieces = std::max(pieces, state.wal_proofs().pieces());
    unproven_at_the_end = chosen.left.unproven_segments;
  }
  fmt::print("{} bytes a night, {} pieces in memory\n", most, pieces);
  EXPECT_LE(most, 200u);
  EXPECT_LE(pieces, 100u);
  EXPECT_LT(unproven_at_the_end, kDay * kKept / 2) << "the share is more than what comes in a day";
}

}  // namespace
}  // namespace pgmint::repository

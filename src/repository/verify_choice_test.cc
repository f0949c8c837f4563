#include "repository/verify_choice.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/test_seed.h"
#include "repository/log_fixture.h"

namespace pgmint::repository {
namespace {

using std::chrono::hours;
using enum ProofDepth;
constexpr hours kDay{24};
const TimePoint kNow = at_second(0) + 1000 * kDay;

class VerifyChoiceTest : public testing::Test {
 protected:
  std::vector<PackSummary> packs;
  PackProofs proofs;
  ProofClock clock{kNow, kNow};
  std::uint64_t seq = 0;

  void add(std::uint32_t number, std::uint64_t size) { packs.push_back({pack_id(1, number), size, {}}); }
  void prove(std::uint32_t number, TimePoint read, ProofDepth depth = Opened) {
    proofs.note({depth, false, read, seq + 1, {{session_id(1), number, number}}}, ++seq, read);
  }
  void spoil(std::uint32_t number) { proofs.note({Opened, true, kNow, 0, {{session_id(1), number, number}}}, ++seq, kNow); }
  ChosenPacks choose(const VerifyChoice& choice, ProofDepth depth = Opened) { return choose_packs(packs, proofs, depth, clock, choice); }
  static std::vector<std::uint32_t> numbers(const ChosenPacks& chosen) {
    std::vector<std::uint32_t> all;
    for (const auto& pack : chosen.read) all.push_back(pack.id.number);
    std::ranges::sort(all);
    return all;
  }
  using Numbers = std::vector<std::uint32_t>;
};

TEST_F(VerifyChoiceTest, OlderThanLeavesOutWhatIsProvenSince) {
  for (std::uint32_t i = 0; i < 5; ++i) add(i, 100);
  prove(0, kNow - 29 * kDay);
  prove(1, kNow - 31 * kDay);
  prove(2, kNow - 30 * kDay);
  prove(3, kNow - kDay, Hashed);
  const auto chosen = choose({.older_than = 30 * kDay});
  EXPECT_EQ(numbers(chosen), (Numbers{1, 3, 4})) << "of 31 days, hashed only, never read";
  EXPECT_EQ(chosen.left.packs, 2u);
  EXPECT_EQ(chosen.left.bytes, 200u);
  EXPECT_EQ(chosen.left.unproven_packs, 0u);
  EXPECT_EQ(chosen.left.oldest, kNow - 30 * kDay);
  EXPECT_EQ(chosen.left.newest, kNow - 29 * kDay);
  EXPECT_EQ(numbers(choose({.older_than = 30 * kDay}, Hashed)), (Numbers{1, 4}));
  EXPECT_EQ(numbers(choose({.older_than = 30 * kDay}, Decompressed)), (Numbers{0, 1, 2, 3, 4}));
}

TEST_F(VerifyChoiceTest, AProofFromTheFutureIsNone) {
  add(0, 100);
  prove(0, kNow);
  clock = {kNow - hours(2), kNow};
  EXPECT_EQ(numbers(choose({.older_than = 30 * kDay})), (Numbers{0})) << "one of the clocks says that it is yet to come";
  clock = {kNow - hours(1), kNow};
  EXPECT_EQ(numbers(choose({.older_than = 30 * kDay})), (Numbers{}));
}

TEST_F(VerifyChoiceTest, AClockThatIsBehindMakesNothingYounger) {
  add(0, 100);
  prove(0, kNow - 31 * kDay);
  clock = {kNow - 20 * kDay, kNow};  // the store's, or the log's last entry, know better
  EXPECT_EQ(numbers(choose({.older_than = 30 * kDay})), (Numbers{0}));
}

TEST_F(VerifyChoiceTest, DamagedPacksAreReadWhateverElseIsChosen) {
  for (std::uint32_t i = 0; i < 10; ++i) add(i, 100);
  for (std::uint32_t i = 0; i < 10; ++i) prove(i, kNow);
  spoil(3);
  spoil(7);
  EXPECT_EQ(numbers(choose({.older_than = 30 * kDay})), (Numbers{3, 7}));
  EXPECT_EQ(numbers(choose({.share = 200'000})), (Numbers{0, 1, 3, 7})) << "and they use up nothing of the share";
  prove(3, kNow, Hashed);
  EXPECT_EQ(numbers(choose({.older_than = 30 * kDay})), (Numbers{3, 7}));
  prove(3, kNow, Opened);
  EXPECT_EQ(numbers(choose({.older_than = 30 * kDay})), (Numbers{7}));
}

TEST_F(VerifyChoiceTest, AShareBeginsWithWhatWasNeverReadAndGoesOnByTheLogsOrder) {
  for (std::uint32_t i = 0; i < 4; ++i) add(i, 100);
  prove(2, kNow + 300 * kDay);  // a clock ran ahead
  prove(0, kNow);
  prove(1, kNow - 300 * kDay);
  EXPECT_EQ(numbers(choose({.share = 250'000})), (Numbers{3}));
  EXPECT_EQ(numbers(choose({.share = 500'000})), (Numbers{2, 3}));
  EXPECT_EQ(numbers(choose({.share = 750'000})), (Numbers{0, 2, 3}));
}

TEST_F(VerifyChoiceTest, AShareIsOfAllBytesAndHasOnePackAtLeast) {
  add(0, 1'000'000'000'000);
  add(1, 10);
  EXPECT_EQ(numbers(choose({.share = 1})), (Numbers{0}));
  prove(0, kNow);
  EXPECT_EQ(numbers(choose({.share = 1})), (Numbers{0, 1})) << "ten bytes are not a millionth";
  EXPECT_EQ(numbers(choose({.older_than = kDay, .share = 1})), (Numbers{1})) << "but all that is due";
  EXPECT_EQ(numbers(choose({.share = 1'000'000})), (Numbers{0, 1}));
  const auto chosen = choose({.older_than = kDay, .share = 1});
  EXPECT_EQ(chosen.left.packs, 1u);
  packs.clear();
  EXPECT_EQ(numbers(choose({.share = 1})), (Numbers{}));
}

/// Whatever the sizes, after 1 / share runs every byte was read, and none twice before the last.
TEST_F(VerifyChoiceTest, SharesAddUpToEverything) {
  const auto seed = test_seed();
  SCOPED_TRACE(fmt::format("PGMINT_TEST_SEED={}", seed));
  SeededRandom random(seed);
  for (int round = 0; round < 200; ++round) {
    packs.clear();
    proofs = {};
    seq = 0;
    std::set<PackId> unread;
    for (std::uint64_t i = 0, n = 1 + random.below(60); i < n; ++i) {
      const auto size = 1 + (random.below(4) == 0 ? random.below(1'000'000'000'000) : random.below(1000));
      packs.push_back({pack_id(static_cast<unsigned>(random.below(3)), static_cast<std::uint32_t>(i)), size, {}});
      unread.insert(packs.back().id);
      if (random.below(3) == 0)  // proven before, with whatever clock
        proofs.note({Opened, false, kNow + kDay * (static_cast<int>(random.below(400)) - 200), 0, runs_of({packs.back().id})}, ++seq, kNow);
    }
    std::uint64_t bytes = 0;
    for (const auto& pack : packs) bytes += pack.size;
    const auto share = static_cast<std::uint32_t>(1 + (round % 2 == 0 ? random.below(1'000'000) : 10'000 + random.below(200'000)));
    const auto runs = (1'000'000 + share - 1) / share;
    if (runs > 2000) continue;
    for (std::uint64_t run = 0; run < runs; ++run) {
      const auto chosen = choose({.share = share});
      std::uint64_t taken = 0;
      std::vector<PackId> read;
      for (const auto& pack : chosen.read) {
        taken += pack.size;
        read.push_back(pack.id);
        unread.erase(pack.id);
      }
      ASSERT_FALSE(read.empty());
      ASSERT_GE(static_cast<long double>(taken) * 1'000'000, static_cast<long double>(bytes) * share) << "share " << share;
      EXPECT_EQ(chosen.left.packs + chosen.left.unproven_packs + chosen.read.size(), packs.size());
      EXPECT_EQ(chosen.left.bytes + chosen.left.unproven_bytes + taken, bytes);
      // Each run is written down with a clock of its own; that must not matter.
      const auto time = kNow + kDay * (static_cast<int>(random.below(400)) - 200);
      proofs.note({Opened, false, time, 0, runs_of(std::move(read))}, ++seq, time);
      proofs.note_time(time);
    }
    EXPECT_TRUE(unread.empty()) << unread.size() << " of " << packs.size() << " packs left out, share " << share << ", round " << round;
  }
}

TEST_F(VerifyChoiceTest, TheClockIsTheEarliestForDatesAndTheLatestForAges) {
  LogFixture log;
  log.now = kNow + hours(5);
  ASSERT_TRUE(log.genesis());
  const auto clock_now = ProofClock::of(kNow, kNow + hours(2), log.state);
  EXPECT_EQ(clock_now.earliest, kNow);
  EXPECT_EQ(clock_now.latest, kNow + hours(5));
  const auto without_store = ProofClock::of(kNow + hours(9), std::nullopt, log.state);
  EXPECT_EQ(without_store.earliest, kNow + hours(9));
  EXPECT_EQ(without_store.latest, kNow + hours(9));
}

TEST_F(VerifyChoiceTest, WhatIsProvenCountsEachPackOfLiveBackupsOnce) {
  LogFixture log;
  ASSERT_TRUE(log.genesis());
  ASSERT_TRUE(log.backup(1, {pack(1, 0), pack(1, 1)}));
  ASSERT_TRUE(log.backup(2, {pack(2, 0)}, 1, {pack_id(1, 1)}));
  ASSERT_TRUE(log.write(AuditEntry{"packs verified", "", {{Opened, false, kNow, 0, {{session_id(1), 0, 1}}}}}));
  const ProofClock now{log.now, log.now};
  const auto all = what_is_proven(log.state, std::nullopt, now);
  EXPECT_EQ(all.packs, 2u);
  EXPECT_EQ(all.bytes, 201u);
  EXPECT_EQ(all.unproven_packs, 1u);
  EXPECT_EQ(all.unproven_bytes, 100u);
  const auto second = what_is_proven(log.state, session_id(2), now);
  EXPECT_EQ(second.packs, 1u);
  EXPECT_EQ(second.unproven_packs, 1u);
  ASSERT_TRUE(log.write(ForgetEntry{session_id(1)}));
  EXPECT_EQ(what_is_proven(log.state, std::nullopt, now).packs, 1u);
}

TEST_F(VerifyChoiceTest, SinceWhenWhatWasNeverReadIsThereIsNotHiddenByWhatWasRead) {
  LogFixture log;
  ASSERT_TRUE(log.genesis());
  ASSERT_TRUE(log.backup(1, {pack(1, 0), pack(1, 1)}));
  log.now += std::chrono::hours(24);
  ASSERT_TRUE(log.backup(2, {pack(2, 0)}, 1, {pack_id(1, 1)}));
  log.now += std::chrono::hours(24);
  const auto first = log.state.snapshots().at(session_id(1)).committed, second = log.state.snapshots().at(session_id(2)).committed;
  ASSERT_LT(first, second);
  const auto since = [&] { return what_is_proven(log.state, std::nullopt, ProofClock{log.now, log.now}).unproven_since; };
  EXPECT_EQ(since(), first);
  ASSERT_TRUE(log.write(AuditEntry{"packs verified", "", {{Opened, false, log.now, 0, {{session_id(1), 0, 0}}}}}));
  EXPECT_EQ(since(), first) << "1/1 was never read";
  ASSERT_TRUE(log.write(AuditEntry{"packs verified", "", {{Opened, false, log.now, 0, {{session_id(1), 0, 1}}}}}));
  EXPECT_EQ(since(), second);
  ASSERT_TRUE(log.write(AuditEntry{"packs verified", "", {{Opened, false, log.now, 0, {{session_id(2), 0, 0}}}}}));
  EXPECT_EQ(since(), std::nullopt);
}

}  // namespace
}  // namespace pgmint::repository

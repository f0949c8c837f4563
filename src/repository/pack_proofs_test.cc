#include "repository/pack_proofs.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/test_seed.h"
#include "repository/log_fixture.h"

namespace pgmint::repository {
namespace {

using std::chrono::hours;
using enum ProofDepth;
constexpr std::array kDepths = {Hashed, Opened, Decompressed};

constexpr std::uint64_t kSeenAll = ~std::uint64_t{0};

PacksRead sound(ProofDepth depth, std::vector<PackRun> packs, TimePoint read) { return {depth, false, read, kSeenAll, std::move(packs)}; }
PacksRead damaged(ProofDepth depth, std::vector<PackRun> packs) { return {depth, true, at_second(0), kSeenAll, std::move(packs)}; }
PackRun run(unsigned session, std::uint32_t first, std::uint32_t last) { return {session_id(session), first, last}; }
const TimePoint kNow = at_second(0);

TEST(PackProofs, ADeeperProofIsOneOfWhatItShowsToo) {
  PackProofs proofs;
  proofs.note(sound(Opened, {run(1, 0, 9)}, kNow), 5, kNow);
  proofs.note(sound(Decompressed, {run(1, 3, 3)}, kNow + hours(1)), 6, kNow + hours(1));
  proofs.note(sound(Hashed, {run(1, 4, 4)}, kNow + hours(2)), 7, kNow + hours(2));
  EXPECT_EQ(proofs.of(pack_id(1, 0)).newest(Hashed), 5u);
  EXPECT_EQ(proofs.of(pack_id(1, 0)).newest(Decompressed), 0u);
  EXPECT_EQ(proofs.of(pack_id(1, 3)).newest(Hashed), 6u);
  EXPECT_EQ(proofs.of(pack_id(1, 3)).read(Opened), kNow + hours(1));
  EXPECT_EQ(proofs.of(pack_id(1, 4)).newest(Hashed), 7u);
  EXPECT_EQ(proofs.of(pack_id(1, 4)).newest(Opened), 5u) << "hashing shows less than opening";
  EXPECT_EQ(proofs.of(pack_id(1, 4)).read(Opened), kNow);
  EXPECT_EQ(proofs.of(pack_id(1, 10)), PackHistory{});
  EXPECT_EQ(proofs.of(pack_id(2, 3)), PackHistory{});
}

TEST(PackProofs, DamageTakesEveryProofBackUntilThePackIsSoundAtThatDepth) {
  PackProofs proofs;
  for (auto depth : kDepths) proofs.note(sound(depth, {run(1, 0, 2)}, kNow), 5, kNow);
  proofs.note(damaged(Opened, {run(1, 1, 1)}), 6, kNow);
  EXPECT_EQ(proofs.of(pack_id(1, 1)).newest(Hashed), 0u);
  EXPECT_EQ(proofs.of(pack_id(1, 1)).damaged, (PackHistory::Damage{Opened, 6}));
  EXPECT_EQ(proofs.of(pack_id(1, 0)).newest(Decompressed), 5u);
  EXPECT_EQ(proofs.of(pack_id(1, 2)).newest(Decompressed), 5u);
  proofs.note(sound(Hashed, {run(1, 0, 2)}, kNow), 7, kNow);
  EXPECT_EQ(proofs.of(pack_id(1, 1)).damaged, (PackHistory::Damage{Opened, 6})) << "who did not look so far cannot tell";
  proofs.note(damaged(Hashed, {run(1, 1, 1)}), 8, kNow);
  EXPECT_EQ(proofs.of(pack_id(1, 1)).damaged, (PackHistory::Damage{Opened, 8}));
  EXPECT_EQ(proofs.of(pack_id(1, 1)).newest(Hashed), 0u);
  proofs.note(sound(Decompressed, {run(1, 1, 1)}, kNow), 9, kNow);
  EXPECT_EQ(proofs.of(pack_id(1, 1)).damaged, std::nullopt);
  EXPECT_EQ(proofs.of(pack_id(1, 1)).newest(Opened), 9u);
}

/// Two verify at once: one reads the pack before it is spoilt and writes last.
TEST(PackProofs, WhoDidNotKnowOfDamageCannotSayThatItIsGone) {
  PackProofs proofs;
  proofs.note(damaged(Hashed, {run(1, 1, 1)}), 6, kNow);
  proofs.note({Decompressed, false, kNow, 6, {run(1, 0, 2)}}, 7, kNow);
  EXPECT_EQ(proofs.of(pack_id(1, 1)).damaged, (PackHistory::Damage{Hashed, 6}));
  EXPECT_EQ(proofs.of(pack_id(1, 1)).newest(Hashed), 0u);
  EXPECT_EQ(proofs.of(pack_id(1, 0)).newest(Hashed), 7u);
  proofs.note({Hashed, false, kNow, 7, {run(1, 0, 2)}}, 8, kNow);
  EXPECT_EQ(proofs.of(pack_id(1, 1)).damaged, std::nullopt);
  EXPECT_EQ(proofs.of(pack_id(1, 1)).newest(Hashed), 8u);
}

TEST(PackProofs, APurgedPackDropsOutOfItsRun) {
  PackProofs proofs;
  proofs.note(sound(Opened, {run(1, 0, 2), run(2, 0, UINT32_MAX)}, kNow), 5, kNow);
  for (const auto& pack : {pack_id(1, 1), pack_id(2, 0), pack_id(2, UINT32_MAX), pack_id(3, 7)}) {
    proofs.forget(pack);
    EXPECT_EQ(proofs.of(pack), PackHistory{});
  }
  EXPECT_EQ(proofs.of(pack_id(1, 0)).newest(Opened), 5u);
  EXPECT_EQ(proofs.of(pack_id(1, 2)).newest(Opened), 5u);
  EXPECT_EQ(proofs.of(pack_id(2, UINT32_MAX - 1)).newest(Opened), 5u);
}

TEST(PackProofs, AProofIsNoYoungerThanItsEntry) {
  PackProofs proofs;
  proofs.note(sound(Opened, {run(1, 0, 0)}, kNow + hours(10)), 5, kNow);
  proofs.note(sound(Opened, {run(1, 1, 1)}, kNow - hours(10)), 5, kNow);
  EXPECT_EQ(proofs.of(pack_id(1, 0)).read(Opened), kNow);
  EXPECT_EQ(proofs.of(pack_id(1, 1)).read(Opened), kNow - hours(10)) << "it was read before it was written down";
}

/// A verifier's clock ran ahead, and somebody with another clock wrote after it.
TEST(PackProofs, ADateThatALaterEntryContradictsIsGoneForEver) {
  PackProofs proofs;
  proofs.note(sound(Opened, {run(1, 0, 0)}, kNow + hours(24 * 365)), 5, kNow + hours(24 * 365));
  proofs.note(sound(Opened, {run(1, 1, 1)}, kNow), 6, kNow);
  proofs.note_time(kNow);
  proofs.note_time(kNow + hours(24 * 365 * 2));
  const auto& history = proofs.of(pack_id(1, 0));
  EXPECT_EQ(history.read(Opened), std::nullopt);
  EXPECT_EQ(history.newest(Opened), 5u) << "what came first is known without clocks";
  EXPECT_EQ(proofs.of(pack_id(1, 1)).read(Opened), kNow);
}

TEST(PackProofs, ClocksMayBeALittleApart) {
  PackProofs proofs;
  proofs.note(sound(Opened, {run(1, 0, 0)}, kNow), 5, kNow);
  proofs.note_time(kNow - hours(1));
  EXPECT_EQ(proofs.of(pack_id(1, 0)).read(Opened), kNow);
  proofs.note_time(kNow - hours(1) - std::chrono::microseconds(1));
  EXPECT_EQ(proofs.of(pack_id(1, 0)).read(Opened), std::nullopt);
}

TEST(PackProofs, TimesFromOutsideHaveNoEdges) {
  for (const auto time : {TimePoint::max(), TimePoint::min(), TimePoint{}, TimePoint(std::chrono::microseconds(-1))}) {
    PackProofs proofs;
    proofs.note(sound(Opened, {run(1, 0, 0)}, time), 5, time);
    proofs.note_time(TimePoint::min());
    proofs.note_time(TimePoint::max());
    EXPECT_EQ(proofs.of(pack_id(1, 0)).read(Opened), std::nullopt);
  }
}

/// Against a fold that keeps every pack by itself.
TEST(PackProofs, RunsAreWhatEachPackByItselfWouldBe) {
  const auto seed = test_seed();
  SCOPED_TRACE(fmt::format("PGMINT_TEST_SEED={}", seed));
  SeededRandom random(seed);
  constexpr std::uint32_t kNumbers = 24;
  for (int round = 0; round < 300; ++round) {
    PackProofs proofs;
    std::map<PackId, PackHistory> simple;
    for (std::uint64_t seq = 1; seq < 40; ++seq) {
      const auto time = kNow + std::chrono::minutes(random.below(600));
      const auto session = static_cast<unsigned>(random.below(2));
      const auto first = static_cast<std::uint32_t>(random.below(kNumbers));
      const auto last = first + static_cast<std::uint32_t>(random.below(kNumbers - first));
      const auto depth = kDepths[random.below(3)];
      switch (random.below(4)) {
        case 0: {
          const PackId pack{session_id(session), first};
          proofs.forget(pack);
          simple.erase(pack);
          break;
        }
        case 1:
          proofs.note_time(time);
          for (auto& [id, history] : simple)
            for (auto& proof : history.proofs)
              if (proof.read > time + hours(1)) proof.read = {};
          break;
        default: {
          const bool bad = random.below(3) == 0;
          const auto read = kNow + std::chrono::minutes(random.below(600));
          const auto seen = random.below(seq + 1);
          proofs.note({depth, bad, read, seen, {run(session, first, last)}}, seq, time);
          for (auto number = first; number <= last; ++number) {
            auto& history = simple[{session_id(session), number}];
            if (bad) {
              history.proofs = {};
              history.damaged = {std::max(history.damaged.value_or(PackHistory::Damage{Hashed, 0}).depth, depth), seq};
            } else if (!history.damaged || seen > history.damaged->seq) {
              history.proofs[static_cast<std::size_t>(depth) - 1] = {seq, std::min(read, time)};
              if (history.damaged && history.damaged->depth <= depth) history.damaged.reset();
            }
          }
        }
      }
      for (unsigned s = 0; s < 2; ++s)
        for (std::uint32_t number = 0; number < kNumbers; ++number) {
          const PackId pack{session_id(s), number};
          const auto known = simple.find(pack);
          ASSERT_EQ(proofs.of(pack), known == simple.end() ? PackHistory{} : known->second) << "round " << round << " seq " << seq << " pack " << s << "-" << number;
        }
    }
  }
}

// --- in the fold

class ProofsOfALog : public testing::Test, public LogFixture {
 protected:
  ProofsOfALog() {
    EXPECT_TRUE(genesis());
    EXPECT_TRUE(backup(2, {pack(2, 0), pack(2, 1)}));
  }
  Status verified(ProofDepth depth, std::vector<PackRun> packs, bool damaged = false) {
    return write(AuditEntry{"packs verified", "", {{depth, damaged, now, state.next_seq(), std::move(packs)}}});
  }
  const PackHistory& of(unsigned session, std::uint32_t number) { return state.pack_proofs().of(pack_id(session, number)); }
};

TEST_F(ProofsOfALog, AnAuditEntryProvesAndPurgeForgets) {
  ASSERT_TRUE(verified(Opened, {run(2, 0, 1)}));
  const auto seq = state.next_seq() - 1;
  EXPECT_EQ(of(2, 0).newest(Opened), seq);
  EXPECT_EQ(of(2, 1).read(Opened), now);
  ASSERT_TRUE(backup(3, {pack(3, 0)}, 2, {pack_id(2, 1)}));
  EXPECT_EQ(of(2, 1).newest(Opened), seq) << "still of a live backup";
  ASSERT_TRUE(write(ForgetEntry{session_id(2)}));
  ASSERT_TRUE(write(PurgeEntry{{pack_id(2, 1)}}));
  EXPECT_EQ(of(2, 1), PackHistory{});
  EXPECT_EQ(of(2, 0).newest(Opened), seq);
}

TEST_F(ProofsOfALog, AVoidEntryProvesNothing) {
  actor = public_key(9);
  EXPECT_FALSE(verified(Opened, {run(2, 0, 1)}));
  actor = public_key(kRoot);
  EXPECT_EQ(of(2, 0), PackHistory{});
}

TEST_F(ProofsOfALog, AnyLaterEntryContradictsADateFromTheFuture) {
  const auto right = now;
  now = right + hours(1000);
  ASSERT_TRUE(verified(Opened, {run(2, 0, 1)}));
  EXPECT_TRUE(of(2, 0).read(Opened));
  now = right;
  ASSERT_TRUE(begin(5));
  EXPECT_FALSE(of(2, 0).read(Opened));
  EXPECT_NE(of(2, 0).newest(Opened), 0u);
}

/// Otherwise a host with a wrong clock that verifies would confirm by it the time at which old backups go.
TEST_F(ProofsOfALog, VerifyingSaysNothingOfTheTime) {
  const auto before = state.last_activity();
  now += hours(1000);
  ASSERT_TRUE(verified(Opened, {run(2, 0, 1)}));
  EXPECT_EQ(state.last_activity(), before);
  ASSERT_TRUE(write(AuditEntry{"slot-opened", "x"}));
  EXPECT_EQ(state.last_activity(), now);
}

/// 10 TB in 2,000 backups, a twentieth verified each night, three times over: what the log grows by. The worst that may be is every other
/// pack of a backup; the usual, neighbours.
TEST_F(ProofsOfALog, TwentiethsOfTenTerabytesStaySmall) {
  constexpr unsigned kSessions = 2000;
  constexpr std::uint32_t kPacks = 160;
  for (const bool scattered : {false, true}) {
    std::size_t most = 0;
    for (unsigned night = 0; night < 60; ++night) {
      now += hours(24);
      std::vector<PackId> packs;
      for (unsigned session = 0; session < kSessions; ++session)
        for (std::uint32_t number = 0; number < kPacks; ++number)
          if ((scattered ? number : session) % 20 == night % 20) packs.push_back({session_id(100 + session), number});
      auto runs = runs_of(std::move(packs));
      codec::BinaryWriter out;
      write_pack_runs(out, runs);
      most = std::max(most, out.size());
      ASSERT_TRUE(verified(Opened, std::move(runs)));
    }
    for (std::uint32_t number = 0; number < kPacks; ++number) EXPECT_NE(of(150, number).newest(Opened), 0u) << number;
    fmt::print("{}: {} bytes a night\n", scattered ? "scattered" : "neighbours", most);
    EXPECT_LE(most, scattered ? 2u + kSessions * (17 + kPacks / 20 * 2) : 2u + kSessions / 20 * (17 + 3));
  }
}

}  // namespace
}  // namespace pgmint::repository

// What verifications leave in the log, and what later ones make of it.
#include "repository/verify_memory.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "repository/repository_fixture.h"
#include "repository/verify.h"

namespace pgmint::repository {
namespace {

using std::chrono::hours;
using enum ProofDepth;
constexpr hours kDay{24};
constexpr hours kMonth = 30 * kDay;

class VerifyMemoryTest : public testing::Test, public RepositoryFixture {
 protected:
  static VerifyOptions reading(VerifyDepth depth = VerifyDepth::Open, VerifyChoice choice = {}) {
    VerifyOptions options;
    options.depth = depth;
    options.choice = choice;
    options.remember = true;
    return options;
  }
  Result<VerifyReport> verified(const VerifyOptions& options, Repository* by = nullptr) {
    const auto other = by == nullptr ? reopened() : nullptr;
    auto found = std::move(*(by == nullptr ? *other : *by).find_cluster("main", kSystemId));
    return verify(*found, options);
  }
  VerifyReport report_of(const VerifyOptions& options, Repository* by = nullptr) {
    auto report = verified(options, by);
    EXPECT_TRUE(report) << report.failure().describe();
    return report ? *report : VerifyReport{};
  }
  /// Cancels before the read of a pack's bytes that comes after `reads` others.
  void cancel_after(std::uint64_t reads, CancelToken& cancel) {
    storage::Fault signal;
    signal.when = storage::Fault::When::Delay;
    signal.on = storage::Operation::ReadRange;
    signal.matches = [this](const std::string& name) { return name.starts_with(packs_prefix(cluster->id())); };
    signal.skip = reads;
    signal.times = 1;
    signal.then = [&cancel] { cancel.cancel(); };
    store->add(signal);
  }
  VerifyReport of_last_month(VerifyDepth depth = VerifyDepth::Open) { return report_of(reading(depth, {.older_than = kMonth})); }

  const LogState& log() {
    EXPECT_TRUE(cluster->log().refresh());
    EXPECT_TRUE(cluster->state().void_entries().empty());
    return cluster->state();
  }
  const PackHistory& of(const PackId& pack) { return log().pack_proofs().of(pack); }
  std::vector<PackId> packs() {
    std::vector<PackId> all;
    for (const auto& pack : log().live_packs()) all.push_back(pack.id);
    std::ranges::sort(all);
    return all;
  }
  std::uint64_t proven(ProofDepth depth) {
    std::uint64_t count = 0;
    for (const auto& pack : packs()) count += of(pack).newest(depth) != 0 ? 1 : 0;
    return count;
  }
  std::string name_of(const PackId& pack) { return pack_name(cluster->id(), pack); }
  Bytes flipped(const PackId& pack) {
    auto bytes = *memory->snapshot().at(name_of(pack));
    auto bad = bytes;
    bad[bad.size() / 2] ^= std::byte{4};
    memory->replace(name_of(pack), bad);
    return bytes;
  }
  static std::vector<std::string> objects(const VerifyReport& report, Finding::Severity severity = Finding::Severity::Damage) {
    std::vector<std::string> names;
    for (const auto& finding : report.findings)
      if (finding.severity == severity) names.push_back(finding.object);
    return names;
  }
  using Names = std::vector<std::string>;
  std::unique_ptr<Repository> janitor() {
    Unlock maintenance;
    maintenance.key = crypto::Key256::generate(random);
    EXPECT_TRUE(repository->add_slot(copy_of(maintenance), Role::Maintenance, "", nullptr));
    std::vector<Unlock> unlocks;
    unlocks.push_back(copy_of(maintenance));
    return std::move(*Repository::open(environment(), std::move(unlocks)));
  }
};

TEST_F(VerifyMemoryTest, WhatWasReadIsRememberedByDepthAndTime) {
  ASSERT_TRUE(backup("a", 3));
  const auto begun = clock.now();
  EXPECT_EQ(report_of(reading()).packs_read, 4u);
  clock.set(begun + kDay);
  ASSERT_TRUE(backup("b", 1));
  EXPECT_EQ(report_of(reading(VerifyDepth::Decompress, {.older_than = kMonth})).packs_read, 6u);
  for (const auto& pack : packs()) {
    EXPECT_EQ(of(pack).read(Decompressed), begun + kDay);
    EXPECT_EQ(of(pack).proofs[0], PackHistory::Proof{}) << "not said twice";
  }
  EXPECT_EQ(of(packs().front()).damaged, std::nullopt);
}

TEST_F(VerifyMemoryTest, NothingIsWrittenWithoutReadingOrUnasked) {
  ASSERT_TRUE(backup("a"));
  const auto before = log().next_seq();
  auto options = reading();
  options.remember = false;
  report_of(options);
  report_of(reading(VerifyDepth::Presence));
  EXPECT_EQ(log().next_seq(), before);
}

TEST_F(VerifyMemoryTest, OlderThanReadsWhatIsDueAndSaysWhatItRestsOn) {
  ASSERT_TRUE(backup("a", 3));
  const auto begun = clock.now();
  report_of(reading());
  clock.set(begun + kDay);
  ASSERT_TRUE(backup("b", 1));
  auto report = of_last_month();
  EXPECT_EQ(report.packs_read, 2u);
  EXPECT_EQ(report.packs, 6u);
  EXPECT_EQ(report.left.packs, 4u);
  EXPECT_EQ(report.left.oldest, begun);
  EXPECT_EQ(report.left.unproven_packs, 0u);
  EXPECT_EQ(of_last_month().packs_read, 0u);
  clock.set(begun + kMonth + hours(1));
  report = of_last_month();
  EXPECT_EQ(report.packs_read, 4u) << "their month is over";
  EXPECT_EQ(report.left.oldest, begun + kDay);
  EXPECT_EQ(of_last_month(VerifyDepth::Decompress).packs_read, 6u) << "which nobody has done yet";
  EXPECT_EQ(of_last_month().packs_read, 0u) << "and which shows more";
}

TEST_F(VerifyMemoryTest, DamageInAProvenPackIsFoundWhenItsTurnComesAndThenUntilItIsSound) {
  ASSERT_TRUE(backup("a", 3));
  report_of(reading());
  const auto pack = packs()[1];
  const auto good = flipped(pack);
  auto report = of_last_month();
  EXPECT_EQ(objects(report), Names{});
  EXPECT_EQ(report.packs_read, 0u);
  EXPECT_EQ(report.left.packs, 4u) << "it says that it did not look";
  EXPECT_EQ(objects(report_of(reading())), Names{name_of(pack)});
  EXPECT_EQ(of(pack).newest(Hashed), 0u);
  ASSERT_TRUE(of(pack).damaged);
  EXPECT_EQ(of(pack).damaged->depth, Hashed) << "another SHA-256";
  for (int i = 0; i < 2; ++i) {
    report = of_last_month();
    EXPECT_EQ(objects(report), Names{name_of(pack)});
    EXPECT_EQ(report.packs_read, 1u);
    report = report_of(reading(VerifyDepth::Open, {.share = 1}));
    EXPECT_EQ(objects(report), Names{name_of(pack)});
    EXPECT_EQ(report.packs_read, 2u);
  }
  EXPECT_EQ(objects(report_of(reading(VerifyDepth::Presence)), Finding::Severity::Warning), Names{name_of(pack)});
  memory->replace(name_of(pack), good);
  report = of_last_month();
  EXPECT_EQ(objects(report), Names{});
  EXPECT_EQ(report.packs_read, 1u);
  EXPECT_NE(of(pack).newest(Opened), 0u);
  EXPECT_EQ(of(pack).damaged, std::nullopt);
  EXPECT_EQ(of_last_month().packs_read, 0u);
}

TEST_F(VerifyMemoryTest, WhatIsMissingIsFoundAtOnceHoweverProven) {
  ASSERT_TRUE(backup("a", 3));
  report_of(reading());
  const auto all = packs();
  const auto gone = *memory->snapshot().at(name_of(all[0]));
  const auto whole = *memory->snapshot().at(name_of(all[1]));
  ASSERT_TRUE(memory->remove(name_of(all[0])));
  memory->replace(name_of(all[1]), to_bytes(ByteView(whole).first(whole.size() - 1)));
  for (const auto depth : {VerifyDepth::Presence, VerifyDepth::Open}) {
    const auto report = report_of(reading(depth, {.older_than = kMonth}));
    const auto found = objects(report);
    EXPECT_TRUE(std::ranges::count(found, name_of(all[0])) == 1 && std::ranges::count(found, name_of(all[1])) == 1);
  }
  const auto entries = log().next_seq();
  report_of(reading(VerifyDepth::Presence));
  EXPECT_EQ(log().next_seq(), entries) << "said once";
  // What comes back is read before it is believed.
  memory->replace(name_of(all[0]), gone);
  memory->replace(name_of(all[1]), whole);
  EXPECT_EQ(of_last_month().packs_read, 2u);
  EXPECT_EQ(of_last_month().packs_read, 0u);
}

TEST_F(VerifyMemoryTest, AnInterruptedRunKeepsWhatItProved) {
  ASSERT_TRUE(backup("a", 30));
  for (const auto& [depth, proof] : {std::pair(VerifyDepth::Open, Opened), std::pair(VerifyDepth::Decompress, Decompressed)}) {
    CancelToken cancel;
    auto options = reading(depth);
    options.workers = 1;
    options.cancel = &cancel;
    cancel_after(20, cancel);  // a pack takes a few reads
    const auto report = verified(options);
    ASSERT_FALSE(report);
    EXPECT_EQ(report.failure().code(), Errc::Cancelled);
    const auto kept = proven(proof);
    EXPECT_GT(kept, 0u);
    EXPECT_LT(kept, 31u);
    EXPECT_EQ(of_last_month(depth).packs_read, 31u - kept);
    EXPECT_EQ(proven(proof), 31u);
  }
}

TEST_F(VerifyMemoryTest, AWalkThatTakesTooLongAfterASignalProvesNothing) {
  ASSERT_TRUE(backup("a", 30));
  CancelToken cancel;
  auto options = reading();
  options.workers = 1;
  options.cancel = &cancel;
  cancel_after(20, cancel);
  storage::Fault slow;  // a store that takes a minute for each object of the walk
  slow.when = storage::Fault::When::Delay;
  slow.on = storage::Operation::Read;
  slow.matches = [](const std::string& name) { return name.find("/snap/") != std::string::npos; };
  slow.delay = std::chrono::minutes(1);
  store->add(slow);
  ASSERT_FALSE(verified(options));
  EXPECT_EQ(proven(Opened), 0u);
}

TEST_F(VerifyMemoryTest, AnInterruptedRunKeepsThatAPackIsDamaged) {
  ASSERT_TRUE(backup("a", 1));
  report_of(reading());
  std::vector<Bytes> good;
  for (const auto& pack : packs()) good.push_back(flipped(pack));
  CancelToken cancel;
  auto options = reading();
  options.workers = 1;
  options.cancel = &cancel;
  cancel_after(4, cancel);
  ASSERT_FALSE(verified(options));
  EXPECT_LT(proven(Opened), 2u);
  const auto all = packs();
  EXPECT_GE(std::ranges::count_if(all, [this](const PackId& pack) { return of(pack).damaged.has_value(); }), 1);
}

/// Whatever ends a run, turns that have ended count.
TEST_F(VerifyMemoryTest, EachTurnIsRememberedBeforeTheNext) {
  ASSERT_TRUE(backup("a", 10));
  auto other = reopened();
  auto found = std::move(*other->find_cluster("main", kSystemId));
  auto options = reading();
  options.workers = 1;
  options.records_at_once = 1;
  std::uint64_t packs_done = 0;
  options.progress = [&](std::uint64_t, std::uint64_t) {
    if (++packs_done < 6) return;
    storage::Fault fault;
    fault.on = storage::Operation::ReadRange;
    store->add(fault);
  };
  const auto report = verify(*found, options);
  ASSERT_FALSE(report);
  EXPECT_EQ(report.failure().code(), Errc::Storage);
  EXPECT_GT(proven(Opened), 0u);
  EXPECT_LT(proven(Opened), 11u);
}

TEST_F(VerifyMemoryTest, ATurnIsOverAfterItsTime) {
  ASSERT_TRUE(backup("a", 10));
  auto options = reading();
  EXPECT_EQ(report_of(options).walks, 1u);
  options.turn = std::chrono::seconds(0);
  options.workers = 1;
  const auto report = report_of(options);
  EXPECT_EQ(report.walks, 11u) << "a pack is taken in each, however short";
  EXPECT_EQ(report.packs_read, 11u);
}

TEST_F(VerifyMemoryTest, AMaintenanceKeyProvesByHashAndForItsOwnKind) {
  ASSERT_TRUE(backup("a", 3));
  auto janitors = janitor();
  EXPECT_EQ(report_of(reading(), janitors.get()).packs_only_hashed, 4u);
  EXPECT_EQ(proven(Hashed), 4u);
  EXPECT_EQ(proven(Opened), 0u);
  auto again = reading(VerifyDepth::Open, {.older_than = kMonth});
  EXPECT_EQ(report_of(again, janitors.get()).packs_read, 0u) << "it can do no more";
  EXPECT_EQ(of_last_month().packs_read, 4u) << "a host can";
  EXPECT_EQ(report_of(again, janitors.get()).packs_read, 0u);
}

TEST_F(VerifyMemoryTest, AKeyThatMayNotWriteVerifiesAndSaysThatNobodyRemembers) {
  ASSERT_TRUE(backup("a", 3));
  auto janitors = janitor();
  ASSERT_TRUE(write(RevokeEntry{janitors->signing_key().public_key()}));
  const auto entries = log().next_seq();
  const auto report = report_of(reading(), janitors.get());
  EXPECT_EQ(report.packs_only_hashed, 4u);
  EXPECT_FALSE(report.damaged());
  ASSERT_EQ(report.findings.size(), 1u);
  EXPECT_NE(report.findings[0].problem.find("cannot be remembered"), std::string::npos);
  EXPECT_NE(report.findings[0].problem.find("not enrolled"), std::string::npos);
  EXPECT_EQ(log().next_seq(), entries);
}

TEST_F(VerifyMemoryTest, AStoreThatTakesNothingIsVerifiedAllTheSame) {
  ASSERT_TRUE(backup("a", 3));
  storage::Fault fault;
  fault.on = storage::Operation::Create;
  fault.times = 1000;
  store->add(fault);
  const auto report = report_of(reading());
  EXPECT_EQ(report.packs_opened, 4u);
  EXPECT_EQ(objects(report, Finding::Severity::Warning).size(), 1u);
  EXPECT_EQ(proven(Hashed), 0u);
}

TEST_F(VerifyMemoryTest, AProofOfAClockThatRanAheadDoesNotLast) {
  ASSERT_TRUE(backup("a", 3));
  const auto right = clock.now();
  clock.set(right + 400 * kDay);
  report_of(reading());
  clock.set(right + hours(2));
  EXPECT_EQ(of_last_month().packs_read, 4u) << "it is yet to come";
  EXPECT_EQ(of_last_month().packs_read, 0u);
  clock.set(right + 400 * kDay);
  EXPECT_EQ(of_last_month().packs_read, 4u) << "the one of the future has not come true";
}

TEST_F(VerifyMemoryTest, TwentyTwentiethsReadEverything) {
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(backup(fmt::format("b{}", i), 5 * i + 1));
  for (int run = 0; run < 20; ++run) {
    const auto report = report_of(reading(VerifyDepth::Decompress, {.share = 50'000}));
    EXPECT_FALSE(report.damaged());
    EXPECT_GE(report.packs_read, 1u);
    EXPECT_EQ(report.packs_read + report.left.packs + report.left.unproven_packs, report.packs);
  }
  EXPECT_EQ(proven(Decompressed), packs().size());
}

/// Bundles are decompressed in the walk over the manifests: only those of packs that are read in this run.
TEST_F(VerifyMemoryTest, PacksThatAreNotReadAreNotTouched) {
  ASSERT_TRUE(backup("a", 3));
  report_of(reading(VerifyDepth::Decompress));
  const auto map_pack = name_of(packs().back());
  storage::Fault fault;
  fault.on = storage::Operation::ReadRange;
  fault.matches = [&](const std::string& name) { return name.find("/p/") != std::string::npos && name != map_pack; };
  store->add(fault);
  const auto report = report_of(reading(VerifyDepth::Decompress, {.older_than = kMonth}));
  EXPECT_EQ(report.packs_read, 0u);
  EXPECT_EQ(report.files, 3u) << "the manifest is walked all the same";
  ASSERT_FALSE(verified(reading(VerifyDepth::Decompress)));
}

TEST_F(VerifyMemoryTest, WhoVerifiesMeanwhileDoesNotTakeDamageBack) {
  ASSERT_TRUE(backup("a", 3));
  const auto pack = packs()[1];
  auto options = reading();
  options.workers = 1;
  bool once = false;
  options.progress = [&](std::uint64_t, std::uint64_t) {
    if (std::exchange(once, true)) return;
    // Somebody else comes upon the pack as a bad disk showed it to him; this run sees it as it should be.
    VerifyMemory other(*cluster);
    other.damaged(pack, Hashed);
    EXPECT_TRUE(other.write(clock.now()));
  };
  EXPECT_FALSE(report_of(options).damaged());
  EXPECT_TRUE(of(pack).damaged);
  EXPECT_EQ(of_last_month().packs_read, 1u);
  EXPECT_FALSE(of(pack).damaged) << "who knew of it looked again";
}

TEST_F(VerifyMemoryTest, MoreRunsThanAnEntryHoldsAreSeveralEntries) {
  ASSERT_TRUE(backup("a", 9));
  VerifyMemory small(*cluster, 2);
  const auto all = packs();
  ASSERT_EQ(all.size(), 10u);
  for (std::size_t i = 0; i < all.size(); i += 2) small.sound(all[i], i < 6 ? Opened : Hashed);
  small.damaged(all[1], Decompressed);
  const auto before = log().next_seq();
  ASSERT_TRUE(small.write(clock.now()));
  EXPECT_EQ(log().next_seq(), before + 3) << "six runs";
  for (std::size_t i = 0; i < all.size(); ++i) {
    EXPECT_EQ(of(all[i]).newest(Hashed) != 0, i % 2 == 0) << i;
    EXPECT_EQ(of(all[i]).newest(Opened) != 0, i % 2 == 0 && i < 6) << i;
    EXPECT_EQ(of(all[i]).damaged.has_value(), i == 1) << i;
  }
  ASSERT_TRUE(small.write(clock.now()));
  EXPECT_EQ(log().next_seq(), before + 3) << "nothing new to say";
}

}  // namespace
}  // namespace pgmint::repository

#include "repository/expire.h"

#include <gtest/gtest.h>

#include "repository/collect.h"
#include "repository/repository_fixture.h"
#include "storage/forwarding_store.h"

namespace pgmint::repository {
namespace {

using namespace std::chrono_literals;
using storage::Fault;
using storage::Operation;

class ExpireTest : public testing::Test, public RepositoryFixture {
 protected:
  static StillGoes always(std::vector<SessionId> ids) {
    return [ids = std::set<SessionId>(ids.begin(), ids.end())](const LogState&) { return ids; };
  }
};

// --- the time

TEST_F(ExpireTest, TheTimeIsThatOfTheLastEntryWhileItIsOlder) {
  ASSERT_TRUE(backup("a"));
  const auto then = clock.now();
  clock.sleep(1000h);
  EXPECT_EQ(*expire_time(*cluster), then);
}

TEST_F(ExpireTest, ItsOwnWorkDoesNotMoveTheTime) {
  const auto a = *backup("a");
  ASSERT_TRUE(backup("b"));
  const auto then = clock.now();
  clock.sleep(24h * 3650);  // a clock that is ten years ahead
  ASSERT_TRUE(forget(*cluster, {a}, always({a})));
  ASSERT_TRUE(collect(*cluster));
  EXPECT_EQ(*expire_time(*cluster), then);
}

TEST_F(ExpireTest, ThatACommandRanDoesNotMoveTheTime) {
  ASSERT_TRUE(backup("a"));
  const auto then = clock.now();
  clock.sleep(24h * 3650);
  AuditEntry listed{"command", "exit 0"};
  listed.run = CommandRun{"list", "no login", 0, clock.now()};
  ASSERT_TRUE(write(listed));
  EXPECT_EQ(*expire_time(*cluster), then);
}

TEST_F(ExpireTest, ALogThatIsAheadStopsIt) {
  ASSERT_TRUE(backup("a"));
  clock.set(clock.now() - 61min);
  const auto time = expire_time(*cluster);
  ASSERT_FALSE(time);
  EXPECT_EQ(time.failure().code(), Errc::Precondition);
  EXPECT_NE(time.failure().message().find("1 h 1 min before it"), std::string::npos) << time.failure().message();
  // The way out: an entry with the right time.
  ASSERT_TRUE(write(AuditEntry{"clock", "right again"}));
  EXPECT_EQ(*expire_time(*cluster), clock.now());
}

TEST_F(ExpireTest, HostsMayBeSomeMinutesApart) {
  ASSERT_TRUE(backup("a"));
  clock.set(clock.now() - 59min);
  EXPECT_EQ(*expire_time(*cluster), clock.now());
}

TEST_F(ExpireTest, AStoreWithAnotherClockStopsIt) {
  struct OtherClock final : storage::ForwardingStore {
    OtherClock(std::unique_ptr<BlobStore> inner, Clock& c) : ForwardingStore(std::move(inner)), clock(c) {}
    std::optional<TimePoint> store_time() override { return clock.now() + by; }
    Clock& clock;
    std::chrono::minutes by = 0min;
  };
  ASSERT_TRUE(backup("a"));
  OtherClock other(std::make_unique<storage::MemoryStore>(memory->snapshot()), clock);
  std::vector<Unlock> unlocks;
  unlocks.push_back(copy_of(unlock));
  auto opened = *Repository::open({other, clock, random, *seen, "test@host", "test"}, std::move(unlocks));
  auto seen_by_store = *opened->find_cluster("main", {});
  for (const auto by : {61min, -61min}) {
    other.by = by;
    EXPECT_EQ(expire_time(*seen_by_store).failure().code(), Errc::Precondition);
  }
  other.by = -59min;
  EXPECT_EQ(*expire_time(*seen_by_store), clock.now() - 59min);
}

TEST_F(ExpireTest, ABackupOfAClockThatWasBehindIsKnown) {
  ASSERT_TRUE(backup("a"));
  clock.set(clock.now() - 2h);
  const auto b = *backup("b");
  EXPECT_TRUE(clock_was_behind(cluster->state().snapshots().at(b)));
  clock.sleep(90min);
  const auto c = *backup("c");
  EXPECT_FALSE(clock_was_behind(cluster->state().snapshots().at(c)));
}

// --- FORGET

TEST_F(ExpireTest, ForgetsWhatGoes) {
  const auto a = *backup("a"), b = *backup("b"), c = *backup("c");
  const auto done = forget(*cluster, {a, b}, always({a, b}));
  ASSERT_TRUE(done);
  EXPECT_EQ(*done, (std::vector{a, b}));
  EXPECT_EQ(cluster->state().snapshots().size(), 1u);
  EXPECT_TRUE(cluster->state().snapshots().contains(c));
}

TEST_F(ExpireTest, IsDecidedAgainWhenOthersHaveWritten) {
  const auto a = *backup("a"), b = *backup("b");
  auto other = reopened();
  auto others = *other->find_cluster("main", {});
  Fault fault;  // our first FORGET is about to be put: somebody else forgets the backup that would have taken its place
  fault.on = Operation::Create;
  fault.code = Errc::Unknown;
  fault.times = 1;
  fault.then = [&] { EXPECT_TRUE(others->log().append(others->actor(), ForgetEntry{b})); };
  store->add(fault);
  int asked = 0;
  const auto done = forget(*cluster, {a}, [&](const LogState& state) {
    ++asked;
    return state.snapshots().contains(b) ? std::set{a} : std::set<SessionId>{};
  });
  ASSERT_TRUE(done) << done.failure().describe();
  EXPECT_TRUE(done->empty());
  EXPECT_EQ(asked, 2);
  EXPECT_TRUE(cluster->state().snapshots().contains(a)) << "both would be gone";
}

TEST_F(ExpireTest, AHoldThatComesBetweenIsRespected) {
  const auto a = *backup("a"), b = *backup("b");
  auto other = reopened();
  auto others = *other->find_cluster("main", {});
  Fault fault;
  fault.on = Operation::Create;
  fault.code = Errc::Unknown;
  fault.times = 1;
  fault.then = [&] { EXPECT_TRUE(others->log().append(others->actor(), HoldEntry{a, "audit"})); };
  store->add(fault);
  const auto done = forget(*cluster, {a, b}, always({a, b}));
  ASSERT_TRUE(done) << done.failure().describe();
  EXPECT_EQ(*done, std::vector{b});
  EXPECT_TRUE(cluster->state().snapshots().contains(a));
}

TEST_F(ExpireTest, AHoldEndsAtItsTimeAndNotBefore) {
  const auto a = *backup("a");
  ASSERT_TRUE(cluster->log().append(cluster->actor(), HoldEntry{a, "tax", clock.now() + std::chrono::hours(24)}));
  EXPECT_EQ(*forget(*cluster, {a}, always({a})), std::vector<SessionId>{});
  clock.sleep(std::chrono::hours(24));
  EXPECT_EQ(*forget(*cluster, {a}, always({a})), std::vector{a});
}

TEST_F(ExpireTest, WithoutOthersItIsDecidedOnce) {
  const auto a = *backup("a"), b = *backup("b"), c = *backup("c");
  int asked = 0;
  ASSERT_TRUE(forget(*cluster, {a, b, c}, [&](const LogState&) {
    ++asked;
    return std::set{a, b, c};
  }));
  EXPECT_EQ(asked, 1);
}

// --- FLOOR, and what would be

TEST_F(ExpireTest, NoFloorNoEntry) {
  const auto before = cluster->state().next_seq();
  const auto done = raise_floors(*cluster, [](const LogState&) { return FloorEntry{}; });
  ASSERT_TRUE(done);
  EXPECT_EQ(cluster->state().next_seq(), before);
}

TEST_F(ExpireTest, AFloorIsPlannedAnewWhenOthersHaveWritten) {
  auto other = reopened();
  auto others = *other->find_cluster("main", {});
  Fault fault;
  fault.on = Operation::Create;
  fault.code = Errc::Unknown;
  fault.times = 1;
  fault.then = [&] { EXPECT_TRUE(backup(*others, "a")); };  // starts at 1000
  store->add(fault);
  const auto done = raise_floors(*cluster, [](const LogState& state) {
    return FloorEntry{{{kSystemId, Incarnation(1), 1, state.snapshots().empty() ? 5000u : 1000u}}};
  });
  ASSERT_TRUE(done) << done.failure().describe();
  EXPECT_EQ(cluster->state().floors().at(0).lsn, 1000u);
  EXPECT_TRUE(cluster->state().void_entries().empty());
}

TEST_F(ExpireTest, WhatWouldBeIsAsWhatIs) {
  const auto a = *backup("a");
  ASSERT_TRUE(backup("b"));
  const std::vector<EntryContent> entries = {ForgetEntry{a}, FloorEntry{{{kSystemId, Incarnation(1), 1, 900}}}};
  const auto before = memory->snapshot();
  const auto state = as_if(*cluster, cluster->state(), entries);
  ASSERT_TRUE(state) << state.failure().describe();
  const auto count = count_collection(*cluster, *state);
  ASSERT_TRUE(count);
  EXPECT_EQ(memory->snapshot(), before);
  for (const auto& entry : entries) ASSERT_TRUE(write(entry));
  const auto done = *collect(*cluster);
  EXPECT_EQ(count->bytes, done.remove_bytes);
  EXPECT_EQ(count->objects, done.remove.size());
  EXPECT_EQ(count->wal_objects, done.remove_wal);
  EXPECT_EQ(count->wal_bytes, done.remove_wal_bytes);
  EXPECT_GT(count->bytes, 0u);
  EXPECT_FALSE(as_if(*cluster, cluster->state(), {ForgetEntry{a}}));
}

}  // namespace
}  // namespace pgmint::repository

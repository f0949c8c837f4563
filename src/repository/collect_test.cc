#include "repository/collect.h"

#include <gtest/gtest.h>

#include "repository/repository_fixture.h"

namespace pgmint::repository {
namespace {

using storage::Fault;
using storage::Operation;
using namespace std::chrono_literals;

class CollectTest : public testing::Test, public RepositoryFixture {
 protected:
  CollectPlan collected() {
    auto done = collect(*cluster);
    EXPECT_TRUE(done) << done.failure().describe();
    return done ? *done : CollectPlan{};
  }
  /// A session that put `packs` packs and a root, and then died.
  std::unique_ptr<WriteSession> dead_session(int packs) {
    auto session = *WriteSession::begin(*cluster, {});
    for (int i = 0; i < packs; ++i) EXPECT_TRUE(session->upload(make_pack(*cluster, session->next_pack())));
    const auto object = seal_root(root_of(*session, "dead"), cluster->context(), cluster->keys().map_key, random);
    EXPECT_TRUE(memory->create(manifest_name(cluster->id(), session->id()), object));
    return session;
  }
  void put(const PackId& pack) { memory->replace(pack_name(cluster->id(), pack), to_bytes(make_pack(*cluster, pack).data)); }
};

TEST_F(CollectTest, NothingOfALiveBackupGoes) {
  const auto id = *backup("a");
  clock.sleep(100h);
  const auto done = collected();
  EXPECT_TRUE(done.remove.empty());
  EXPECT_EQ(done.live_packs, 2u);
  EXPECT_TRUE(has({id, 0}) && has({id, 1}) && has_root(id));
}

TEST_F(CollectTest, AForgottenBackupIsPurgedAndRemoved) {
  const auto id = *backup("a");
  ASSERT_TRUE(write(ForgetEntry{id}));
  const auto done = collected();
  EXPECT_EQ(done.purge.size(), 2u);
  EXPECT_EQ(done.remove.size(), 3u);
  EXPECT_FALSE(has({id, 0}) || has({id, 1}) || has_root(id));
  EXPECT_TRUE(cluster->state().purged_packs().contains({id, 0}));
}

TEST_F(CollectTest, RootsAreGoneBeforeThePacksAreHandedToTheStore) {
  // A store may remove what it is given at once in any order.
  struct WatchingStore final : storage::ForwardingStore {
    using ForwardingStore::ForwardingStore;
    Status remove_all(std::span<const std::string> names) override {
      batches.emplace_back(names.begin(), names.end());
      return ForwardingStore::remove_all(names);
    }
    std::vector<std::vector<std::string>> batches;
  };
  for (const char* name : {"a", "b"}) ASSERT_TRUE(write(ForgetEntry{*backup(name)}));
  WatchingStore watching(std::make_unique<storage::MemoryStore>(memory->snapshot()));
  std::vector<Unlock> unlocks;
  unlocks.push_back(copy_of(unlock));
  auto opened = *Repository::open({watching, clock, random, *seen, "test@host", "test"}, std::move(unlocks));
  auto other = *opened->find_cluster("main", {});
  ASSERT_EQ(collect(*other)->remove.size(), 6u);
  ASSERT_EQ(watching.batches.size(), 2u);
  EXPECT_EQ(watching.batches[0].size(), 2u);
  for (const auto& name : watching.batches[0]) EXPECT_TRUE(name.starts_with(manifests_prefix(other->id()))) << name;
  for (const auto& name : watching.batches[1]) EXPECT_TRUE(parse_pack_name(name)) << name;
}

TEST_F(CollectTest, WhatTheStoreHasLockedStaysForALaterRun) {
  struct LockingStore final : storage::ForwardingStore {
    using ForwardingStore::ForwardingStore;
    Result<std::vector<std::string>> remove_unlocked(std::span<const std::string> names) override {
      std::vector<std::string> locked;
      for (const auto& name : names)
        if (locks && parse_pack_name(name)) locked.push_back(name);
        else TRY(remove(name));
      return locked;
    }
    bool locks = true;
  };
  ASSERT_TRUE(write(ForgetEntry{*backup("a")}));
  LockingStore locking(std::make_unique<storage::MemoryStore>(memory->snapshot()));
  std::vector<Unlock> unlocks;
  unlocks.push_back(copy_of(unlock));
  auto opened = *Repository::open({locking, clock, random, *seen, "test@host", "test"}, std::move(unlocks));
  auto other = *opened->find_cluster("main", {});
  const auto first = *collect(*other);
  EXPECT_EQ(first.locked.size(), 2u);
  EXPECT_GT(first.locked_bytes, 0u);
  EXPECT_EQ(first.remove.size(), 1u) << "the root alone went";
  locking.locks = false;
  const auto second = *collect(*other);
  EXPECT_TRUE(second.locked.empty());
  EXPECT_EQ(second.remove.size(), 2u);
}

TEST_F(CollectTest, NothingIsRemovedBeforeThePurgeIsDurable) {
  const auto id = *backup("a");
  ASSERT_TRUE(write(ForgetEntry{id}));
  Fault fault;
  fault.on = Operation::Create;
  store->add(fault);
  EXPECT_FALSE(collect(*cluster));
  EXPECT_TRUE(has({id, 0}) && has({id, 1}) && has_root(id));
}

TEST_F(CollectTest, PacksThatAChildRefersToStay) {
  const auto parent = *backup("full", 1);
  const auto child = *backup(*cluster, "incr", 0, parent, {PackId{parent, 0}});
  ASSERT_TRUE(write(ForgetEntry{parent}));
  collected();
  EXPECT_FALSE(has({parent, 0}));
  EXPECT_TRUE(has({parent, 1}) && has({child, 0}));
  EXPECT_FALSE(has_root(parent));
}

TEST_F(CollectTest, WhatAnOpenSessionPinsStaysWithTheRootOfItsParent) {
  const auto id = *backup("a");
  auto pin = ReadPin::take(*cluster, id, 24h, nullptr);
  ASSERT_TRUE(write(ForgetEntry{id}));
  EXPECT_TRUE(collected().remove.empty());
  EXPECT_TRUE(has({id, 0}) && has_root(id));
  ASSERT_TRUE(pin.release(*cluster));
  EXPECT_EQ(collected().remove.size(), 3u);
}

TEST_F(CollectTest, AnOpenSessionIsLeftAloneUntilItsLeaseHasPassed) {
  auto session = dead_session(2);
  clock.sleep(23h);
  EXPECT_TRUE(collected().remove.empty());
  EXPECT_TRUE(has({session->id(), 0}));
  clock.sleep(2h);
  const auto done = collected();
  EXPECT_EQ(done.expired, std::vector{session->id()});
  EXPECT_EQ(done.remove.size(), 3u);
  EXPECT_FALSE(has({session->id(), 0}) || has_root(session->id()));
  EXPECT_EQ(cluster->state().closed_sessions().at(session->id()), Closed::ByAbort);
}

TEST_F(CollectTest, ALeaseIsJudgedByTheStoresClockWhenThatIsBehind) {
  struct SlowStore final : storage::ForwardingStore {
    SlowStore(std::unique_ptr<BlobStore> inner, Clock& c) : ForwardingStore(std::move(inner)), clock(c) {}
    std::optional<TimePoint> store_time() override { return clock.now() - 48h; }
    Clock& clock;
  };
  auto session = dead_session(1);
  clock.sleep(25h);
  SlowStore slow(std::make_unique<storage::MemoryStore>(memory->snapshot()), clock);
  std::vector<Unlock> unlocks;
  unlocks.push_back(copy_of(unlock));
  auto opened = *Repository::open({slow, clock, random, *seen, "test@host", "test"}, std::move(unlocks));
  auto other = *opened->find_cluster("main", {});
  EXPECT_TRUE(collect(*other)->expired.empty());
}

TEST_F(CollectTest, AReadersLeaseEndsItsPin) {
  const auto id = *backup("a");
  auto pin = ReadPin::take(*cluster, id, 24h, nullptr);
  ASSERT_TRUE(write(ForgetEntry{id}));
  clock.sleep(25h);
  EXPECT_EQ(collected().remove.size(), 3u);
  EXPECT_EQ(cluster->state().closed_sessions().at(*pin.session()), Closed::ByAbort);
}

TEST_F(CollectTest, ALeaseThatIsRenewedWhileCollectRunsIsRespected) {
  auto session = dead_session(1);
  clock.sleep(25h);
  auto other = reopened();
  auto others = *other->find_cluster("main", {});
  Fault fault;  // the collector's ABORT is about to be put
  fault.on = Operation::Create;
  fault.code = Errc::Unknown;
  fault.times = 1;
  fault.then = [&] {
    EXPECT_TRUE(others->log().append(others->actor(), RenewEntry{session->id(), clock.now() + 24h}));
  };
  store->add(fault);
  const auto done = collected();
  EXPECT_TRUE(done.expired.empty());
  EXPECT_TRUE(has({session->id(), 0}));
}

TEST_F(CollectTest, APackThatLandsAfterItsSessionWasSweptGoesNextTime) {
  auto session = dead_session(1);
  clock.sleep(25h);
  collected();
  put({session->id(), 7});
  EXPECT_EQ(collected().remove.size(), 1u);
  EXPECT_FALSE(has({session->id(), 7}));
}

TEST_F(CollectTest, APackOfAPublishedSessionThatNoBackupRefersToIsPurgedFirst) {
  const auto id = *backup("a");
  put({id, 9});  // the session gave up on it and it landed late
  const auto done = collected();
  EXPECT_EQ(done.purge, (std::vector<PackId>{{id, 9}}));
  EXPECT_FALSE(has({id, 9}));
  EXPECT_TRUE(has({id, 0}) && has({id, 1}));
  put({id, 9});
  const auto again = collected();
  EXPECT_TRUE(again.purge.empty());
  EXPECT_EQ(again.remove.size(), 1u);
}

TEST_F(CollectTest, PacksOfSessionsThatTheLogDoesNotKnowAreReportedAndStay) {
  const PackId stray{random.id<SessionId>(), 0};
  put(stray);
  clock.sleep(1000h);
  const auto done = collected();
  EXPECT_EQ(done.unknown.size(), 1u);
  EXPECT_GT(done.unknown_bytes, 0u);
  EXPECT_TRUE(has(stray));
}

TEST_F(CollectTest, APurgeIsPlannedAnewWhenABackupBeginsMeanwhile) {
  const auto id = *backup("a");
  auto other = reopened();
  auto others = *other->find_cluster("main", {});
  // Forgotten, but an incremental whose BEGIN wins the race for the slot before FORGET keeps its parent.
  Fault fault;
  fault.on = Operation::Create;
  fault.code = Errc::Unknown;
  fault.times = 1;
  std::unique_ptr<WriteSession> child;
  fault.then = [&] { child = *WriteSession::begin(*others, id); };
  store->add(fault);
  ASSERT_TRUE(write(ForgetEntry{id}));
  EXPECT_TRUE(collected().purge.empty());
  EXPECT_TRUE(has({id, 0}));
  ASSERT_TRUE(child->commit(root_of(*child, "b"), {}));
}

TEST_F(CollectTest, AVoidEntryStopsDeletion) {
  // Where the void entry stands there may have been the SNAP of a backup: its packs would look like a dead session's.
  const auto id = *backup("a");
  auto entry = **memory->read(log_entry_name(cluster->id(), 0, 2), kLogEntryMax);
  entry[180] ^= std::byte{1};
  memory->replace(log_entry_name(cluster->id(), 0, 2), entry);
  clock.sleep(100h);
  auto other = reopened();
  auto others = *other->open_cluster(cluster->id());
  const auto done = collect(*others);
  ASSERT_FALSE(done);
  EXPECT_EQ(done.failure().code(), Errc::Corruption);
  EXPECT_TRUE(has({id, 0}) && has({id, 1}) && has_root(id));
}

TEST_F(CollectTest, AnEntryThatWasLostSinceItWasReadStopsDeletion) {
  const auto id = *backup("a");
  ASSERT_TRUE(write(ForgetEntry{id}));
  ASSERT_TRUE(memory->remove(log_entry_name(cluster->id(), 0, 2)));
  const auto done = collect(*cluster);
  ASSERT_FALSE(done);
  EXPECT_EQ(done.failure().code(), Errc::Corruption);
  EXPECT_TRUE(has({id, 0}));
}

TEST_F(CollectTest, ThePlanSaysWhatCollectDoesAndChangesNothing) {
  const auto a = *backup("a");
  ASSERT_TRUE(backup("b"));
  ASSERT_TRUE(write(ForgetEntry{a}));
  auto session = dead_session(1);
  clock.sleep(25h);
  const auto before = memory->snapshot();
  const auto plan = plan_collection(*cluster);
  ASSERT_TRUE(plan);
  EXPECT_EQ(memory->snapshot(), before);
  const auto done = collected();
  const auto names = [](const std::vector<storage::BlobInfo>& objects) {
    std::set<std::string> set;
    for (const auto& object : objects) set.insert(object.name);
    return set;
  };
  EXPECT_EQ(names(plan->remove), names(done.remove));
  EXPECT_EQ(plan->purge, done.purge);
  EXPECT_EQ(plan->expired, done.expired);
  EXPECT_EQ(plan->remove_bytes, done.remove_bytes);
  EXPECT_EQ(plan->live_packs, done.live_packs);
}

TEST_F(CollectTest, ASecondCollectionFindsNothing) {
  const auto id = *backup("a");
  ASSERT_TRUE(write(ForgetEntry{id}));
  collected();
  const auto entries = cluster->state().next_seq();
  EXPECT_TRUE(collected().remove.empty());
  EXPECT_EQ(cluster->state().next_seq(), entries);
}

}  // namespace
}  // namespace pgmint::repository

// What key changes leave behind when nothing interferes; tests/sim interrupts them and runs them against each other.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <map>

#include "repository/layout.h"
#include "repository/rebuild.h"
#include "repository/testing_key_service.h"
#include "repository/testing_repository.h"
#include "repository/verify.h"
#include "repository/wal_archive.h"
#include "storage/fault_store.h"

namespace pgmint::repository {
namespace {

constexpr const char* kPassphrase = "correct horse battery staple";
constexpr crypto::ScryptCost kCheap{10, 8, 1};

struct KeyChangesTest : ::testing::Test {
  std::unique_ptr<storage::MemoryStore> store = storage::make_memory_store();
  testing::TestRepository repo{*store};

  Unlock file_key() const {
    Unlock unlock;
    unlock.key = repo.key.clone();
    return unlock;
  }
  static Unlock passphrase() {
    Unlock unlock;
    unlock.provider = KeyProvider::Passphrase;
    unlock.passphrase = kPassphrase;
    return unlock;
  }
  static Unlock key_of(const crypto::Key256& key) {
    Unlock unlock;
    unlock.key = key.clone();
    return unlock;
  }
  static std::vector<Repository::Slot> secrets(Unlock a, std::optional<Unlock> b = {}) {
    std::vector<Repository::Slot> list;
    list.push_back({std::move(a), ""});
    if (b) list.push_back({std::move(*b), ""});
    return list;
  }
  Result<std::unique_ptr<Repository>> open(Unlock unlock) {
    std::vector<Unlock> unlocks;
    unlocks.push_back(std::move(unlock));
    return Repository::open(repo.environment(), std::move(unlocks));
  }
  /// Stays open to the end of the test: clusters borrow it.
  Repository* must_open(Unlock unlock) {
    auto repository = open(std::move(unlock));
    EXPECT_TRUE(repository) << repository.failure().describe();
    return repository ? opened_.emplace_back(std::move(*repository)).get() : nullptr;
  }
  std::vector<std::unique_ptr<Repository>> opened_;
  static std::unique_ptr<Cluster> cluster_of(Repository& repository, const std::string& name = "main") {
    auto found = repository.find_cluster(name, std::nullopt);
    EXPECT_TRUE(found && *found) << (found ? "absent" : found.failure().describe());
    return found ? std::move(*found) : nullptr;
  }
  static std::string history(unsigned n) { return fmt::format("{:08X}.history", n); }
  static Status put(Cluster& cluster, unsigned n) {
    const auto text = fmt::format("1\t0/{:X}000000\tof {}\n", n, n);
    TRY(WalArchive(cluster, {testing::TestRepository::kSystemId, Incarnation(1)}).put(history(n), WalContent::History, 0, as_bytes(text), {}));
    return ok();
  }
  static bool reads(Cluster& cluster, unsigned n) {
    auto got = WalArchive(cluster, {testing::TestRepository::kSystemId, Incarnation(1)}).get(history(n));
    EXPECT_TRUE(got) << got.failure().describe();
    return got && got->has_value();
  }
  static void expect_verified(Cluster& cluster) {
    auto report = verify(cluster, {});
    ASSERT_TRUE(report) << report.failure().describe();
    for (const auto& finding : report->findings) ADD_FAILURE() << finding.object << ": " << finding.problem;
  }
  static void expect_writes(Cluster& cluster) {
    auto written = cluster.log().append(cluster.actor(), EntryContent(AuditEntry{"test", ""}));
    EXPECT_TRUE(written) << written.failure().describe();
  }
  /// Everything there is, to see that nothing changed.
  std::set<std::string> names() {
    std::set<std::string> all;
    const auto blobs = storage::list_all(*store, "").value();
    for (const auto& blob : blobs) all.insert(blob.name);
    return all;
  }
};

TEST_F(KeyChangesTest, AServiceIsAskedLastAndItsOutageIsNoneWhereAnotherSecretOpens) {
  SeededRandom random(7);
  auto service = std::make_shared<testing::FakeKeyService>(random);
  ASSERT_TRUE(repo.repository->add_slot(testing::service_unlock(service), Role::Root, "", nullptr, kCheap));
  ASSERT_TRUE(repo.repository->add_slot(passphrase(), Role::Root, "", nullptr, kCheap));
  ASSERT_TRUE(open(testing::service_unlock(service)));

  service->asked = 0;
  service->failure = Error(Errc::Storage, "the service is away");
  std::vector<Unlock> both;
  both.push_back(testing::service_unlock(service));
  both.push_back(passphrase());  // "kms-..." sorts before "passphrase-..."
  auto opened = Repository::open(repo.environment(), std::move(both));
  ASSERT_TRUE(opened) << opened.failure().describe();
  EXPECT_TRUE((*opened)->opened_slot().starts_with("passphrase-"));
  EXPECT_EQ(service->asked, 0);

  auto alone = open(testing::service_unlock(service));
  ASSERT_FALSE(alone);
  EXPECT_EQ(alone.failure().code(), Errc::Storage) << "an outage, not a wrong key";
  EXPECT_EQ(alone.failure().message(), "the service is away");

  Unlock other = testing::service_unlock(std::make_shared<testing::FakeKeyService>(random, "arn:fake:key/2"));
  alone = open(std::move(other));
  ASSERT_FALSE(alone);
  EXPECT_EQ(alone.failure().code(), Errc::Key);
  EXPECT_NE(alone.failure().message().find("root, arn:fake:key/1"), std::string::npos) << alone.failure().message();
  Unlock wrong;
  wrong.key = crypto::Key256::generate(random);
  EXPECT_NE(open(std::move(wrong)).failure().hint().find("awskms:///"), std::string::npos) << "how a kms slot is opened";
}

TEST_F(KeyChangesTest, OfSeveralServicesAnyOpensWhicheverIsAway) {
  SeededRandom random(9);
  // Slots are tried in the order of their names: kms-, pkcs11-, vault-. Each is away once, then all but one.
  std::vector<std::shared_ptr<testing::FakeKeyService>> services;
  for (const auto provider : {KeyProvider::AwsKms, KeyProvider::Pkcs11, KeyProvider::Vault}) {
    services.push_back(std::make_shared<testing::FakeKeyService>(random, fmt::format("key-of-{}", static_cast<int>(provider)), provider));
    services.back()->failure.reset();
    ASSERT_TRUE(repo.repository->add_slot(testing::service_unlock(services.back()), Role::Root, "", nullptr, kCheap));
  }
  for (std::size_t left = 0; left < services.size(); ++left)
    for (const bool backwards : {false, true}) {
      for (std::size_t i = 0; i < services.size(); ++i) services[i]->failure = i == left ? std::nullopt : std::optional(Error(Errc::Storage, "away"));
      std::vector<Unlock> all;
      for (const auto& service : services) all.push_back(testing::service_unlock(service));
      if (backwards) std::reverse(all.begin(), all.end());
      auto opened = Repository::open(repo.environment(), std::move(all));
      ASSERT_TRUE(opened) << left << ": " << opened.failure().describe();
      EXPECT_TRUE((*opened)->opened_slot().starts_with(provider_name(services[left]->provider())));
    }
}

TEST_F(KeyChangesTest, HowASlotOfEachServiceIsOpenedIsTold) {
  SeededRandom random(10);
  for (const auto& [provider, says] : std::map<KeyProvider, std::string>{{KeyProvider::Vault, "vault:///"}, {KeyProvider::Pkcs11, "pkcs11:token="}}) {
    ASSERT_TRUE(repo.repository->add_slot(testing::service_unlock(std::make_shared<testing::FakeKeyService>(random, "a-key", provider)), Role::Root, "", nullptr, kCheap));
    Unlock wrong;
    wrong.key = crypto::Key256::generate(random);
    const auto refused = open(std::move(wrong));
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.failure().hint().find(says), std::string::npos) << refused.failure().hint();
    const auto slots = repo.repository->slots().value();
    const auto made = std::ranges::find(slots, provider, &SlotInfo::provider);
    ASSERT_NE(made, slots.end());
    ASSERT_TRUE(repo.repository->remove_slot(made->name));
  }
}

TEST_F(KeyChangesTest, ARotationWrapsAnewForTheService) {
  SeededRandom random(8);
  auto service = std::make_shared<testing::FakeKeyService>(random);
  const auto before = repo.repository->add_slot(testing::service_unlock(service), Role::Root, "by kms", nullptr, kCheap);
  ASSERT_TRUE(before);
  service->failure = Error(Errc::Storage, "away");
  auto failed = repo.repository->rotate_root(secrets(file_key(), testing::service_unlock(service)), true);
  ASSERT_FALSE(failed) << "an outage does not let a slot go";
  EXPECT_EQ(failed.failure().code(), Errc::Storage);
  EXPECT_TRUE(open(file_key()));

  service->failure.reset();
  ASSERT_TRUE(repo.repository->rotate_root(secrets(file_key(), testing::service_unlock(service)), true));
  auto opened = open(testing::service_unlock(service));
  ASSERT_TRUE(opened) << opened.failure().describe();
  EXPECT_NE((*opened)->opened_slot(), *before);
  const auto slots = (*opened)->slots().value();
  const auto now = std::ranges::find(slots, (*opened)->opened_slot(), &SlotInfo::name);
  ASSERT_NE(now, slots.end());
  EXPECT_EQ(now->note, "by kms");
  EXPECT_EQ(now->root_generation, 2u);
  expect_verified(*cluster_of(**opened));
}

TEST_F(KeyChangesTest, ARotatedRootOpensEverythingOldAndNew) {
  ASSERT_TRUE(repo.repository->add_slot(passphrase(), Role::Root, "safe", nullptr, kCheap));
  ASSERT_TRUE(put(*repo.cluster, 2));
  const auto old_slots = repo.repository->slots().value();
  for (unsigned round = 0; round < 3; ++round) {
    auto rotating = must_open(file_key());
    auto rotated = rotating->rotate_root(secrets(file_key(), passphrase()), false);
    ASSERT_TRUE(rotated) << rotated.failure().describe();
    // The process that rotated goes on with the new keys.
    auto cluster = cluster_of(*rotating);
    ASSERT_TRUE(put(*cluster, 3 + round));
    expect_writes(*cluster);
    EXPECT_EQ(cluster->state().roots(), std::set{rotating->signing_key().public_key()});
  }
  for (auto make : {+[](KeyChangesTest& t) { return t.file_key(); }, +[](KeyChangesTest&) { return passphrase(); }}) {
    auto opened = must_open(make(*this));
    auto cluster = cluster_of(*opened);
    for (unsigned n = 2; n < 6; ++n) EXPECT_TRUE(reads(*cluster, n)) << n;
    expect_writes(*cluster);
    expect_verified(*cluster);
  }
  auto slots = repo.repository->slots().value();
  ASSERT_EQ(slots.size(), 2U);
  for (const auto& slot : slots) {
    EXPECT_EQ(slot.root_generation, 4U);
    for (const auto& old : old_slots) EXPECT_NE(slot.name, old.name);
  }
  EXPECT_EQ(slots[1].note, "safe");
}

TEST_F(KeyChangesTest, WhatOldSecretsOpenedDoesNotOpenTheNewDataKey) {
  const auto old_root = repo.repository->bundle().clone();
  const auto old_kek = repo.cluster->keys().cluster_kek.clone();
  ASSERT_TRUE(repo.repository->rotate_root(secrets(file_key()), false));
  auto cluster = cluster_of(*repo.repository);
  const auto newest = cluster->keys().newest_epoch();
  EXPECT_GT(newest, repo.cluster->keys().newest_epoch());
  auto old_host = old_root.clone();
  old_host.role = Role::Host;
  old_host.host_cluster = cluster->id();
  old_host.cluster_kek = old_kek.clone();
  for (const RoleBundle* bundle : std::initializer_list<const RoleBundle*>{&old_root, &old_host}) {
    auto ring = open_newest_ring(*store, repo.repository->format().repository, cluster->id(), {bundle});
    ASSERT_TRUE(ring);  // what was stored before stays within their reach
    EXPECT_LT(ring->keys.newest_epoch(), newest);
    EXPECT_FALSE(ring->newest);
  }
}

TEST_F(KeyChangesTest, HostAndMaintenanceSlotsOutliveARotation) {
  const auto host_key = crypto::Key256::generate(repo.random), maintenance_key = crypto::Key256::generate(repo.random);
  ASSERT_TRUE(repo.repository->add_slot(key_of(host_key), Role::Host, "", repo.cluster.get()));
  ASSERT_TRUE(repo.repository->add_slot(key_of(maintenance_key), Role::Maintenance, "", nullptr));
  ASSERT_TRUE(repo.repository->rotate_root(secrets(file_key()), false));
  ASSERT_TRUE(put(*cluster_of(*repo.repository), 7));
  auto host = must_open(key_of(host_key));
  auto cluster = cluster_of(*host);
  EXPECT_TRUE(reads(*cluster, 7));
  ASSERT_TRUE(put(*cluster, 8));
  expect_writes(*cluster);
  auto maintenance = must_open(key_of(maintenance_key));
  expect_writes(*cluster_of(*maintenance));
  expect_verified(*cluster_of(*maintenance));
  EXPECT_TRUE(reads(*cluster_of(*repo.repository), 8));
}

TEST_F(KeyChangesTest, AClusterMadeAfterRotationsBelongsToTodaysRootAndToMaintenance) {
  const auto maintenance_key = crypto::Key256::generate(repo.random);
  ASSERT_TRUE(repo.repository->add_slot(key_of(maintenance_key), Role::Maintenance, "", nullptr));
  ASSERT_TRUE(repo.repository->rotate_root(secrets(file_key()), false));
  ASSERT_TRUE(repo.repository->rotate_root(secrets(file_key()), false));
  auto opened = must_open(file_key());
  auto made = opened->create_cluster("second", 42);
  ASSERT_TRUE(made) << made.failure().describe();
  EXPECT_EQ((*made)->state().roots(), std::set{opened->signing_key().public_key()});
  auto again = must_open(file_key());
  expect_writes(*cluster_of(*again, "second"));
  expect_verified(*cluster_of(*again, "second"));
  auto maintenance = must_open(key_of(maintenance_key));
  expect_writes(*cluster_of(*maintenance, "second"));
}

TEST_F(KeyChangesTest, SecretsThatFitNothingChangeNothing) {
  ASSERT_TRUE(repo.repository->add_slot(passphrase(), Role::Root, "", nullptr, kCheap));
  const auto before = names();
  const auto stranger = crypto::Key256::generate(repo.random);
  for (bool drop : {false, true}) {
    auto rotated = repo.repository->rotate_root(secrets(key_of(stranger)), drop);
    ASSERT_FALSE(rotated);
    EXPECT_EQ(rotated.failure().code(), Errc::Key);
  }
  auto rotated = repo.repository->rotate_root(secrets(file_key()), false);
  ASSERT_FALSE(rotated);
  EXPECT_EQ(rotated.failure().code(), Errc::Precondition);
  EXPECT_EQ(names(), before);
}

TEST_F(KeyChangesTest, DroppedSlotsOpenNothingAnyMore) {
  ASSERT_TRUE(repo.repository->add_slot(passphrase(), Role::Root, "", nullptr, kCheap));
  ASSERT_TRUE(repo.repository->rotate_root(secrets(file_key()), true));
  auto opened = open(passphrase());
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.failure().code(), Errc::Key);
  expect_verified(*cluster_of(*must_open(file_key())));
}

TEST_F(KeyChangesTest, WithoutAClusterThereIsNothingToRotate) {
  auto empty = storage::make_memory_store();
  Environment environment{*empty, repo.clock, repo.random, *repo.seen, "tester@host", "test"};
  auto fresh = Repository::create(environment, secrets(file_key()));
  ASSERT_TRUE(fresh);
  auto rotated = (*fresh)->rotate_root(secrets(file_key()), false);
  ASSERT_FALSE(rotated);
  EXPECT_EQ(rotated.failure().code(), Errc::Precondition);
  EXPECT_TRUE((*fresh)->create_cluster("main", 1));  // the failed attempt left nothing in the way
}

TEST_F(KeyChangesTest, ADataKeyThatAnotherProcessDrewIsKept) {
  auto other = must_open(file_key());
  auto other_cluster = cluster_of(*other);
  ASSERT_TRUE(other->rotate_data_key(*other_cluster));
  auto sealed_with_new = cluster_of(*must_open(file_key()));
  ASSERT_TRUE(put(*sealed_with_new, 5));
  // This one has been open since before.
  auto epoch = repo.repository->rotate_data_key(*repo.cluster);
  ASSERT_TRUE(epoch);
  EXPECT_EQ(*epoch, Epoch(3));
  auto cluster = cluster_of(*must_open(file_key()));
  EXPECT_EQ(cluster->keys().data_keys.size(), 3U);
  EXPECT_TRUE(reads(*cluster, 5));
}

TEST_F(KeyChangesTest, TheLastRootSlotStays) {
  auto only = repo.repository->opened_slot();
  EXPECT_EQ(repo.repository->remove_slot(only).failure().code(), Errc::Precondition);
  auto added = repo.repository->add_slot(passphrase(), Role::Root, "", nullptr, kCheap);
  ASSERT_TRUE(added);
  ASSERT_TRUE(repo.repository->remove_slot(only));
  EXPECT_EQ(repo.repository->remove_slot(*added).failure().code(), Errc::Precondition);
  EXPECT_EQ(repo.repository->remove_slot(only).failure().code(), Errc::NotFound);
  expect_verified(*cluster_of(*must_open(passphrase())));
}

TEST_F(KeyChangesTest, ASlotThatVanishedIsMissed) {
  auto added = repo.repository->add_slot(passphrase(), Role::Root, "", nullptr, kCheap);
  ASSERT_TRUE(store->remove(slot_name(*added)));
  auto report = verify(*repo.cluster, {});
  ASSERT_TRUE(report);
  ASSERT_TRUE(report->damaged());
  EXPECT_EQ(report->findings[0].object, slot_name(*added));
}

TEST_F(KeyChangesTest, ASlotOfANewerPgmintDoesNotLockOthersOut) {
  auto object = **store->read(slot_name(repo.repository->opened_slot()), 1 << 20);
  object[8] = std::byte{9};  // format version
  ASSERT_TRUE(store->create("keys/file-00000000", object));
  auto opened = must_open(file_key());
  expect_writes(*cluster_of(*opened));
}

TEST_F(KeyChangesTest, AnInitThatWasCutOffDoesNotStopTheNext) {
  auto place = storage::make_memory_store();
  Environment environment{*place, repo.clock, repo.random, *repo.seen, "tester@host", "test"};
  ASSERT_TRUE(Repository::create(environment, secrets(file_key(), key_of(crypto::Key256::generate(repo.random)))));
  ASSERT_TRUE(place->remove(std::string(kFormatName)));
  auto again = Repository::create(environment, secrets(file_key()));
  ASSERT_TRUE(again) << again.failure().describe();
  EXPECT_EQ((*again)->slots()->size(), 1U);
  EXPECT_EQ(storage::list_all(*place, std::string(kKeysPrefix))->size(), 1U);
  ASSERT_TRUE((*again)->create_cluster("main", 1));
  // A repository that lost its format is not an empty place.
  ASSERT_TRUE(place->remove(std::string(kFormatName)));
  auto refused = Repository::create(environment, secrets(file_key()));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.failure().code(), Errc::Precondition);
}

TEST_F(KeyChangesTest, ARepositoryThatStandsWasCreatedWhateverFailsBehindIt) {
  storage::FaultStore place(storage::make_memory_store(), repo.clock);
  storage::Fault fault;
  fault.on = storage::Operation::List;
  place.add(fault);
  Environment environment{place, repo.clock, repo.random, *repo.seen, "tester@host", "test"};
  auto made = Repository::create(environment, secrets(file_key()));
  ASSERT_TRUE(made) << made.failure().describe();
  place.clear();
  EXPECT_TRUE((*made)->create_cluster("main", 1));
}

TEST_F(KeyChangesTest, ABundleRemembersNoMoreRootsThanAreRead) {
  RoleBundle bundle = repo.repository->bundle().clone();
  const auto opens = [&](std::size_t past) {
    bundle.past_actor_seeds.clear();
    for (std::size_t i = 0; i < past; ++i) bundle.past_actor_seeds.push_back(crypto::Key256::generate(repo.random));
    const auto& id = repo.repository->format().repository;
    const auto slot = make_slot(id, bundle, file_key(), "", kCheap, {}, repo.random).value();
    const auto opened = open_slot(slot.object, parse_slot(slot.object, slot.name, id).value(), file_key());
    return opened && *opened;
  };
  EXPECT_TRUE(opens(kPastActorsMax));
  EXPECT_FALSE(opens(kPastActorsMax + 1));

  // A repository that has been rotated that often is rotated once more, and opens.
  bundle.past_actor_seeds.clear();
  bundle.past_actor_seeds.push_back(repo.repository->bundle().actor_seed.clone());
  while (bundle.past_actor_seeds.size() < kPastActorsMax) bundle.past_actor_seeds.push_back(crypto::Key256::generate(repo.random));
  const auto old = repo.repository->opened_slot();
  const auto slot = make_slot(repo.repository->format().repository, bundle, file_key(), "", kCheap, {}, repo.random).value();
  ASSERT_TRUE(store->create(slot_name(slot.name), slot.object));
  ASSERT_TRUE(store->remove(slot_name(old)));
  auto opened = must_open(file_key());
  auto rotated = opened->rotate_root(secrets(file_key()), false);
  ASSERT_TRUE(rotated) << rotated.failure().describe();
  auto again = must_open(file_key());
  EXPECT_EQ(again->bundle().past_actor_seeds.size(), kPastActorsMax);
  EXPECT_TRUE(again->create_cluster("second", 2));  // its GENESIS is signed by the first of them
}

TEST_F(KeyChangesTest, ALogThatBreaksOffBeforeARotationIsRebuiltByTheNewRoot) {
  ASSERT_TRUE(repo.repository->rotate_root(secrets(file_key()), false));
  ASSERT_TRUE(repo.repository->rotate_root(secrets(file_key()), false));
  const auto id = repo.cluster->id();
  for (bool whole : {false, true}) {
    // All of it, or all but its beginning.
    const auto entries = storage::list_all(*store, log_prefix(id)).value();
    for (const auto& blob : entries)
      if (whole || !blob.name.ends_with("0000000000000000")) {
        ASSERT_TRUE(store->remove(blob.name));
      }
    auto forgetful = make_no_memory();
    Environment environment{*store, repo.clock, repo.random, *forgetful, "tester@host", "test"};
    std::vector<Unlock> unlocks;
    unlocks.push_back(file_key());
    auto opened = Repository::open(environment, std::move(unlocks));
    ASSERT_TRUE(opened);
    auto rebuilt = rebuild_log(**opened, id, "main");
    ASSERT_TRUE(rebuilt) << rebuilt.failure().describe();
    auto cluster = cluster_of(**opened);
    EXPECT_EQ(cluster->state().roots(), std::set{(*opened)->signing_key().public_key()});
    expect_writes(*cluster);
    expect_verified(*cluster);
  }
}

}  // namespace
}  // namespace pgmint::repository

// A repository whose log lives in a store of its own.
#include <gtest/gtest.h>

#include "repository/layout.h"
#include "repository/repository_fixture.h"
#include "storage/split_store.h"

namespace pgmint::repository {
namespace {

using storage::MemoryStore;
using storage::Side;

constexpr const char* kLogUrl = "s3://bucket-log/prod";

class LogApart : public testing::Test {
 protected:
  LogApart() {
    auto one = std::make_unique<MemoryStore>(), two = std::make_unique<MemoryStore>();
    packs = one.get();
    log = two.get();
    store = storage::make_split_store(std::move(one), std::move(two), log_apart_rule());
    unlock.provider = KeyProvider::KeyFile;
    unlock.key = crypto::Key256::generate(random);
    std::vector<Repository::Slot> slots;
    slots.push_back({RepositoryFixture::copy_of(unlock), "test"});
    auto made = Repository::create(environment(*store, kLogUrl), std::move(slots));
    EXPECT_TRUE(made) << made.failure().describe();
    EXPECT_TRUE((*made)->create_cluster("main", 7));
  }
  Environment environment(storage::BlobStore& of, std::optional<std::string> log_url) { return {of, clock, random, *seen, "test@host", "test", nullptr, 1, std::move(log_url)}; }
  Result<std::unique_ptr<Repository>> open(storage::BlobStore& of, std::optional<std::string> log_url) {
    std::vector<Unlock> unlocks;
    unlocks.push_back(RepositoryFixture::copy_of(unlock));
    return Repository::open(environment(of, std::move(log_url)), std::move(unlocks));
  }

  SeededRandom random{11};
  ManualClock clock{TimePoint(std::chrono::seconds(1'000'000))};
  std::unique_ptr<SeenMemory> seen = make_no_memory();
  MemoryStore *packs = nullptr, *log = nullptr;
  std::unique_ptr<storage::BlobStore> store;
  Unlock unlock;
};

TEST_F(LogApart, TheLogIsInItsOwnStoreAndTheKeysAreWhereTheBackupsAre) {
  auto repository = open(*store, kLogUrl);
  ASSERT_TRUE(repository) << repository.failure().describe();
  auto cluster = (*repository)->find_cluster("main", {});
  ASSERT_TRUE(cluster && *cluster);
  const auto of_log = log->snapshot(), of_packs = packs->snapshot();
  EXPECT_TRUE(of_log.contains(log_entry_name((*cluster)->id(), 0, 0)) || of_log.contains(log_entry_name((*cluster)->id(), 1, 0)));
  for (const auto& [name, content] : of_packs) EXPECT_FALSE(parse_log_entry_name(name)) << name;
  for (const auto& [name, content] : of_log) EXPECT_FALSE(name.starts_with(kKeysPrefix)) << name;
  for (const auto& [name, content] : of_log) {
    if (parse_log_entry_name(name)) continue;
    EXPECT_EQ(*of_packs.at(name), *content) << name << " is in both";
  }
}

TEST_F(LogApart, WhoDoesNotKnowWhereTheLogIsIsToldAndMakesNothing) {
  MemoryStore alone(packs->snapshot());
  const auto refused = open(alone, "");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.failure().code(), Errc::Configuration);
  EXPECT_NE(refused.failure().hint().find(kLogUrl), std::string::npos) << refused.failure().hint();
  EXPECT_EQ(alone.snapshot().size(), packs->snapshot().size());
}

TEST_F(LogApart, ALogUrlForARepositoryThatHasNoneIsRefused) {
  RepositoryFixture plain;
  std::vector<Unlock> unlocks;
  unlocks.push_back(RepositoryFixture::copy_of(plain.unlock));
  auto environment = plain.environment();
  environment.log_url = kLogUrl;
  const auto refused = Repository::open(std::move(environment), std::move(unlocks));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.failure().code(), Errc::Configuration);
}

TEST_F(LogApart, WhereNoLogIsLookedForNoneIsMissed) {
  MemoryStore away(packs->snapshot());
  EXPECT_TRUE(open(away, std::nullopt));
}

TEST_F(LogApart, AnEmptiedLogIsDamageAndNotANewRepository) {
  const auto id = (*(*open(*store, kLogUrl))->find_cluster("main", {}))->id();
  ASSERT_TRUE(store->create(pack_name(id, {random.id<SessionId>(), 0}), as_bytes("of a backup")));
  for (const auto& [name, content] : log->snapshot()) ASSERT_TRUE(log->remove(name));
  auto repository = open(*store, kLogUrl);
  ASSERT_TRUE(repository) << repository.failure().describe();
  const auto found = (*repository)->find_cluster("main", {});
  ASSERT_FALSE(found && *found);
  EXPECT_FALSE((*repository)->clusters()) << "it must be said";
}

TEST(LogApartRule, APrefixIsOfOneSideOnlyWhereAllNamesBelowItAre) {
  SeededRandom random(3);
  const auto cluster = random.id<ClusterId>();
  const std::vector<std::string> names = {"format", slot_name("a"), keyring_name(cluster, Epoch(1)), log_entry_name(cluster, 0, 5), mirror_sign_name(cluster), manifest_name(cluster, random.id<SessionId>()),
                                          pack_name(cluster, {random.id<SessionId>(), 3}), wal_name(cluster, 7, Incarnation(1), "000000010000000000000001"), mirror_mark_name(1), mirror_absences_prefix(cluster) + "x", "probe/1"};
  const auto rule = log_apart_rule();
  for (const auto& name : names)
    for (std::size_t length = 0; length <= name.size(); ++length) {
      const auto prefix = name.substr(0, length);
      const auto side = rule.of_prefix(prefix);
      if (side == Side::Both) continue;
      for (const auto& other : names) {
        if (!other.starts_with(prefix)) continue;
        EXPECT_EQ(rule.of_name(other), side) << prefix << " of " << other;
      }
    }
  EXPECT_EQ(rule.of_prefix(log_prefix(cluster)), Side::Second) << "a log is listed with one request";
  EXPECT_EQ(rule.of_prefix(packs_prefix(cluster)), Side::First);
}

}  // namespace
}  // namespace pgmint::repository

// What a host remembers of repositories, on files.
#include <gtest/gtest.h>

#include "base/random.h"
#include "base/test_seed.h"
#include "repository/layout.h"
#include "repository/repository.h"
#include "storage/instant_clock.h"
#include "storage/memory_store.h"
#include "storage/temporary_directory.h"

namespace pgmint::repository {
namespace {

struct SeenMemoryTest : ::testing::Test {
  SeededRandom random{test_seed()};
  storage::InstantClock clock;
  storage::TemporaryDirectory directory;
  std::unique_ptr<SeenMemory> seen = make_seen_memory(directory.path() / "state");
  std::unique_ptr<storage::MemoryStore> store = storage::make_memory_store();
  crypto::Key256 key = crypto::Key256::generate(random);

  Unlock unlock() const {
    Unlock same;
    same.key = key.clone();
    return same;
  }
  Environment environment() { return {*store, clock, random, *seen, "test@host", "test"}; }
  std::unique_ptr<Repository> made() {
    std::vector<Repository::Slot> slots(1);
    slots[0].unlock = unlock();
    return Repository::create(environment(), std::move(slots)).value();
  }
  std::unique_ptr<Repository> opened() {
    std::vector<Unlock> unlocks;
    unlocks.push_back(unlock());
    return Repository::open(environment(), std::move(unlocks)).value();
  }
  void remove_all_below(const std::string& prefix) {
    const auto objects = storage::list_all(*store, prefix).value();
    ASSERT_FALSE(objects.empty());
    for (const auto& object : objects) ASSERT_TRUE(store->remove(object.name));
  }
};

TEST_F(SeenMemoryTest, ARepositoryThatWasEmptiedIsNotTakenForANewOne) {
  const auto first = made()->create_cluster("main", 7).value()->id();
  const auto second = opened()->create_cluster("other", 8).value()->id();
  ASSERT_EQ(opened()->clusters()->size(), 2U);
  remove_all_below(fmt::format("{}{}/", kClustersPrefix, first.hex()));

  auto repository = opened();
  const auto clusters = repository->clusters();
  ASSERT_FALSE(clusters);
  EXPECT_EQ(clusters.failure().code(), Errc::Corruption);
  EXPECT_NE(clusters.failure().message().find(first.hex()), std::string::npos) << clusters.failure().describe();
  // What a backup asks before it makes a cluster.
  EXPECT_FALSE(repository->find_cluster("main", 7));
  EXPECT_FALSE(repository->find_by_system_id(7));
  // Who looks after all of them sees what is left.
  std::vector<UnreadableCluster> unreadable;
  const auto readable = repository->readable_clusters(unreadable).value();
  ASSERT_EQ(readable.size(), 1U);
  EXPECT_EQ(readable[0]->id(), second);
  ASSERT_EQ(unreadable.size(), 1U);
  EXPECT_EQ(unreadable[0].id, first.hex());

  remove_all_below(fmt::format("{}{}/", kClustersPrefix, second.hex()));
  EXPECT_FALSE(opened()->clusters()) << "and nothing at all is no empty repository either";
  // As the hint says.
  ASSERT_TRUE(fs::remove_all(directory.path() / "state") > 0);
  EXPECT_TRUE(opened()->clusters()->empty());
}

TEST_F(SeenMemoryTest, OneRepositorysClustersAreNotMissedInAnother) {
  made()->create_cluster("main", 7).value();
  auto other_store = storage::make_memory_store();
  std::swap(store, other_store);
  EXPECT_TRUE(made()->clusters()->empty());
}

}  // namespace
}  // namespace pgmint::repository

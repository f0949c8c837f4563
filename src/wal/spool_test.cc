#include "wal/spool.h"

#include "repository/key_copies.h"
#include "repository/layout.h"
#include "storage/borrowed_store.h"
#include "storage/fault_store.h"
#include "wal/push.h"
#include "wal/testing_wal.h"

namespace pgmint::wal {
namespace {

using namespace testing;
using repository::KeyCopies;
using repository::Repository;
using storage::Fault;

struct SpoolTest : WalTest {
  SpoolTest() {
    repository::Unlock secret;
    secret.key = crypto::Key256::generate(random);
    key = secret.key.clone();
    PGMINT_ASSERT(repository->add_slot(secret, repository::Role::Root, "host", nullptr));
    // Runs of this host while the store was there: what they read of keys is known here.
    for (int i = 0; i < 3; ++i) {
      KeyCopies through(std::make_unique<storage::BorrowedStore>(*store), keys);
      auto opened = open(through, &through);
      PGMINT_ASSERT(opened && (*opened)->clusters());
    }
    away_store = std::move(*spool.open_store(keys));
    auto opened = open(*away_store, nullptr);
    PGMINT_ASSERT(opened.has_value());
    away = std::move(*opened);
  }

  Result<std::unique_ptr<Repository>> open(storage::BlobStore& over, KeyCopies* copies) {
    std::vector<repository::Unlock> unlocks(1);
    unlocks[0].key = key.clone();
    return Repository::open({over, clock, random, *seen, "tester@host", "test", copies}, std::move(unlocks));
  }
  /// As wal push does while the repository is away.
  Status push_away(const std::string& name) {
    auto cluster_here = TRY(away->open_cluster(cluster->id()));
    PushRequest request;
    request.source = TRY(inspect((data / "pg_wal" / name).string(), data));
    request.ahead_max = 0;
    request.workers = 1;
    TRY(push(*cluster_here, identity, request));
    return ok();
  }
  std::vector<std::string> waiting() {
    std::vector<std::string> names;
    auto contents = spool.contents();
    EXPECT_TRUE(contents);
    for (const auto& file : contents->files) names.push_back(file.file_name());
    return names;
  }
  Result<Spool::Drained> drain(storage::BlobStore& over) {
    auto there = TRY(open(over, nullptr));
    return spool.drain(*away, *there, nullptr);
  }
  Result<Spool::Drained> drain() { return drain(*store); }

  fs::path keys = directory.path() / "keys";
  crypto::Key256 key;
  Spool spool{directory.path() / "state", memory.describe()};
  std::unique_ptr<KeyCopies> away_store;
  std::unique_ptr<Repository> away;
};

TEST_F(SpoolTest, WhatWaitedIsInTheRepositoryAsItWasPushed) {
  std::vector<std::string> names;
  for (std::uint64_t i = 1; i <= 5; ++i) names.push_back(add_ready(1, i, static_cast<std::uint8_t>(i)));
  for (const auto& name : names) ASSERT_TRUE(push_away(name));
  EXPECT_EQ(waiting(), names);
  EXPECT_FALSE(*archive().info(names[0])) << "nothing has reached the store";

  const auto drained = drain();
  ASSERT_TRUE(drained) << drained.failure().describe();
  EXPECT_EQ(drained->stored, names.size());
  EXPECT_TRUE(*spool.empty());
  for (std::uint64_t i = 1; i <= 5; ++i) {
    const auto stored = archive().get(names[i - 1]);
    ASSERT_TRUE(stored && *stored) << names[i - 1];
    EXPECT_EQ(**stored, make_segment(1, i, kSystemId, static_cast<std::uint8_t>(i)));
    EXPECT_TRUE(*archive().summary(names[i - 1])) << "with its change summary";
  }
}

TEST_F(SpoolTest, WithoutTheStoreEverythingButWalAndKeysIsAway) {
  const auto read = away->clusters();
  ASSERT_FALSE(read);
  EXPECT_EQ(read.failure().code(), Errc::Storage);
  EXPECT_NE(read.failure().describe().find("away"), std::string::npos);
}

TEST_F(SpoolTest, NothingWaitingIsReadableInThere) {
  ASSERT_TRUE(push_away(add_ready(1, 1, 7)));
  const auto plain = make_segment(1, 1, kSystemId, 7);
  for (const auto& entry : fs::recursive_directory_iterator(spool.directory())) {
    if (!entry.is_regular_file()) continue;
    EXPECT_EQ(entry.status().permissions() & (fs::perms::group_all | fs::perms::others_all), fs::perms::none) << entry.path();
    const auto bytes = content(entry.path());
    EXPECT_EQ(std::search(bytes.begin(), bytes.end(), plain.begin(), plain.begin() + 40), bytes.end()) << entry.path();
  }
}

// A drain that was cut off at any request to the store goes on where it was, loses nothing, and lets none overtake another.
TEST_F(SpoolTest, ADrainThatIsCutOffAnywhereGoesOn) {
  std::vector<std::string> names;
  for (std::uint64_t i = 1; i <= 3; ++i) names.push_back(add_ready(1, i));
  const auto empty_store = memory.snapshot();
  for (const auto when : {Fault::When::Before, Fault::When::After})
    for (std::uint64_t cut = 0;; ++cut) {
      memory.restore(empty_store);
      for (const auto& name : names) ASSERT_TRUE(push_away(name));
      storage::FaultStore faulty(std::make_unique<storage::BorrowedStore>(memory), clock);
      Fault fault;
      fault.when = when;
      fault.code = Errc::Unknown;
      fault.skip = cut;
      faulty.add(fault);
      const auto first = drain(faulty);
      std::vector<std::string> stored;
      const auto listed = archive().list(1);
      ASSERT_TRUE(listed);
      for (const auto& file : *listed) stored.push_back(file.file_name);
      EXPECT_TRUE(std::equal(stored.begin(), stored.end(), names.begin())) << "in order, cut " << cut;
      const auto left = waiting();
      for (const auto& name : names)
        EXPECT_TRUE(std::ranges::count(stored, name) + std::ranges::count(left, name) >= 1) << name << ", cut " << cut;
      ASSERT_TRUE(drain()) << "cut " << cut;
      EXPECT_TRUE(*spool.empty());
      for (const auto& name : names) EXPECT_TRUE(archive().check(name, repository::VerifyDepth::Decompress)) << name;
      if (first) break;
      ASSERT_LT(cut, 100u);
    }
}

TEST_F(SpoolTest, TheSameFileInTheRepositoryIsNoObstacleAndAnotherOneIs) {
  const auto same = add_ready(1, 1), other = add_ready(1, 2, 9);
  archive_segment(1, 1);
  ASSERT_TRUE(push_away(same));
  const auto present = drain();
  ASSERT_TRUE(present) << present.failure().describe();
  EXPECT_EQ(present->present, 1u);

  archive_segment(1, 2);
  ASSERT_TRUE(push_away(other));
  const auto conflict = drain();
  ASSERT_FALSE(conflict);
  EXPECT_EQ(conflict.failure().code(), Errc::Corruption);
  EXPECT_EQ(waiting(), std::vector<std::string>{other}) << "what was not stored stays";
}

TEST_F(SpoolTest, WhatWasDamagedWhileItWaitedIsToldAndDoesNotGo) {
  const auto name = add_ready(1, 1), next = add_ready(1, 2);
  ASSERT_TRUE(push_away(name));
  ASSERT_TRUE(push_away(next));
  const auto contents = spool.contents();
  ASSERT_TRUE(contents);
  const auto path = spool.directory() / contents->files.at(0).name;
  auto bytes = content(path);
  for (const std::size_t at : {std::size_t{3}, bytes.size() / 2, bytes.size() - 1}) {
    auto damaged = bytes;
    damaged[at] ^= std::byte{1};
    fs::remove(path);
    write(path, damaged);
    const auto drained = drain();
    ASSERT_FALSE(drained) << "byte " << at;
    EXPECT_EQ(drained.failure().code(), Errc::Corruption) << "byte " << at;
    EXPECT_EQ(waiting().size(), 2u);
    EXPECT_FALSE(*archive().info(name)) << "damage must not reach the repository";
    EXPECT_FALSE(*archive().info(next)) << "nor does a later one overtake it";
  }
  fs::remove(path);
  write(path, bytes);
  EXPECT_TRUE(drain());
}

TEST_F(SpoolTest, AnotherRepositoryInThePlaceGetsNothing) {
  ASSERT_TRUE(push_away(add_ready(1, 1)));
  storage::MemoryStore elsewhere;
  std::vector<Repository::Slot> slots(1);
  slots[0].unlock.key = key.clone();
  ASSERT_TRUE(Repository::create({elsewhere, clock, random, *seen, "tester@host", "test"}, std::move(slots)));
  const auto drained = drain(elsewhere);
  ASSERT_FALSE(drained);
  EXPECT_EQ(drained.failure().code(), Errc::Precondition);
  EXPECT_EQ(waiting().size(), 1u);
}

TEST_F(SpoolTest, OneAtATimeDrains) {
  const auto first = spool.try_lock(Spool::Right::Send);
  ASSERT_TRUE(first && *first);
  const auto second = spool.try_lock(Spool::Right::Send);
  ASSERT_TRUE(second);
  EXPECT_FALSE(*second);
  const auto staying = spool.try_lock(Spool::Right::Stay);
  EXPECT_TRUE(staying && *staying) << "who stays while the repository is away keeps nobody from trying by hand";
}

TEST_F(SpoolTest, AHostThatHasReadNoKeysSealsNothing) {
  Spool fresh(directory.path() / "fresh", memory.describe());
  auto over = fresh.open_store(directory.path() / "fresh-keys");
  ASSERT_TRUE(over);
  const auto opened = open(**over, nullptr);
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.failure().code(), Errc::Storage);
}

}  // namespace
}  // namespace pgmint::wal

#include "repository/key_copies.h"

#include <gtest/gtest.h>

#include <fstream>

#include "repository/repository_fixture.h"
#include "storage/borrowed_store.h"
#include "storage/temporary_directory.h"

namespace pgmint::repository {
namespace {

bool is_about_keys(const std::string& name) {
  return name == kFormatName || name.starts_with(kKeysPrefix) || name.find("/keyring/") != std::string::npos;
}

struct KeyCopiesTest : testing::Test, RepositoryFixture {
  /// What one command of this host has: copies of keys, and a repository that was opened through them.
  struct Run {
    std::unique_ptr<KeyCopies> store;
    std::unique_ptr<Repository> repository;
    std::vector<std::unique_ptr<Cluster>> clusters;
  };
  Result<Run> run(const Unlock& with) {
    Run run;
    run.store = std::make_unique<KeyCopies>(std::make_unique<storage::BorrowedStore>(*store), directory.path() / "keys");
    auto own = environment();
    Environment through{*run.store, own.clock, own.random, own.seen, own.actor_label, own.command, run.store.get(), reads_at_once};
    std::vector<Unlock> unlocks;
    unlocks.push_back(copy_of(with));
    run.repository = TRY(Repository::open(through, std::move(unlocks)));
    run.clusters = TRY(run.repository->clusters());
    return run;
  }
  Result<Run> run() { return run(unlock); }
  /// So many runs that there are copies.
  void take_copies() {
    for (int i = 0; i < 2; ++i) ASSERT_TRUE(run());
    let_no_key_be_read();
    const auto third = run();
    ASSERT_TRUE(third) << third.failure().describe();
    EXPECT_TRUE(third->store->answered());
    store->clear();
  }
  void let_no_key_be_read() {
    storage::Fault fault;
    fault.matches = is_about_keys;
    store->add(fault);
  }
  static Status write_with(Run& run) {
    auto& cluster = *run.clusters.at(0);
    TRY(cluster.log().append(cluster.actor(), EntryContent(AuditEntry{"test", ""})));
    return ok();
  }
  void empty_the_place() {
    const auto all = storage::list_all(*memory, "");
    ASSERT_TRUE(all);
    for (const auto& blob : *all) ASSERT_TRUE(memory->remove(blob.name));
  }
  Unlock another_secret() {
    Unlock other;
    other.key = crypto::Key256::generate(random);
    return other;
  }

  storage::TemporaryDirectory directory;
  unsigned reads_at_once = 1;
};

TEST_F(KeyCopiesTest, KeysAreNotReadAgainOnceALogHasVouchedForThem) { take_copies(); }

TEST_F(KeyCopiesTest, NothingIsAnsweredFromCopiesBeforeALogHasVouched) {
  ASSERT_TRUE(run());
  let_no_key_be_read();
  EXPECT_FALSE(run());
}

TEST_F(KeyCopiesTest, ADataKeyThatSomebodyRotatedIsUsedAtOnce) {
  take_copies();
  ASSERT_TRUE(repository->rotate_data_key(*cluster));
  auto after = run();
  ASSERT_TRUE(after) << after.failure().describe();
  EXPECT_EQ(after->clusters.at(0)->keys().newest_epoch(), Epoch(2));
  take_copies();
}

TEST_F(KeyCopiesTest, ASlotThatSomebodyRemovedOpensNothing) {
  const auto other = another_secret();
  const auto slot = repository->add_slot(other, Role::Root, "other", nullptr);
  ASSERT_TRUE(slot);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(run(other));
  ASSERT_TRUE(repository->remove_slot(*slot));
  const auto after = run(other);
  ASSERT_FALSE(after);
  EXPECT_EQ(after.failure().code(), Errc::Key);
}

// The log says that a slot goes before it goes. Whoever reads keys in between must not keep it for good.
TEST_F(KeyCopiesTest, ASlotWhoseRemovalWasCutOffOpensNothingOnceItHasEnded) {
  const auto other = another_secret();
  const auto slot = repository->add_slot(other, Role::Root, "other", nullptr);
  ASSERT_TRUE(slot);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(run(other));
  storage::Fault cut;
  cut.on = storage::Operation::Remove;
  store->add(cut);
  ASSERT_FALSE(repository->remove_slot(*slot));
  store->clear();
  for (int i = 0; i < 4; ++i) {
    const auto between = run(other);
    ASSERT_TRUE(between) << between.failure().describe();
    EXPECT_FALSE(between->store->answered()) << "run " << i;
  }
  ASSERT_TRUE(memory->remove(slot_name(*slot)));
  const auto after = run(other);
  ASSERT_FALSE(after);
  EXPECT_EQ(after.failure().code(), Errc::Key);
  take_copies();
}

TEST_F(KeyCopiesTest, ASlotThatSomebodyAddedOpensAtOnce) {
  take_copies();
  const auto other = another_secret();
  ASSERT_TRUE(repository->add_slot(other, Role::Root, "other", nullptr));
  const auto after = run(other);
  EXPECT_TRUE(after) << after.failure().describe();
}

TEST_F(KeyCopiesTest, AfterARotationOfTheRootWhatIsWrittenCounts) {
  take_copies();
  std::vector<Repository::Slot> slots;
  slots.push_back({copy_of(unlock), "again"});
  ASSERT_TRUE(repository->rotate_root(std::move(slots), false));
  auto after = run();
  ASSERT_TRUE(after) << after.failure().describe();
  const auto written = write_with(*after);
  ASSERT_TRUE(written) << written.failure().describe();
  auto elsewhere = reopened()->clusters();
  ASSERT_TRUE(elsewhere);
  EXPECT_TRUE(elsewhere->at(0)->state().void_entries().empty());
}

TEST_F(KeyCopiesTest, AnotherRepositoryInTheSamePlaceIsFound) {
  take_copies();
  empty_the_place();
  std::vector<Repository::Slot> slots;
  slots.push_back({copy_of(unlock), "anew"});
  auto anew = Repository::create(environment(), std::move(slots));
  ASSERT_TRUE(anew);
  // Empty as yet: a cluster must not come to be with the keys of the repository that was there.
  auto empty = run();
  ASSERT_TRUE(empty) << empty.failure().describe();
  ASSERT_TRUE(empty->clusters.empty());
  const auto made = empty->repository->create_cluster("main", kSystemId);
  ASSERT_TRUE(made) << made.failure().describe();
  EXPECT_EQ(empty->repository->format().repository, (*anew)->format().repository);
  auto filled = run();
  ASSERT_TRUE(filled) << filled.failure().describe();
  EXPECT_EQ(filled->clusters.size(), 1u);
  EXPECT_EQ(filled->repository->format().repository, (*anew)->format().repository);
}

TEST_F(KeyCopiesTest, ARepositoryWithAClusterInTheSamePlaceIsFound) {
  take_copies();
  empty_the_place();
  std::vector<Repository::Slot> slots;
  slots.push_back({copy_of(unlock), "anew"});
  auto anew = Repository::create(environment(), std::move(slots));
  ASSERT_TRUE(anew && (*anew)->create_cluster("main", kSystemId));
  auto filled = run();
  ASSERT_TRUE(filled) << filled.failure().describe();
  EXPECT_EQ(filled->repository->format().repository, (*anew)->format().repository);
}

TEST_F(KeyCopiesTest, AClusterThatSomebodyMadeIsFound) {
  take_copies();
  ASSERT_TRUE(repository->create_cluster("second", 8));
  const auto after = run();
  ASSERT_TRUE(after) << after.failure().describe();
  EXPECT_EQ(after->clusters.size(), 2u);
  take_copies();
}

// Far away it is not asked each time whether the place is a mirror: the log's listing tells.
TEST_F(KeyCopiesTest, APlaceThatBecameAMirrorIsFoundThoughItsLogIsTheSame) {
  reads_at_once = 8;
  take_copies();
  storage::Fault no_marks;
  no_marks.matches = [](const std::string& name) { return name.starts_with("mirror/"); };
  store->add(no_marks);
  ASSERT_TRUE(run()) << "nobody asks for marks";
  ASSERT_TRUE(memory->create(mirror_sign_name(cluster->id()), as_bytes("pgmint mirror\n")));
  const auto told = run();
  ASSERT_FALSE(told);
  EXPECT_EQ(told.failure().code(), Errc::Precondition);
  EXPECT_FALSE(run()) << "from then on marks are asked for";
  store->clear();
  EXPECT_TRUE(run()) << "it was no mirror after all";
}

TEST_F(KeyCopiesTest, DamagedCopiesAreNone) {
  take_copies();
  for (const auto& entry : fs::recursive_directory_iterator(directory.path() / "keys")) {
    if (!entry.is_regular_file()) continue;
    EXPECT_EQ(entry.status().permissions() & (fs::perms::group_all | fs::perms::others_all), fs::perms::none);
    const auto whole = *read_file(entry.path(), 1 << 20);
    for (std::size_t at = 0; at < whole.size(); at += 7) {
      auto damaged = whole;
      damaged[at] ^= std::byte{0x10};
      std::ofstream(entry.path(), std::ios::binary).write(reinterpret_cast<const char*>(damaged.data()), static_cast<std::streamsize>(damaged.size()));
      KeyCopies copies(std::make_unique<storage::BorrowedStore>(*store), directory.path() / "keys");
      ASSERT_TRUE(copies.read(std::string(kFormatName), 1 << 20));
      EXPECT_FALSE(copies.answered()) << "byte " << at;
    }
  }
}

}  // namespace
}  // namespace pgmint::repository

// A backup of one repository as a backup of another: the same cluster, other keys, another history.
#include "backup/copied_backup.h"

#include "backup/describe_root.h"
#include "backup/testing_incremental.h"

namespace pgmint::backup {
namespace {

using namespace std::chrono_literals;
using repository::BackupType;
using repository::FileArea;
using testing::BlockNumber;
using testing::kBlock;
using testing::make_page;
using testing::make_pages;
using testing::ScriptedServer;

/// The fixture's own repository is the near one.
struct CopiedBackupTest : testing::IncrementalTest {
  struct Side {
    storage::MemoryStore* memory = nullptr;
    std::unique_ptr<storage::FaultStore> store;
    std::unique_ptr<repository::Repository> repository;
    std::unique_ptr<repository::Cluster> cluster;
  };
  Side far;
  codec::CodecChoice far_codec;
  std::chrono::seconds archive_timeout{5};

  CopiedBackupTest() {
    auto inner = storage::make_memory_store();
    far.memory = inner.get();
    far.store = std::make_unique<storage::FaultStore>(std::move(inner), clock);
    std::vector<repository::Repository::Slot> slots(1);
    slots[0].unlock.key = crypto::Key256::generate(random);
    far.repository = repository::Repository::create({*far.store, clock, system_random(), *seen, "test@host", "test"}, std::move(slots)).value();
    far.cluster = far.repository->create_cluster("main", made.system_identifier().value()).value();
    made.file("pg_xact/0000", as_bytes(std::string(256 << 10, 'x')));
    Bytes other(700'000);
    random.fill(other);
    made.file("pg_stat/other", other);
    made.file("base/5/16390", {});
  }

  /// What the fixture does, it does to the far repository meanwhile.
  template <class F>
  void in_far(F action) {
    const auto swap = [&] {
      std::swap(memory, far.memory);
      std::swap(store, far.store);
      std::swap(repository, far.repository);
      std::swap(cluster, far.cluster);
    };
    swap();
    action();
    swap();
  }
  void advance_both(std::vector<BlockNumber> blocks) {
    const auto before = start_segment;
    advance(blocks);
    in_far([&] {
      archive_summary(before + 1, blocks.empty() ? std::vector<postgres::ForkBlocks>() : std::vector{named(kTable, blocks)});
    });
  }
  /// A backup of the near one, whose last segment gets to both.
  BackupReport near_backup() {
    server.on_stop = [this] {
      archive_summary(start_segment, {});
      in_far([&] { archive_summary(start_segment, {}); });
      return ok();
    };
    auto report = run_well();
    refresh_both();
    return report;
  }
  void refresh_both() {
    EXPECT_TRUE(cluster->log().refresh());
    EXPECT_TRUE(far.cluster->log().refresh());
  }
  Result<std::optional<BackupReport>> copy(const BackupReport& report) {
    refresh_both();
    BackupRequest request{.cluster = *far.cluster, .data_directory = "/nonexistent"};
    request.incremental = incremental;
    request.codec = far_codec;
    request.workers = workers;
    request.archive_timeout = archive_timeout;
    request.send_on = send_on;
    request.cancel = &cancel;
    return copy_backup(request, {*cluster, report.session, report.name + " of repository near"}, nullptr);
  }
  BackupReport copy_well(const BackupReport& report) {
    auto copied = copy(report);
    EXPECT_TRUE(copied) << copied.failure().describe();
    EXPECT_TRUE(copied && *copied);
    return copied && *copied ? std::move(**copied) : BackupReport{};
  }
  /// When the far one gets a pack.
  storage::Fault at_packs(storage::Fault fault) const {
    fault.on = storage::Operation::Create;
    fault.matches = [prefix = repository::packs_prefix(far.cluster->id())](const std::string& name) { return name.starts_with(prefix); };
    return fault;
  }
  void expect_nothing_in_far() {
    in_far([&] { expect_nothing_left(); });
  }
  void expect_unpinned() {
    ASSERT_TRUE(cluster->log().refresh());
    EXPECT_TRUE(cluster->state().open_sessions().empty());
  }
};

TEST_F(CopiedBackupTest, AFullIsTheSameBackupUnderOtherKeys) {
  server.facts.databases.push_back({postgres::Oid(5), "shop", "UTF8", "de_DE.utf8", "2.36"});
  server.facts.databases.push_back({postgres::Oid(6), "a b=c", "UTF8", "C", ""});
  server.facts.icu_version = "153.120";
  const auto first = near_backup();
  const auto copied = copy_well(first);
  EXPECT_EQ(copied.type, BackupType::Full);
  EXPECT_NE(copied.name, first.name) << "named after its own BEGIN";
  EXPECT_EQ(copied.copied_from, first.name + " of repository near");
  EXPECT_EQ(copied.exit_code(), 0);
  EXPECT_FALSE(cancel.cancelled());
  const auto before = root_of(first);
  in_far([&] {
    expect_whole(copied);
    const auto root = root_of(copied);
    EXPECT_EQ(root.started, before.started);
    EXPECT_EQ(root.finished, before.finished) << "when the data were what they are";
    EXPECT_EQ(root.start_lsn, before.start_lsn);
    EXPECT_EQ(root.stop_lsn, before.stop_lsn);
    EXPECT_EQ(root.timeline, before.timeline);
    EXPECT_EQ(root.backup_label, before.backup_label);
    EXPECT_EQ(root.host, before.host);
    EXPECT_EQ(root.file_count, before.file_count);
    EXPECT_EQ(root.total_bytes, before.total_bytes);
    auto settings = root.settings;
    std::erase_if(settings, [](const auto& setting) { return setting.first == "read_bytes" || setting.first == "copied_from"; });
    auto expected = before.settings;
    std::erase_if(expected, [](const auto& setting) { return setting.first == "read_bytes"; });
    // The full that could not be an incremental says why, each of its own history.
    EXPECT_EQ(settings, expected);
    EXPECT_TRUE(std::ranges::find(root.settings, std::pair<std::string, std::string>("copied_from", copied.copied_from)) != root.settings.end());
  });
  expect_unpinned();
}

TEST_F(CopiedBackupTest, AnIncrementalStoresWhatChangedSinceItsOwnParent) {
  copy_well(near_backup());
  advance_both({3, 200});
  change(3);
  change(200);
  const auto second = near_backup();
  advance_both({7});
  change(7);
  const auto third = near_backup();
  // The far one was away when the second was made.
  const auto copied = copy_well(third);
  EXPECT_EQ(copied.type, BackupType::Incremental) << copied.method;
  EXPECT_EQ(copied.changed_pages, 3U);
  EXPECT_LT(copied.stored_bytes, 60'000U);
  EXPECT_LT(copied.read_bytes, third.total_bytes / 2) << "files that are as before are not read";
  in_far([&] { expect_whole(copied); });
  EXPECT_TRUE(server.facts.in_recovery == false && server.nudges == 0);
}

/// Whatever the near one holds, in whatever pieces, and however many of its backups the far one has missed.
TEST_F(CopiedBackupTest, EachCopyIsWhatTheClusterWas) {
  for (int step = 0; step < 14; ++step) {
    SCOPED_TRACE(step);
    if (step > 0) {
      std::set<BlockNumber> blocks;
      const auto count = random.below(3) == 0 ? 200 : random.below(25);
      for (std::uint64_t i = 0; i < count; ++i) blocks.insert(static_cast<BlockNumber>(random.below(300)));
      advance_both({blocks.begin(), blocks.end()});
      for (const auto block : blocks) change(block);
      Bytes small(random.below(9000));
      random.fill(small);
      made.file(fmt::format("conf.d/{}.conf", random.below(5)), small);
      if (random.below(4) == 0) made.patch("pg_xact/0000", random.below(200'000), as_bytes("changed"));
      if (random.below(4) == 0) made.patch("pg_stat/other", random.below(600'000), as_bytes("changed"));
    }
    incremental = random.below(6) != 0;
    const auto backup = near_backup();
    if (random.below(3) == 0) continue;
    incremental = random.below(6) != 0;
    workers = static_cast<unsigned>(1 + random.below(3));
    const auto copied = copy_well(backup);
    EXPECT_EQ(copied.exit_code(), 0) << copied.method;
    in_far([&] { expect_whole(copied); });
  }
  expect_unpinned();
}

TEST_F(CopiedBackupTest, AnOriginThatCannotBeReadIsNoError) {
  const auto first = near_backup();
  // Each of its packs, damaged in the middle; none of it may get into the far one.
  const auto packs = storage::list_all(*memory, repository::packs_prefix(cluster->id())).value();
  for (const auto& pack : packs) {
    SCOPED_TRACE(pack.name);
    const auto whole = memory->read(pack.name, 1ULL << 30).value().value();
    auto damaged = whole;
    damaged[damaged.size() / 2] ^= std::byte{1};
    ASSERT_TRUE(memory->remove(pack.name));
    ASSERT_TRUE(memory->create(pack.name, damaged));
    const auto copied = copy(first);
    ASSERT_TRUE(copied) << copied.failure().describe();
    EXPECT_FALSE(*copied);
    expect_nothing_in_far();
    ASSERT_TRUE(memory->remove(pack.name));
    EXPECT_FALSE(*copy(first)) << "nor one that is gone";
    expect_nothing_in_far();
    ASSERT_TRUE(memory->create(pack.name, whole));
  }
  // Nor one that goes away in the middle of it.
  for (std::uint64_t passed = 1; passed < 6; ++passed) {
    storage::Fault gone;
    gone.on = storage::Operation::ReadRange;
    gone.skip = passed;
    store->add(gone);
    EXPECT_FALSE(*copy(first)) << passed;
    store->clear();
    expect_nothing_in_far();
  }
  copy_well(first);
  expect_unpinned();
}

TEST_F(CopiedBackupTest, WhatFailsInTheFarOneIsItsOwn) {
  const auto first = near_backup();
  far.store->add(at_packs({}));
  const auto copied = copy(first);
  ASSERT_FALSE(copied);
  EXPECT_EQ(copied.failure().code(), Errc::Storage) << copied.failure().describe();
  far.store->clear();
  expect_nothing_in_far();
  expect_unpinned();
}

TEST_F(CopiedBackupTest, WithoutTheWalThatItStartsFromItIsNoUse) {
  full();  // of which the far one gets no WAL
  const auto session = cluster->state().snapshots().begin()->first;
  const auto copied = copy_backup({.cluster = *far.cluster, .data_directory = data}, {*cluster, session, "it"}, nullptr);
  ASSERT_TRUE(copied) << copied.failure().describe();
  EXPECT_FALSE(*copied);
  expect_nothing_in_far();
}

TEST_F(CopiedBackupTest, TheWalThatItStartsFromMayWaitOnThisHost) {
  server.on_stop = [this] {
    archive_summary(start_segment, {});
    return ok();
  };
  incremental = false;
  const auto near = run_well();
  archive_timeout = 300s;
  std::optional<TimePoint> first;
  send_on = [&]() -> std::optional<std::string> {
    if (!first) first = clock.now();
    if (clock.now() < *first + 1min) return "WAL waits on this host";
    if (clock.now() < *first + 2min) in_far([&] { archive_summary(start_segment, {}); });
    return std::nullopt;
  };
  copy_well(near);
}

TEST_F(CopiedBackupTest, DamagedPagesStayNamed) {
  made.patch(kTable, 5 * kBlock + 4000, as_bytes("damage"));
  const auto first = near_backup();
  ASSERT_EQ(first.bad_page_count, 1U);
  const auto copied = copy_well(first);
  EXPECT_EQ(copied.bad_page_count, 1U);
  EXPECT_EQ(copied.exit_code(), 8);
  in_far([&] {
    const auto root = root_of(copied);
    ASSERT_EQ(root.bad_pages.size(), 1U);
    EXPECT_EQ(root.bad_pages[0].block, 5U);
    expect_whole(copied);
  });
}

/// A standby's backup carries WAL that no repository has, and says where it is consistent.
TEST_F(CopiedBackupTest, AStandbysKeepsTheWalThatItCarries) {
  made.file("pg_wal/000000010000000000000006", wal_segment(0x6000000));
  set_minimum(postgres::Lsn(0x6000100));
  server.started.on_standby = true;
  server.facts.in_recovery = true;
  server.stopped.stop_lsn = postgres::Lsn(0x6000200);
  const auto first = near_backup();
  ASSERT_EQ(first.carried_wal.size(), 1U);

  const auto copied = copy_well(first);
  EXPECT_TRUE(copied.from_standby);
  EXPECT_EQ(copied.carried_wal, first.carried_wal);
  const std::pair key(FileArea::Wal, std::string("000000010000000000000006"));
  const auto expected = content(entries(first).at(key));
  in_far([&] {
    EXPECT_EQ(content(entries(copied).at(key)), expected);
    const auto root = root_of(copied);
    EXPECT_EQ(root.stop_lsn, 0x6000200U);
    EXPECT_TRUE(root.from_standby);
    EXPECT_EQ(std::ranges::count(root.settings, std::pair<std::string, std::string>("carried_wal", key.second)), 1);
  });
}

TEST_F(CopiedBackupTest, IsPinnedWhileItIsRead) {
  const auto first = near_backup();
  bool looked = false;
  storage::Fault look;
  look.when = storage::Fault::When::Delay;
  look.times = 1;
  look.then = [&] {
    looked = true;
    ASSERT_TRUE(cluster->log().refresh());
    ASSERT_EQ(cluster->state().open_sessions().size(), 1U);
    EXPECT_EQ(cluster->state().open_sessions().begin()->second.parent, first.session);
  };
  far.store->add(at_packs(std::move(look)));
  copy_well(first);
  EXPECT_TRUE(looked);
  expect_unpinned();
}

}  // namespace
}  // namespace pgmint::backup

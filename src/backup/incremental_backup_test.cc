// Whole runs of incremental backups, against WAL that says what a test wants it to say.
#include "backup/testing_incremental.h"

namespace pgmint::backup {
namespace {

using postgres::BlockNumber;
using repository::BackupType;
using repository::FileArea;

using IncrementalBackupTest = testing::IncrementalTest;

TEST_F(IncrementalBackupTest, StoresWhatTheWalNames) {
  const auto first = full();
  expect_whole(first);
  advance({3, 200});
  change(3);
  change(200);
  const auto second = run_well();
  EXPECT_EQ(second.type, BackupType::Incremental);
  EXPECT_TRUE(second.name.ends_with("-incr"));
  EXPECT_EQ(second.parent, first.name);
  EXPECT_EQ(second.changed_pages, 2U);
  EXPECT_EQ(second.exit_code(), 0);
  EXPECT_LT(second.stored_bytes, first.stored_bytes / 4);
  expect_whole(second);
  advance({3});
  change(3);
  const auto third = run_well();
  EXPECT_EQ(third.parent, second.name);
  expect_whole(third);
}

TEST_F(IncrementalBackupTest, ADoctoredSummaryIsNoticed) {
  const auto first = full();
  std::vector<BlockNumber> listed;
  for (BlockNumber block = 32; block < 44; ++block) listed.push_back(block);
  advance(listed);
  for (const auto block : listed) change(block);
  change(60);  // read beside them, and not listed
  const auto second = run_well();
  EXPECT_EQ(second.type, BackupType::Full);
  EXPECT_TRUE(second.name.ends_with("-full"));
  EXPECT_TRUE(second.refuted);
  EXPECT_EQ(second.exit_code(), 8);
  EXPECT_NE(second.method.find("base/5/16384 block 60"), std::string::npos) << second.method;
  expect_whole(second);
  advance({1});
  change(1);
  EXPECT_EQ(run_well().parent, second.name) << "the next one builds on it";
}

/// Which backup is built on follows from positions in the WAL; days count for refreshing only, and a jump is no reason to skip it.
TEST_F(IncrementalBackupTest, AClockThatJumpsChangesNothingButTheName) {
  auto parent = full();
  const auto started = std::chrono::floor<std::chrono::days>(clock.now());
  const std::chrono::sys_days far = std::chrono::year(2099) / 1 / 1, epoch = std::chrono::year(1970) / 1 / 2;
  std::set<std::string> names{parent.name};
  for (const TimePoint now : {TimePoint(far), TimePoint(started), TimePoint(epoch), TimePoint(started), TimePoint(started), TimePoint(far)}) {
    SCOPED_TRACE(format_rfc3339(now));
    advance({3, 200});
    change(3);
    change(200);
    clock.set(now);
    const auto next = run_well();
    EXPECT_EQ(next.type, BackupType::Incremental) << next.method;
    EXPECT_EQ(next.parent, parent.name);
    EXPECT_EQ(next.exit_code(), 0);
    EXPECT_TRUE(names.insert(next.name).second) << next.name << " again";
    expect_whole(next);
    parent = next;
  }
}

TEST_F(IncrementalBackupTest, AMissingSummaryMakesItCompareEverything) {
  full();
  advance({3});
  change(3);
  change(77);
  const auto identity = repository::current_identity(cluster->state());
  ASSERT_TRUE(memory->remove(repository::wal_name(cluster->id(), identity.system_id, identity.incarnation, segment_name(6))));
  const auto second = run_well();
  EXPECT_EQ(second.type, BackupType::Incremental);
  EXPECT_NE(second.method.find(segment_name(6)), std::string::npos) << second.method;
  EXPECT_EQ(second.changed_pages, 2U);
  expect_whole(second);
}

TEST_F(IncrementalBackupTest, OfAClusterThatWasAnotherShapeItIsAFull) {
  full();
  made.file("global/pg_control", testing::make_control_file(false));
  advance({});
  const auto second = run_well();
  EXPECT_EQ(second.type, BackupType::Full);
  EXPECT_NE(second.method.find("page checksums were on then"), std::string::npos) << second.method;
  EXPECT_EQ(second.exit_code(), 0);
}

TEST_F(IncrementalBackupTest, WhatEndedBehindThisStartIsNoParent) {
  full();
  server.started.start_lsn = in_segment(5, 0x60);  // before the full's end: two backups at once
  server.stopped.label_file = testing::ScriptedServer::label_of(server.started.start_lsn);
  clock.sleep(std::chrono::minutes(1));
  server.on_stop = [] { return ok(); };
  const auto second = run_well();
  EXPECT_EQ(second.type, BackupType::Full);
  EXPECT_TRUE(second.name.ends_with("-full"));
  EXPECT_NE(second.method.find("behind the start"), std::string::npos) << second.method;
  expect_whole(second);
}

/// Whatever object of the parent is damaged, the backup that comes out is whole, or there is none.
TEST_F(IncrementalBackupTest, DamageToTheParentIsNeverPassedOn) {
  const auto first = full();
  advance({3, 200});
  change(3);
  change(200);
  std::vector<std::string> objects;
  const auto packs = storage::list_all(*memory, repository::packs_prefix(cluster->id())).value();
  for (const auto& info : packs) objects.push_back(info.name);
  objects.push_back(repository::manifest_name(cluster->id(), first.session));
  ASSERT_GE(objects.size(), 3U);
  for (const auto& object : objects) {
    const auto sound = memory->read(object, UINT64_MAX).value().value();
    for (int i = 0; i < 6; ++i) {
      auto damaged = sound;
      damaged[random.below(damaged.size())] ^= std::byte{0x40};
      ASSERT_TRUE(memory->remove(object));
      ASSERT_TRUE(memory->create(object, damaged));
      auto report = run();
      ASSERT_TRUE(memory->remove(object));
      ASSERT_TRUE(memory->create(object, sound));
      clock.sleep(std::chrono::minutes(1));
      ASSERT_TRUE(report) << object << ": " << report.failure().describe();
      // A byte that nothing has read changes nothing; it is for verify to find.
      EXPECT_EQ(report->exit_code(), report->type == BackupType::Full ? 8 : 0);
      expect_whole(*report);
      ASSERT_TRUE(cluster->log().append(cluster->actor(), repository::ForgetEntry{report->session}));
    }
  }
}

/// Cut off at every operation of the store, what was listed stays whole, and the next run makes a whole backup.
struct CutOff : IncrementalBackupTest {
  BackupReport survive_everywhere() {
    has_stop_segment = false;
    archive_summary(start_segment, {});
    const auto before = cluster->state().snapshots();
    std::uint64_t failed = 0, point = 0;
    for (bool fired = true; fired && !HasFailure(); ++point) {
      fired = false;
      storage::Fault fault;
      fault.then = [&] { fired = true; };
      fault.code = Errc::Key;  // not tried again
      fault.skip = point;
      fault.times = 1;
      fault.when = point % 2 == 0 ? storage::Fault::When::Before : storage::Fault::When::After;
      store->add(fault);
      auto report = run();
      store->clear();
      clock.sleep(std::chrono::minutes(1));
      EXPECT_TRUE(cluster->log().refresh());
      if (!report) ++failed;
      for (const auto& [session, live] : before) EXPECT_TRUE(cluster->state().snapshots().contains(session));
      for (const auto& [session, live] : std::map(cluster->state().snapshots())) {
        if (before.contains(session)) continue;
        BackupReport listed;
        listed.session = session;
        expect_whole(listed);
        EXPECT_TRUE(cluster->log().append(cluster->actor(), repository::ForgetEntry{session}));
      }
      if (HasFailure()) ADD_FAILURE() << "at operation " << point;
    }
    EXPECT_GT(failed, 10U);
    return run_well();
  }
};

TEST_F(CutOff, AnIncremental) {
  full();
  advance({3, 200});
  change(3);
  change(200);
  const auto last = survive_everywhere();
  EXPECT_EQ(last.type, BackupType::Incremental);
  expect_whole(last);
}

TEST_F(CutOff, AnIncrementalThatEmptiesPacks) {
  const auto first = full();
  std::vector<BlockNumber> most;
  for (BlockNumber block = 0; block < 300; ++block)
    if (block < 96 || block >= 128) most.push_back(block);
  advance(most);
  for (const auto block : most) change(block);
  const auto second = run_well();
  EXPECT_EQ(second.type, BackupType::Incremental);
  expect_whole(second);
  advance({7});
  change(7);
  const auto third = survive_everywhere();
  EXPECT_EQ(third.parent, second.name);
  expect_whole(third);
  ASSERT_TRUE(cluster->log().refresh());
  const auto founders = [&](const BackupReport& report) {
    const auto packs = cluster->state().packs_of(cluster->state().snapshots().at(report.session));
    return std::ranges::count_if(packs, [&](const auto& entry) { return entry.id.session == first.session; });
  };
  EXPECT_LT(founders(third), founders(second)) << "the table's pack has nothing left";
}

}  // namespace
}  // namespace pgmint::backup

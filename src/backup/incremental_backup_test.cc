// Whole runs of incremental backups, against WAL that says what a test wants it to say.
#include "backup/testing_backup.h"
#include "postgres/data_directory.h"
#include "repository/pack_account.h"

namespace pgmint::backup {
namespace {

using postgres::BlockNumber;
using postgres::Lsn;
using repository::BackupType;
using repository::FileArea;
using testing::kBlock;

/// A full backup from 0/5000028, then others two segments further each.
struct IncrementalBackupTest : testing::BackupTest {
  static constexpr const char* kTable = "base/5/16384";
  std::uint64_t start_segment = 5;

  IncrementalBackupTest() {
    incremental = true;
    made.file(kTable, testing::make_pages(random, 300));
  }

  static std::string segment_name(std::uint64_t segment) {
    return postgres::segment_file_name(postgres::TimelineId(1), postgres::SegmentNumber(segment),
                                       postgres::WalSegmentSize::default_size());
  }
  static Lsn in_segment(std::uint64_t segment, std::uint64_t offset) {
    return Lsn(segment * testing::kWalSize + offset);
  }

  /// Archives a segment with a summary that names `blocks` of the table.
  void archive_summary(std::uint64_t segment, std::vector<BlockNumber> blocks) {
    postgres::WalSummary summary;
    summary.major = 15;
    summary.system_identifier = made.system_identifier();
    summary.timeline = postgres::TimelineId(1);
    summary.segment = postgres::SegmentNumber(segment);
    summary.first_record = in_segment(segment, 0x28);
    summary.first_previous = in_segment(segment - 1, 0x1000);
    summary.last_record = summary.last_complete = in_segment(segment, 0x1000);
    summary.end = in_segment(segment + 1, 0);
    if (!blocks.empty())
      summary.blocks.push_back({{postgres::relation_of_path(kTable)->locator, postgres::Fork::Main}, std::move(blocks)});
    repository::WalArchive wal(*cluster, repository::current_identity(cluster->state()));
    auto put = wal.put(segment_name(segment), repository::WalContent::Segment, testing::kWalSize, Bytes(testing::kWalSize),
                       postgres::encode_summary(summary));
    ASSERT_TRUE(put) << put.failure().describe();
  }
  /// The next backup starts two segments further; the WAL before names `blocks`.
  void advance(std::vector<BlockNumber> blocks) {
    archive_summary(start_segment, {});
    archive_summary(start_segment + 1, std::move(blocks));
    start_segment += 2;
    server.started.start_lsn = in_segment(start_segment, 0x28);
    server.stopped = {in_segment(start_segment, 0x138), testing::ScriptedServer::label_of(server.started.start_lsn), ""};
    server.on_stop = [this] {
      if (has_stop_segment) archive_summary(start_segment, {});
      return ok();
    };
    clock.sleep(std::chrono::minutes(10));
  }
  bool has_stop_segment = true;

  BackupReport full() {
    server.on_stop = [this] {
      archive_summary(start_segment, {});
      return ok();
    };
    auto report = run_well();
    EXPECT_EQ(report.type, BackupType::Full);
    return report;
  }
  /// A page becomes another, between the last two starts.
  void change(BlockNumber block) {
    made.patch(kTable, std::size_t{block} * kBlock,
               testing::make_page(random, block, in_segment(start_segment - 1, 0x800)));
  }
  void expect_whole(const BackupReport& report) {
    const auto found = entries(report);
    for (const auto& [path, bytes] : made.contents()) EXPECT_EQ(content(found.at({FileArea::Data, path})), bytes) << path;
    repository::RecordOpener opener(cluster->context(), cluster->keys());
    const auto root = root_of(report);
    const auto use = repository::read_pack_account(*store, cluster->context(), opener, root).value().value();
    EXPECT_EQ(use, repository::measure_pack_use(*store, cluster->context(), opener, root).value());
    ASSERT_TRUE(cluster->log().refresh());
    const auto packs = cluster->state().packs_of(cluster->state().snapshots().at(report.session));
    std::set<repository::PackId> needed;
    for (const auto& [pack, bytes] : use.packs()) needed.insert(pack);
    for (const auto& piece : *root.account) needed.insert(piece.pack);
    for (const auto& pack : needed) EXPECT_TRUE(packs.contains(pack));
    EXPECT_EQ(packs.size(), needed.size()) << "nothing is held that is not needed";
    repository::VerifyOptions thoroughly;
    thoroughly.depth = repository::VerifyDepth::Decompress;
    const auto verified = repository::verify(*cluster, thoroughly);
    ASSERT_TRUE(verified);
    for (const auto& finding : verified->findings) ADD_FAILURE() << finding.object << ": " << finding.problem;
  }
};

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

#include "backup/testing_backup.h"

namespace pgmint::backup {
namespace {

using namespace std::chrono_literals;
using repository::FileArea;
using repository::FileEntry;
using repository::FileKind;
using testing::kWalSize;

using testing::BackupTest;

TEST_F(BackupTest, HoldsEveryFileAndWhatARestoreNeedsToKnow) {
  server.facts.config_file = made.beside("etc/postgresql.conf").string();
  fs::create_directories(made.beside("etc"));
  ASSERT_TRUE(write_file_durably(server.facts.config_file, as_bytes("shared_buffers = 1\n"), 0640));
  server.stopped.tablespace_map = "16400 /somewhere\n";
  const auto report = run_well();

  ASSERT_TRUE(cluster->log().refresh());
  ASSERT_NE(cluster->state().find(report.name), nullptr);
  EXPECT_TRUE(report.name.ends_with("Z-full"));
  const auto found = entries(report);
  for (const auto& [path, bytes] : made.contents()) {
    const auto entry = found.find({FileArea::Data, path});
    ASSERT_NE(entry, found.end()) << path;
    EXPECT_EQ(content(entry->second), bytes) << path;
    EXPECT_EQ(entry->second.size, bytes.size());
    EXPECT_FALSE(entry->second.owner.empty());
  }
  EXPECT_EQ(found.at({FileArea::Data, "pg_wal/archive_status"}).kind, FileKind::Directory);
  const auto& outside = found.at({FileArea::Configuration, server.facts.config_file});
  EXPECT_EQ(content(outside), to_bytes(as_bytes("shared_buffers = 1\n")));
  EXPECT_EQ(outside.mode, 0640U);

  const auto root = root_of(report);
  EXPECT_EQ(as_text(root.backup_label), server.stopped.label_file);
  EXPECT_EQ(as_text(root.tablespace_map), server.stopped.tablespace_map);
  EXPECT_EQ(root.start_lsn, testing::kBackupStart.value());
  EXPECT_EQ(root.stop_lsn, server.stopped.stop_lsn.value());
  EXPECT_EQ(root.pg_major, 15U);
  EXPECT_EQ(root.block_size, 8192U);
  EXPECT_EQ(root.note, "a note");
  EXPECT_EQ(root.total_bytes, report.total_bytes);
  EXPECT_EQ(root.file_count, report.files);
  EXPECT_NE(std::find(root.settings.begin(), root.settings.end(),
                      std::pair<std::string, std::string>("max_connections", "100")),
            root.settings.end());
  EXPECT_EQ(report.exit_code(), 0);
  EXPECT_EQ(report.first_wal, "000000010000000000000005");
  EXPECT_EQ(report.last_wal, "000000010000000000000005");
  EXPECT_EQ(report.times.size(), kPhaseCount);
}

TEST_F(BackupTest, MemoryThatManyWorkersShareIsCutIntoWholeExtents) {
  workers = 17;
  EXPECT_EQ(run_well().type, repository::BackupType::Full);
}

TEST_F(BackupTest, ControlFileIsReadAfterEveryOtherFileAndBeforeStop) {
  // Written by a checkpoint while the files are read: the later state is what must be stored.
  auto later =
      postgres::control_file_with_system_identifier(made.contents().at("global/pg_control"), made.system_identifier())
          .value();
  const std::uint32_t offset = postgres::parse_control_file(later)->version->control.crc;
  later[40] ^= std::byte{0xFF};  // a byte of the checkpoint's position
  const auto crc = codec::crc32c(ByteView(later).first(offset));
  std::memcpy(later.data() + offset, &crc, 4);
  source.before_open = [&](const std::string& path) {
    if (path == "postgresql.conf") made.file("global/pg_control", later);
  };
  server.on_stop = [&] {
    archive("000000010000000000000005");
    made.file("global/pg_control", Bytes(8192));
    return ok();
  };
  const auto report = run_well();
  EXPECT_EQ(content(entries(report).at({FileArea::Data, "global/pg_control"})), later);
}

TEST_F(BackupTest, ADamagedPageKeepsTheBackupAndAnswersEight) {
  auto pages = testing::make_pages(random, 150);
  pages[77 * testing::kBlock + 5000] ^= std::byte{1};
  made.file("base/5/16384", pages);
  const auto report = run_well();
  EXPECT_TRUE(report.checksums_enabled);
  EXPECT_EQ(report.exit_code(), 8);
  ASSERT_EQ(report.bad_pages.size(), 1U);
  EXPECT_EQ(report.bad_pages[0].path, "base/5/16384");
  EXPECT_EQ(report.bad_pages[0].block, 77U);
  const auto root = root_of(report);
  ASSERT_EQ(root.bad_pages.size(), 1U);
  EXPECT_EQ(root.bad_pages[0].block, 77U);
  EXPECT_FALSE(root.warnings.empty());
  EXPECT_EQ(content(entries(report).at({FileArea::Data, "base/5/16384"})), pages);
}

TEST_F(BackupTest, WithoutChecksumsOnlyAnImpossibleHeaderIsDamage) {
  made.file("global/pg_control", testing::make_control_file(false));
  auto pages = testing::make_pages(random, 150);
  pages[77 * testing::kBlock + 5000] ^= std::byte{1};
  testing::put_u16(pages, 99 * testing::kBlock + 12, testing::kBlock);  // lower above upper
  made.file("base/5/16384", pages);
  const auto report = run_well();
  EXPECT_FALSE(report.checksums_enabled);
  EXPECT_EQ(report.exit_code(), 8);
  ASSERT_EQ(report.bad_pages.size(), 1U);
  EXPECT_EQ(report.bad_pages[0].block, 99U);
}

TEST_F(BackupTest, TwoBackupsWithinASecondHaveDifferentNames) {
  const auto first = run_well().name;
  EXPECT_NE(run_well().name, first);
}

TEST_F(BackupTest, TwoBackupsAtOnceHaveDifferentNamesFromTheStart) {
  // The second begins while the first is at work, in a process of its own: each has its own view of the log.
  const auto others = repository->open_cluster(cluster->id()).value();
  ASSERT_TRUE(others->log().refresh());
  testing::ScriptedServer second_server(made);
  std::optional<Result<BackupReport>> second;
  server.on_start = [&] {
    second_server.on_stop = server.on_stop;
    BackupRequest request{.cluster = *others, .data_directory = data};
    second = run_against(request, second_server, source);
  };
  const auto first = run_well();
  ASSERT_TRUE(second && *second) << (second ? second->failure().describe() : "it did not run");
  EXPECT_NE((*second)->name, first.name);
  ASSERT_TRUE(cluster->log().refresh());
  EXPECT_NE(cluster->state().find(first.name), nullptr);
  EXPECT_NE(cluster->state().find((*second)->name), nullptr);
}

TEST_F(BackupTest, WithoutItsWalNothingIsListed) {
  server.on_stop = [] { return ok(); };
  server.archiver_status.failing = false;
  const auto error = run_badly();
  EXPECT_EQ(error.code(), Errc::Postgres);
  EXPECT_NE(error.describe().find("000000010000000000000005"), std::string::npos) << error.describe();
  expect_nothing_left();
}

TEST_F(BackupTest, TheWaitNamesWhatTheArchiverComplainedAbout) {
  server.on_stop = [&] {
    server.archiver_status = {1, 9, "000000010000000000000004", "000000010000000000000005", "then", "now", true};
    return ok();
  };
  const auto error = run_badly();
  EXPECT_NE(error.describe().find("archiving of 000000010000000000000005 failed"), std::string::npos)
      << error.describe();
  EXPECT_TRUE(std::any_of(told.begin(), told.end(), [](const Progress& progress) {
    return progress.phase == Phase::WaitForWal && progress.detail.find("000000010000000000000005") != std::string::npos;
  }));
}

TEST_F(BackupTest, WalArchivedToSomewhereElseIsNotWaitedForLong) {
  server.on_stop = [&] {
    server.archiver_status = {5, 0, "000000010000000000000005", "", "now", "", false};
    return ok();
  };
  const auto before = clock.now();
  const auto error = run_badly();
  EXPECT_NE(error.describe().find("not in this repository"), std::string::npos) << error.describe();
  EXPECT_LT(clock.now() - before, 60s);
  expect_nothing_left();
}

TEST_F(BackupTest, WalThatWaitsOnThisHostIsSentOnAndNotTakenForArchivedElsewhere) {
  server.on_stop = [&] {
    server.archiver_status = {5, 0, "000000010000000000000005", "", "now", "", false};
    return ok();
  };
  std::optional<TimePoint> first;
  send_on = [&]() -> std::optional<std::string> {
    if (!first) first = clock.now();
    if (clock.now() < *first + 2min) return "WAL waits on this host: the store is away";
    archive("000000010000000000000005");
    return std::nullopt;
  };
  EXPECT_EQ(run_well().last_wal, "000000010000000000000005");
  EXPECT_TRUE(std::ranges::any_of(told, [](const Progress& progress) { return progress.detail.find("the store is away") != std::string::npos; }));

  // Its patience is that of the wait; and it ends by saying why.
  server.stopped.stop_lsn = postgres::Lsn(0x5000000 + 2 * std::uint64_t{kWalSize});
  server.archiver_status.last_archived_wal = "000000010000000000000006";
  server.on_stop = [] { return ok(); };
  const auto before = clock.now();
  send_on = [] { return std::string("WAL waits on this host: the store is away"); };
  const auto error = run_badly();
  EXPECT_NE(error.describe().find("the store is away"), std::string::npos) << error.describe();
  EXPECT_GE(clock.now() - before, 300s);
}

TEST_F(BackupTest, TheWaitGoesOnAsLongAsSegmentsArrive) {
  server.stopped.stop_lsn = postgres::Lsn(0x5000000 + 10 * std::uint64_t{kWalSize});
  server.on_stop = [] { return ok(); };
  // One segment every four minutes, with a patience of five.
  int next = 5;
  auto last = clock.now();
  server.on_archiver = [&] {
    if (!told.empty() && told.back().phase == Phase::WaitForWal && clock.now() - last > 4min) {
      archive(fmt::format("0000000100000000000000{:02X}", next++));
      last = clock.now();
    }
  };
  const auto report = run_well();
  EXPECT_EQ(report.last_wal, "00000001000000000000000E");
}

TEST_F(BackupTest, EveryFailureAfterBeginEndsInAbort) {
  server.on_stop = []() -> Status { return Error(Errc::Postgres, "the standby was promoted during online backup"); };
  EXPECT_EQ(run_badly().code(), Errc::Postgres);
  expect_nothing_left();

  server.started.start_lsn = postgres::Lsn(0x6000028);
  server.on_stop = [] { return ok(); };
  EXPECT_NE(run_badly().describe().find("another backup"), std::string::npos);
  expect_nothing_left();
}

TEST_F(BackupTest, ALostServerEndsTheBackup) {
  for (int i = 0; i < 30; ++i) made.file(fmt::format("base/5/{}", 20000 + i), random_bytes(random, 1U << 20));
  source.after_read = [&](const std::string&, std::uint64_t, MutableByteView, std::size_t&) { clock.sleep(1s); };
  server.alive = []() -> Status { return Error(Errc::Postgres, "server closed the connection unexpectedly"); };
  // The copy may be over before the first look; then the wait looks.
  server.on_stop = [] { return ok(); };
  EXPECT_EQ(run_badly().code(), Errc::Postgres);
  expect_nothing_left();
}

TEST_F(BackupTest, CancellationLeavesNothing) {
  source.after_read = [&](const std::string&, std::uint64_t, MutableByteView, std::size_t&) { cancel.cancel(); };
  EXPECT_EQ(run_badly().code(), Errc::Cancelled);
  EXPECT_TRUE(server.was_abandoned);
  expect_nothing_left();
}

TEST_F(BackupTest, AFullRepositoryLeavesNothingListed) {
  storage::Fault fault;
  fault.when = storage::Fault::When::Before;
  fault.code = Errc::Storage;
  fault.on = storage::Operation::Create;
  fault.times = 1;
  server.on_start = [&] {
    fault.times = 1'000;
    store->add(fault);
  };
  server.on_stop = [] { return ok(); };
  EXPECT_EQ(run_badly().code(), Errc::Storage);
  store->clear();
  ASSERT_TRUE(cluster->log().refresh());
  EXPECT_TRUE(cluster->state().snapshots().empty());
}

TEST_F(BackupTest, ADatabaseDroppedMeanwhileIsNoDamage) {
  made.file("base/6/PG_VERSION", as_bytes("15\n"));
  made.file("base/6/pg_filenode.map", as_bytes("map"));
  made.file("base/6/16384", testing::make_pages(random, 1));
  source.before_open = [&](const std::string& path) {
    if (path.starts_with("base/6/")) fs::remove_all(made.path() / "base/6");
  };
  const auto report = run_well();
  EXPECT_TRUE(report.warnings.empty());
}

TEST_F(BackupTest, AMissingFileThatMustExistFailsTheBackup) {
  source.before_open = [&](const std::string& path) {
    if (path == "base/5/PG_VERSION") fs::remove(made.path() / path);
  };
  const auto error = run_badly();
  EXPECT_EQ(error.code(), Errc::Precondition);
  EXPECT_NE(error.describe().find("base/5/PG_VERSION"), std::string::npos);
  expect_nothing_left();
}

TEST_F(BackupTest, AConfigurationFileThatCannotBeReadIsAWarning) {
  server.facts.hba_file = made.beside("absent/pg_hba.conf").string();
  const auto report = run_well();
  ASSERT_EQ(report.warnings.size(), 1U);
  EXPECT_NE(report.warnings[0].find("pg_hba.conf"), std::string::npos);
}

struct Preflight : BackupTest {
  void expect_refused(Errc code, const std::string& word) {
    const auto entries = cluster->state().next_seq();
    const auto error = run_badly();
    EXPECT_EQ(error.code(), code) << error.describe();
    EXPECT_NE((error.describe() + error.hint()).find(word), std::string::npos)
        << error.describe() << " / " << error.hint();
    EXPECT_EQ(cluster->state().next_seq(), entries) << "nothing may be written";
    EXPECT_FALSE(server.running);
  }
};

TEST_F(Preflight, RefusesAnotherClustersDataDirectory) {
  made.file("global/pg_control", postgres::control_file_with_system_identifier(made.contents().at("global/pg_control"),
                                                                               postgres::SystemIdentifier(4711))
                                     .value());
  expect_refused(Errc::Precondition, "cluster adopt main");
}

TEST_F(Preflight, RefusesWithoutArchiving) {
  server.facts.archive_mode = "off";
  expect_refused(Errc::Precondition, "archive_mode");
  server.facts.archive_mode = "on";
  server.facts.archive_command.clear();
  expect_refused(Errc::Precondition, "archive_command");
  server.facts.archive_library = "pgmint";
  server.facts.wal_level = "minimal";
  expect_refused(Errc::Precondition, "wal_level");
}

TEST_F(Preflight, RefusesWhileArchivingFailsAfterAskingForAnotherTry) {
  server.archiver_status = {3, 5, "000000010000000000000003", "000000010000000000000004", "then", "now", true};
  server.on_archiver = [&] { server.archiver_status.failed_count += server.nudges; };
  expect_refused(Errc::Precondition, "000000010000000000000004");
  EXPECT_EQ(server.nudges, 1);
}

TEST_F(Preflight, GoesOnWhenArchivingRecovers) {
  server.archiver_status = {3, 5, "000000010000000000000003", "000000010000000000000004", "then", "now", true};
  server.on_archiver = [&] { server.archiver_status.failing = server.nudges == 0; };
  run_well();
}

TEST_F(Preflight, RefusesADirectoryThatIsNone) {
  data = made.beside("nowhere");
  expect_refused(Errc::NotFound, "nowhere");
}

/// A standby whose primary is idle: nobody finishes the segment that holds the end of the backup.
struct StandbyBackup : BackupTest {
  StandbyBackup() {
    server.started.on_standby = true;
    server.facts.in_recovery = true;
    server.facts.archive_mode = "off";
    server.stopped.stop_lsn = postgres::Lsn(0x6000200);
    server.on_stop = [this] {
      archive("000000010000000000000005");
      return ok();
    };
    set_minimum(postgres::Lsn(0x6000100));
  }
};

TEST_F(StandbyBackup, CarriesItsOwnWalThroughTheStop) {
  const auto segment = wal_segment(0x6000000);
  made.file("pg_wal/000000010000000000000006", segment);
  const auto report = run_well();
  EXPECT_TRUE(report.from_standby);
  EXPECT_EQ(report.carried_wal, std::vector<std::string>{"000000010000000000000006"});
  const auto found = entries(report);
  auto expected = segment;
  std::fill(expected.begin() + 0x200, expected.end(), std::byte{0});
  EXPECT_EQ(content(found.at({FileArea::Wal, "000000010000000000000006"})), expected);
  EXPECT_FALSE(found.contains({FileArea::Wal, "000000010000000000000005"})) << "the repository has it";
  const auto root = root_of(report);
  EXPECT_TRUE(root.from_standby);
  const std::pair<std::string, std::string> told_to_restore("carried_wal", "000000010000000000000006");
  EXPECT_EQ(std::count(root.settings.begin(), root.settings.end(), told_to_restore), 1);
}

TEST_F(StandbyBackup, DoesNotTakeARecycledSegmentForTheOneItWaitsFor) {
  made.file("pg_wal/000000010000000000000006", wal_segment(0x2000000));
  EXPECT_EQ(run_badly().code(), Errc::Postgres);
  expect_nothing_left();
}

TEST_F(StandbyBackup, AsksThePrimaryToSwitchWhenThereIsOne) {
  server.primary = Result<postgres::Lsn>(postgres::Lsn(0x7000000));
  server.on_stop = [this] {
    archive("000000010000000000000005");
    archive("000000010000000000000006");
    return ok();
  };
  const auto report = run_well();
  EXPECT_EQ(server.switches, 1);
  EXPECT_TRUE(report.carried_wal.empty());
}

TEST_F(StandbyBackup, CarriesWhenThePrimaryCannotBeReached) {
  server.primary = Result<postgres::Lsn>(Error(Errc::Postgres, "connection refused"));
  made.file("pg_wal/000000010000000000000006", wal_segment(0x6000000));
  const auto report = run_well();
  EXPECT_EQ(report.carried_wal.size(), 1U);
  EXPECT_EQ(report.warnings.size(), 1U);
}

TEST_F(StandbyBackup, EndsAtTheMinimumRecoveryPointOfTheStoredControlFile) {
  server.stopped.stop_lsn = postgres::Lsn(0x5000200);
  made.file("pg_wal/000000010000000000000006", wal_segment(0x6000000));
  const auto report = run_well();
  EXPECT_EQ(report.stop_lsn, 0x6000100U);
  EXPECT_EQ(report.last_wal, "000000010000000000000006");
}

TEST_F(StandbyBackup, AChangeOfTimelineVoidsIt) {
  server.started.timeline = postgres::TimelineId(2);
  EXPECT_NE(run_badly().describe().find("timeline"), std::string::npos);
  expect_nothing_left();
}

}  // namespace
}  // namespace pgmint::backup

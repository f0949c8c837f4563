#include "postgres/data_directory.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/random.h"

namespace pgmint::postgres {
namespace {

/// A data directory made of empty files, without a server.
class MadeDirectory {
 public:
  MadeDirectory() {
    static int count = 0;
    path_ = fs::temp_directory_path() / fmt::format("pgmint-scan-{}-{}", ::getpid(), ++count);
    file("PG_VERSION", "15\n");
    for (auto name : {"global/pg_control", "global/pg_filenode.map", "global/1262", "base/5/PG_VERSION",
                      "base/5/pg_filenode.map", "base/5/1259", "base/5/1259_fsm", "base/5/1259_vm", "base/5/1259.1",
                      "pg_xact/0000", "pg_multixact/members/0000", "postgresql.auto.conf"})
      file(name);
    for (auto name : {"pg_wal/archive_status", "pg_tblspc", "pg_replslot", "pg_stat_tmp"}) directory(name);
  }
  ~MadeDirectory() {
    fs::remove_all(path_);
    fs::remove_all(beside(""));
  }
  const fs::path& path() const { return path_; }
  fs::path beside(const std::string& name) const { return path_.string() + "-beside/" + name; }

  void file(const std::string& name, std::string_view content = "x") const { write(path_ / name, content); }
  static void write(const fs::path& path, std::string_view content = "x") {
    fs::create_directories(path.parent_path());
    ASSERT_TRUE(write_file_durably(path, as_bytes(content), 0600));
  }
  void directory(const std::string& name) const { fs::create_directories(path_ / name); }
  void link(const fs::path& target, const std::string& name) const { fs::create_symlink(target, path_ / name); }

  DirectoryScan scan() const {
    auto scan = scan_data_directory(path_);
    EXPECT_TRUE(scan) << scan.failure().describe();
    return scan ? std::move(*scan) : DirectoryScan{};
  }

 private:
  fs::path path_;
};

const DirectoryEntry* find(const DirectoryScan& scan, std::string_view path) {
  for (const auto& entry : scan.entries)
    if (entry.path == path) return &entry;
  return nullptr;
}

bool noted(const DirectoryScan& scan, std::string_view text) {
  return std::any_of(scan.notes.begin(), scan.notes.end(),
                     [&](const auto& note) { return note.find(text) != std::string::npos; });
}

TEST(Scan, ClassifiesAndSorts) {
  MadeDirectory made;
  auto scan = made.scan();
  auto kind = [&](std::string_view path) { return find(scan, path)->kind; };
  ASSERT_FALSE(scan.entries.empty());
  EXPECT_EQ(scan.entries[0].path, "");
  EXPECT_EQ(kind(""), EntryKind::Directory);
  EXPECT_EQ(kind("PG_VERSION"), EntryKind::Required);
  EXPECT_EQ(kind("global/pg_control"), EntryKind::ControlFile);
  EXPECT_EQ(kind("base/5/pg_filenode.map"), EntryKind::Required);
  EXPECT_EQ(kind("pg_xact/0000"), EntryKind::Slru);
  EXPECT_EQ(kind("pg_multixact/members/0000"), EntryKind::Slru);
  EXPECT_EQ(kind("pg_wal"), EntryKind::Directory);
  EXPECT_EQ(kind("pg_wal/archive_status"), EntryKind::Directory);
  EXPECT_EQ(find(scan, "base/5/1259.1")->relation,
            (RelationSegment{{kDefaultTablespace, Oid(5), Oid(1259)}, Fork::Main, 1}));
  EXPECT_EQ(find(scan, "global/1262")->relation,
            (RelationSegment{{kGlobalTablespace, Oid(0), Oid(1262)}, Fork::Main, 0}));
  EXPECT_TRUE(std::is_sorted(scan.entries.begin(), scan.entries.end(),
                             [](const auto& a, const auto& b) { return a.path < b.path; }));
  EXPECT_TRUE(scan.notes.empty());
  EXPECT_EQ(find(scan, "base/5/1259")->mode, 0600U);
  EXPECT_EQ(find(scan, "PG_VERSION")->size, 3U);
}

TEST(Scan, LeavesOutWhatAStartMakesAnew) {
  MadeDirectory made;
  const std::vector<std::string> out{"pg_wal/000000010000000000000001",
                                     "pg_wal/archive_status/000000010000000000000001.ready",
                                     "pg_replslot/s/state",
                                     "pg_dynshmem/mmap.1",
                                     "pg_notify/0000",
                                     "pg_serial/0000",
                                     "pg_snapshots/1",
                                     "pg_stat_tmp/global.stat",
                                     "pg_subtrans/0000",
                                     "base/pgsql_tmp/pgsql_tmp12.0",
                                     "base/5/pgsql_tmp12.0",
                                     "base/5/pg_internal.init",
                                     "global/pg_internal.init.77",
                                     "postmaster.pid",
                                     "postmaster.opts",
                                     "backup_label",
                                     "backup_label.old",
                                     "tablespace_map",
                                     "tablespace_map.old",
                                     "backup_manifest",
                                     "postgresql.auto.conf.tmp",
                                     "current_logfiles.tmp",
                                     "base/5/t3_16400",
                                     "base/5/t3_16400_fsm",
                                     "base/5/16500",
                                     "base/5/16500.1",
                                     "base/5/16500_fsm",
                                     "base/5/16500_vm"};
  for (const auto& name : out) made.file(name);
  made.file("base/5/16500_init");
  auto scan = made.scan();
  for (const auto& name : out) EXPECT_EQ(find(scan, name), nullptr) << name;
  ASSERT_NE(find(scan, "base/5/16500_init"), nullptr);
  for (auto name :
       {"pg_replslot", "pg_dynshmem", "pg_notify", "pg_serial", "pg_snapshots", "pg_stat_tmp", "pg_subtrans"})
    EXPECT_NE(find(scan, name), nullptr) << name;
  EXPECT_EQ(find(scan, "pg_replslot/s"), nullptr);
}

TEST(Scan, ForeignFilesAreStored) {
  MadeDirectory made;
  made.file("log/postgresql.log");
  made.file("base/5/1259.bak");
  made.file("server.key");
  made.file("pg_twophase/000000AB");
  auto scan = made.scan();
  for (auto name : {"log/postgresql.log", "base/5/1259.bak", "server.key", "pg_twophase/000000AB"}) {
    ASSERT_NE(find(scan, name), nullptr) << name;
    EXPECT_EQ(find(scan, name)->kind, EntryKind::Other) << name;
  }
}

TEST(Scan, TablespacesAreReadThroughTheirLinksAndOnlyTheirOwnMajor) {
  MadeDirectory made;
  MadeDirectory::write(made.beside("ts/PG_15_202209061/5/16600"));
  MadeDirectory::write(made.beside("ts/PG_15_202209061/5/16601_init"));
  MadeDirectory::write(made.beside("ts/PG_15_202209061/5/16601"));
  MadeDirectory::write(made.beside("ts/PG_14_202107181/5/16602"));
  made.link(made.beside("ts"), "pg_tblspc/16400");
  made.file("pg_tblspc/16401/PG_15_202209061/5/16700");
  auto scan = made.scan();
  ASSERT_EQ(scan.tablespaces.size(), 2U);
  EXPECT_EQ(scan.tablespaces[0].location, made.beside("ts").string());
  EXPECT_FALSE(scan.tablespaces[0].in_place);
  EXPECT_TRUE(scan.tablespaces[1].in_place);
  EXPECT_EQ(find(scan, "pg_tblspc/16400")->kind, EntryKind::TablespaceLink);
  EXPECT_EQ(scan.link_targets.at("pg_tblspc/16400"), made.beside("ts").string());
  EXPECT_EQ(find(scan, "pg_tblspc/16401")->kind, EntryKind::Directory);
  EXPECT_EQ(find(scan, "pg_tblspc/16400/PG_15_202209061/5/16600")->relation,
            (RelationSegment{{Oid(16400), Oid(5), Oid(16600)}, Fork::Main, 0}));
  EXPECT_EQ(find(scan, "pg_tblspc/16401/PG_15_202209061/5/16700")->relation->locator.tablespace, Oid(16401));
  EXPECT_EQ(find(scan, "pg_tblspc/16400/PG_15_202209061/5/16601"), nullptr);
  EXPECT_EQ(find(scan, "pg_tblspc/16400/PG_14_202107181"), nullptr);
  EXPECT_TRUE(noted(scan, "PG_14_202107181"));
}

TEST(Scan, TablespaceInsideTheDataDirectoryIsStoredOnce) {
  MadeDirectory made;
  made.file("inner/PG_15_202209061/5/16600");
  made.link(made.path() / "inner", "pg_tblspc/16400");
  auto scan = made.scan();
  EXPECT_NE(find(scan, "pg_tblspc/16400/PG_15_202209061/5/16600"), nullptr);
  EXPECT_NE(find(scan, "inner"), nullptr);
  EXPECT_EQ(find(scan, "inner/PG_15_202209061/5/16600"), nullptr);
}

TEST(Scan, DanglingTablespaceIsRefused) {
  MadeDirectory made;
  made.link("/nonexistent/ts", "pg_tblspc/16400");
  auto scan = scan_data_directory(made.path());
  ASSERT_FALSE(scan);
  EXPECT_EQ(scan.failure().code(), Errc::Precondition);
}

TEST(Scan, LinkedWalAndForeignLinksAreRecordedLinkedDataIsFollowed) {
  MadeDirectory made;
  fs::remove_all(made.path() / "pg_wal");
  MadeDirectory::write(made.beside("wal/000000010000000000000001"));
  made.link(made.beside("wal"), "pg_wal");
  MadeDirectory::write(made.beside("logs/a.log"));
  made.link(made.beside("logs"), "log");
  fs::remove_all(made.path() / "pg_xact");
  MadeDirectory::write(made.beside("xact/0000"));
  made.link(made.beside("xact"), "pg_xact");
  auto scan = made.scan();
  EXPECT_EQ(scan.wal_link, made.beside("wal").string());
  EXPECT_EQ(find(scan, "pg_wal")->kind, EntryKind::Symlink);
  EXPECT_EQ(find(scan, "log")->kind, EntryKind::Symlink);
  EXPECT_EQ(find(scan, "log/a.log"), nullptr);
  EXPECT_EQ(find(scan, "pg_xact")->kind, EntryKind::Directory);
  ASSERT_NE(find(scan, "pg_xact/0000"), nullptr);
  EXPECT_EQ(find(scan, "pg_xact/0000")->kind, EntryKind::Slru);
  EXPECT_TRUE(noted(scan, "pg_xact is a link"));
}

TEST(Scan, SocketsAndPipesAreNotedAndLeftOut) {
  MadeDirectory made;
  ASSERT_EQ(::mkfifo((made.path() / "pipe").c_str(), 0600), 0);
  auto scan = made.scan();
  EXPECT_EQ(find(scan, "pipe"), nullptr);
  EXPECT_TRUE(noted(scan, "pipe"));
}

TEST(Scan, DirectoryThatIsNoClusterIsRefusedWithAHint) {
  MadeDirectory made;
  fs::remove(made.path() / "PG_VERSION");
  auto scan = scan_data_directory(made.path());
  ASSERT_FALSE(scan);
  EXPECT_EQ(scan.failure().code(), Errc::Precondition);
  EXPECT_FALSE(scan.failure().hint().empty());
  EXPECT_EQ(scan_data_directory("/nonexistent").failure().code(), Errc::NotFound);
}

TEST(Scan, MissingFilenodeMapOfADatabaseIsNoted) {
  MadeDirectory made;
  fs::remove(made.path() / "base/5/pg_filenode.map");
  EXPECT_TRUE(noted(made.scan(), "pg_filenode.map"));
}

TEST(Scan, LimitAndCancelStopIt) {
  MadeDirectory made;
  EXPECT_EQ(scan_data_directory(made.path(), {.entries_max = 5}).failure().code(), Errc::ResourceLimit);
  CancelToken cancel;
  cancel.cancel();
  EXPECT_EQ(scan_data_directory(made.path(), {.cancel = &cancel}).failure().code(), Errc::Cancelled);
}

TEST(Vanishing, OnlyRelationsAndSlrusMayGoInSilence) {
  auto rule = [](const char* path) { return vanishing_rule({.path = path, .kind = classify_path(path).value()}); };
  EXPECT_EQ(rule("base/5/16384"), Vanishing::Tolerated);
  EXPECT_EQ(rule("pg_xact/0000"), Vanishing::Tolerated);
  EXPECT_EQ(rule("pg_twophase/000000AB"), Vanishing::Noted);
  for (auto path : {"PG_VERSION", "base/5/PG_VERSION", "base/5/pg_filenode.map", "global/pg_filenode.map",
                    "global/pg_control", "postgresql.auto.conf"})
    EXPECT_EQ(rule(path), Vanishing::Refused) << path;
  EXPECT_EQ(database_directory_of("base/5/pg_filenode.map"), "base/5");
  EXPECT_EQ(database_directory_of("base/5"), "base/5");
  EXPECT_EQ(database_directory_of("pg_tblspc/16400/PG_15_202209061/7/1_vm"), "pg_tblspc/16400/PG_15_202209061/7");
  EXPECT_EQ(database_directory_of("global/pg_filenode.map"), std::nullopt);
}

TEST(ClassifyPath, AgreesWithTheScan) {
  EXPECT_EQ(classify_path("pg_wal/000000010000000000000001"), std::nullopt);
  EXPECT_EQ(classify_path("pg_wal/archive_status/x.ready"), std::nullopt);
  EXPECT_EQ(classify_path("pg_wal/archive_status"), EntryKind::Directory);
  EXPECT_EQ(classify_path("pg_replslot/s"), std::nullopt);
  EXPECT_EQ(classify_path("base/pgsql_tmp/x"), std::nullopt);
  EXPECT_EQ(classify_path("base/5/t1_2"), std::nullopt);
  EXPECT_EQ(classify_path("backup_label"), std::nullopt);
  EXPECT_EQ(classify_path("log/backup_label"), EntryKind::Other);
  EXPECT_EQ(classify_path("base/5/16384_vm"), EntryKind::RelationSegment);
  EXPECT_EQ(relation_of_path("base/5/t1_2"), std::nullopt);
  EXPECT_EQ(relation_of_path("16384"), std::nullopt);
  EXPECT_EQ(relation_of_path("pg_tblspc/1/PG_15_202209061/5/7.3"),
            (RelationSegment{{Oid(1), Oid(5), Oid(7)}, Fork::Main, 3}));
}

TEST(ClassifyPath, RandomPathsNeverDoHarm) {
  SeededRandom random(5);
  const std::vector<std::string> parts{"base", "global", "5",    "pg_wal",  "pg_tblspc", "16384",
                                       "",     "..",     "t1_2", "PG_15_1", "x"};
  for (int round = 0; round < 20000; ++round) {
    std::string path;
    for (auto n = random.below(6); n > 0; --n) path += parts[random.below(parts.size())] + (random.below(4) ? "/" : "");
    (void)classify_path(path);
    (void)relation_of_path(path);
    (void)database_directory_of(path);
  }
}

TEST(Scan, DISABLED_MillionFiles) {
  MadeDirectory made;
  for (int n = 0; n < 1'000'000; ++n)
    Fd(open_file(made.path() / fmt::format("base/5/{}", 20000 + n), O_CREAT | O_WRONLY).value());
  auto start = std::chrono::steady_clock::now();
  auto scan = made.scan();
  std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  fmt::print("{} entries in {:.2f} s\n", scan.entries.size(), took.count());
}

}  // namespace
}  // namespace pgmint::postgres

#include "wal/get.h"


#include "wal/testing_wal.h"

namespace pgmint::wal {
namespace {

using testing::kSegmentSize;
using testing::make_segment;
using testing::name_of;

/// Fails reads as often as told.
class ShakyStore final : public storage::BlobStore {
 public:
  explicit ShakyStore(storage::BlobStore& inner) : inner_(inner) {}
  Result<storage::Created> create(const std::string& n, ByteView d) override { return inner_.create(n, d); }
  Result<std::optional<Bytes>> read(const std::string& n, std::uint64_t l) override {
    TRY(shake());
    return inner_.read(n, l);
  }
  Status read_range(const std::string& n, std::uint64_t o, MutableByteView out) override {
    TRY(shake());
    return inner_.read_range(n, o, out);
  }
  Result<std::optional<storage::BlobInfo>> stat(const std::string& n) override {
    TRY(shake());
    return inner_.stat(n);
  }
  Status list(const std::string& p, const std::string& a,
              const std::function<Status(const storage::BlobInfo&)>& v) override {
    TRY(shake());
    return inner_.list(p, a, v);
  }
  Result<std::vector<std::string>> list_parts(const std::string& p) override {
    TRY(shake());
    return inner_.list_parts(p);
  }
  Status remove(const std::string& n) override { return inner_.remove(n); }
  std::string describe() const override { return "shaky"; }

  unsigned skip = 0;  ///< reads that succeed first
  unsigned failures = 0;
  Errc code = Errc::Storage;

 private:
  Status shake() {
    if (failures == 0) return ok();
    if (skip > 0) {
      --skip;
      return ok();
    }
    --failures;
    return Error(code, "the store does not answer");
  }
  storage::BlobStore& inner_;
};

struct GetTest : testing::WalTest {
  ShakyStore shaky{memory};
  GetTest() {
    // The same repository seen through a store that may fail.
    std::vector<repository::Unlock> unlocks(1);
    unlocks[0].key = crypto::Key256::generate(random);
    auto slot = repository->add_slot(unlocks[0], repository::Role::Root, "for the test", nullptr);
    PGMINT_ASSERT(slot.has_value());
    shaky_repository = std::move(*repository::Repository::open({shaky, clock, random, *seen, "t", "t"}, std::move(unlocks)));
    shaky_cluster = std::move(*shaky_repository->open_cluster(cluster->id()));
  }
  std::unique_ptr<repository::Repository> shaky_repository;
  std::unique_ptr<repository::Cluster> shaky_cluster;

  GetRequest request(const std::string& name) {
    GetRequest request;
    request.file_name = name;
    request.destination = "pg_wal/RECOVERYXLOG";
    request.directory = data;
    request.clock = &clock;
    return request;
  }
  fs::path destination() { return data / "pg_wal" / "RECOVERYXLOG"; }
  int exit_of(const GetRequest& request) { return get_exit_code(get(*shaky_cluster, identity, request)); }
};

TEST_F(GetTest, DeliversTheWholeFile) {
  archive_segment(1, 7);
  const auto report = get(*cluster, identity, request(name_of(1, 7)));
  ASSERT_TRUE(report) << report.failure().describe();
  EXPECT_TRUE(report->delivered);
  EXPECT_FALSE(report->from_cache);
  EXPECT_EQ(report->bytes, kSegmentSize);
  EXPECT_EQ(content(destination()), make_segment(1, 7));
  std::size_t entries = 0;
  for (const auto& entry : fs::directory_iterator(data / "pg_wal")) entries += entry.is_regular_file();
  EXPECT_EQ(entries, 1u);
}

TEST_F(GetTest, TakesAnAbsoluteDestinationAndReplacesWhatIsThere) {
  archive_segment(1, 7);
  auto wanted = request(name_of(1, 7));
  wanted.destination = (directory.path() / "copy").string();
  write(wanted.destination, as_bytes("old"));
  ASSERT_EQ(exit_of(wanted), 0);
  EXPECT_EQ(content(wanted.destination), make_segment(1, 7));
}

TEST_F(GetTest, SaysAbsentOnlyAtTheEndOfWal) {
  archive_segment(1, 7);
  archive_segment(1, 9);
  EXPECT_EQ(exit_of(request(name_of(1, 10))), 1);
  EXPECT_EQ(exit_of(request("00000002.history")), 1);
  const auto hole = get(*cluster, identity, request(name_of(1, 8)));
  ASSERT_FALSE(hole);
  EXPECT_EQ(hole.failure().code(), Errc::Precondition);
  EXPECT_NE(hole.failure().message().find(name_of(1, 9)), std::string::npos);
  EXPECT_EQ(get_exit_code(hole), 200);
  EXPECT_FALSE(fs::exists(destination()));
}

TEST_F(GetTest, BehindWhatTheTargetNeedsAHoleIsToldAsAbsent) {
  archive_segment(1, 7);
  archive_segment(1, 10);
  auto behind = request(name_of(1, 8));
  behind.until = name_of(1, 7);
  const auto report = get(*cluster, identity, behind);
  ASSERT_TRUE(report) << report.failure().describe();
  EXPECT_FALSE(report->delivered);
  EXPECT_NE(report->explanation.find("needs nothing behind " + name_of(1, 7)), std::string::npos) << report->explanation;
  behind.until = name_of(1, 8);
  EXPECT_EQ(exit_of(behind), 200) << "the segment itself is needed";
  auto there = request(name_of(1, 10));
  there.until = name_of(1, 7);
  EXPECT_EQ(exit_of(there), 0);
}

TEST_F(GetTest, AHoleBeforeADescendantIsAHoleToo) {
  archive_segment(1, 7);
  archive_history(2, {{1, 9}});
  archive_segment(2, 9);
  EXPECT_EQ(exit_of(request(name_of(1, 8))), 200);
  EXPECT_EQ(exit_of(request(name_of(1, 9))), 1);
  EXPECT_EQ(exit_of(request(name_of(2, 10))), 1);
  EXPECT_EQ(exit_of(request("00000003.history")), 1);
}

TEST_F(GetTest, JudgesAlikeWithTheServersPgControl) {
  // 16 MiB segments, as the golden pg_control has: only names matter here.
  write_control();
  const auto put = [&](const std::string& name) {
    auto done = archive().put(name, repository::WalContent::Segment, 16u << 20, Bytes(16u << 20), {});
    ASSERT_TRUE(done) << done.failure().describe();
  };
  put("000000010000000000000007");
  put("000000010000000000000009");
  put("000000030000000000000005");
  EXPECT_EQ(exit_of(request("00000001000000000000000A")), 1);
  EXPECT_EQ(exit_of(request("000000010000000000000008")), 200);
  EXPECT_EQ(exit_of(request("000000030000000000000006")), 1);
  EXPECT_EQ(exit_of(request("000000030000000000000004")), 200);
  EXPECT_EQ(exit_of(request("00000002.history")), 200);
  EXPECT_EQ(exit_of(request("00000004.history")), 1);
}

TEST_F(GetTest, BelowTheFloorIsNotAbsent) {
  archive_segment(1, 5);  // let go, and not collected yet
  repository::FloorEntry floor;
  floor.lines.push_back({testing::kSystemId, repository::Incarnation(1), 1, 10 * kSegmentSize});
  auto appended = cluster->log().append(cluster->actor(), repository::EntryContent(floor));
  ASSERT_TRUE(appended) << appended.failure().describe();
  EXPECT_EQ(exit_of(request(name_of(1, 9))), 200);
  EXPECT_EQ(exit_of(request(name_of(1, 10))), 1);
}

TEST_F(GetTest, AFailingStoreIsNeverAbsence) {
  shaky.failures = 1'000'000;
  const auto before = clock.now();
  EXPECT_EQ(exit_of(request(name_of(1, 7))), 200);
  EXPECT_GE(clock.now() - before, std::chrono::milliseconds(1400));  // 200, 400, 800
  shaky.code = Errc::Key;
  EXPECT_EQ(exit_of(request(name_of(1, 7))), 200);
}

TEST_F(GetTest, WhereverTheStoreFailsTheAnswerIsNeverTheWrongOne) {
  archive_segment(1, 7);
  archive_segment(1, 9);
  archive_history(2, {{1, 9}});
  archive_segment(2, 9);
  const std::vector<std::pair<std::string, int>> truth{
      {name_of(1, 7), 0}, {name_of(1, 8), 200}, {name_of(1, 10), 1}, {name_of(2, 10), 1}, {"00000003.history", 1}};
  for (const auto& [name, expected] : truth) {
    auto wanted = request(name);
    wanted.attempts = 1;
    unsigned failed = 0;
    for (unsigned skip = 0; skip < 60; ++skip) {
      shaky_cluster = std::move(*shaky_repository->open_cluster(cluster->id()));
      shaky.skip = skip;
      shaky.failures = 1;
      const int exit = exit_of(wanted);
      const bool reached = shaky.failures == 0;
      shaky.failures = 0;
      EXPECT_EQ(exit, reached ? 200 : expected) << name << " after " << skip;
      failed += reached;
      if (!reached) break;
    }
    EXPECT_GE(failed, 3u) << name;
  }
}

TEST_F(GetTest, TransientErrorsAreTriedAgain) {
  archive_segment(1, 7);
  shaky.failures = 3;
  EXPECT_EQ(exit_of(request(name_of(1, 7))), 0);
  EXPECT_EQ(content(destination()), make_segment(1, 7));
}

TEST_F(GetTest, AStandbyGoesOnTryingForItsTime) {
  archive_segment(1, 7);
  write(data / "standby.signal", {});
  shaky.failures = 1'000'000;
  const auto before = clock.now();
  EXPECT_EQ(exit_of(request(name_of(1, 7))), 200);
  const auto waited = clock.now() - before;
  EXPECT_GE(waited, std::chrono::seconds(60));
  EXPECT_LE(waited, std::chrono::seconds(66));
  shaky.failures = 12;
  EXPECT_EQ(exit_of(request(name_of(1, 7))), 0);
}

TEST_F(GetTest, OnlyAStandbyMayBeToldAbsentForAnError) {
  archive_segment(1, 7);
  shaky.failures = 1'000'000;
  auto wanted = request(name_of(1, 7));
  wanted.on_error = OnError::Absent;
  wanted.standby_retry = std::chrono::seconds(1);
  EXPECT_EQ(exit_of(wanted), 200);
  write(data / "standby.signal", {});
  EXPECT_EQ(exit_of(wanted), 1);
  EXPECT_FALSE(fs::exists(destination()));
}

TEST_F(GetTest, DamageLeavesNothingUnderTheFinalName) {
  archive_segment(1, 7);
  const auto snapshot = memory.snapshot();
  for (const auto& [name, bytes] : snapshot) {
    if (!name.ends_with(name_of(1, 7))) continue;
    auto bad = *bytes;
    bad[bad.size() - 20] ^= std::byte{1};
    memory.replace(name, bad);
  }
  EXPECT_EQ(exit_of(request(name_of(1, 7))), 200);
  EXPECT_TRUE(fs::is_empty(data / "pg_wal" / "archive_status"));
  for (const auto& entry : fs::directory_iterator(data / "pg_wal")) EXPECT_FALSE(entry.is_regular_file()) << entry.path();
}

TEST_F(GetTest, NamesThatAreNotWalExitAbove125) {
  EXPECT_EQ(exit_of(request("postgresql.conf")), 200);
  EXPECT_EQ(exit_of(request("../global/pg_control")), 200);
}

TEST_F(GetTest, StartsThePrefetcherWithItsArguments) {
  archive_segment(1, 7);
  const auto note = directory.path() / "started";
  const auto script = directory.path() / "prefetcher";
  write(script, as_bytes("#!/bin/sh\n{ echo \"$@\"; ls /proc/self/fd | wc -l; } > " + note.string() + ".tmp\nmv " + note.string() +
                         ".tmp " + note.string() + "\n"));
  fs::permissions(script, fs::perms::owner_all);
  auto wanted = request(name_of(1, 7));
  wanted.prefetch_command = {script.string(), "fixed"};
  ASSERT_EQ(exit_of(wanted), 0);
  for (int i = 0; i < 2000 && !fs::exists(note); ++i) system_clock().sleep(std::chrono::milliseconds(5));
  const auto text = read_text_file(note, 1000);
  ASSERT_TRUE(text);
  EXPECT_TRUE(text->starts_with("fixed " + (data / "pg_wal" / "pgmint-prefetch").string())) << *text;
  EXPECT_NE(text->find(" " + name_of(1, 7) + "\n"), std::string::npos) << *text;
  // Not outside pg_wal.
  fs::remove(note);
  wanted.destination = (directory.path() / "copy").string();
  ASSERT_EQ(exit_of(wanted), 0);
  EXPECT_FALSE(fs::exists(directory.path() / "pgmint-prefetch"));
}

}  // namespace
}  // namespace pgmint::wal

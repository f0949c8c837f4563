// Streams of which only what changed comes: what is stored is what was there, whatever happened in between and whatever a server sends.
#include <fmt/format.h>

#include "backup/page_inspector.h"
#include "backup/testing_remote.h"

namespace pgmint::backup {
namespace {

using postgres::BlockNumber;
using testing::RemoteTest;
using BackupType = repository::BackupType;

struct RemoteIncremental : RemoteTest {
  void expect_in_part(const BackupReport& report) {
    EXPECT_EQ(report.type, BackupType::Incremental);
    EXPECT_TRUE(report.method.starts_with("the blocks that the server's WAL summaries")) << report.method;
    EXPECT_EQ(report.exit_code(), 0);
    expect_whole(report);
  }
};

/// A second one within a test.
struct Another final : RemoteIncremental {
  void TestBody() override {}
};

TEST_F(RemoteIncremental, OnlyWhatChangedComes) {
  const auto full = first();
  go_on();
  write(kTable, 17);
  const auto next = backed_up();
  expect_in_part(next);
  EXPECT_EQ(next.changed_pages, 1U);
  EXPECT_LT(next.received_bytes * 10, full.received_bytes);
  EXPECT_TRUE(std::ranges::count(remote.parts, kTable));
  EXPECT_EQ(remote.starts, 2);
}

TEST_F(RemoteIncremental, ProgressIsOfWhatComes) {
  // Of small files one page comes, and the header is as long as that.
  const auto name = [](int i) { return fmt::format("base/5/{}", 17000 + i); };
  for (int i = 0; i < 20; ++i) made.file(name(i), testing::make_pages(random, 10));
  first();
  go_on();
  for (int i = 0; i < 20; ++i) write(name(i), 3);
  for (BlockNumber block = 0; block < 60; ++block) write(kTable, block * 2);
  std::uint64_t done = 0, total = 0;
  told.clear();
  expect_in_part(backed_up());
  for (const auto& progress : told)
    if (progress.phase == Phase::Copy || progress.phase == Phase::Stop) done = progress.bytes_done, total = progress.bytes_total;
  EXPECT_LT(total, made.contents().at(kTable).size() / 2);
  EXPECT_GE(done, total * 95 / 100);
}

TEST_F(RemoteIncremental, WhatIsNotWholeInTheWalComesWhole) {
  made.file("base/5/16384_vm", testing::make_pages(random, 3));
  made.file("base/5/16384_fsm", testing::make_pages(random, 3));
  made.file("base/5/16999_init", testing::make_pages(random, 1));
  made.file("pg_xact/0000", Bytes(8192));
  first();
  go_on();
  made.file("base/5/16384_vm", testing::make_pages(random, 3));
  expect_in_part(backed_up());
  for (const auto& path : remote.asked_for) EXPECT_TRUE(path.find('_') == std::string::npos && path.starts_with("base/5/")) << path;
  EXPECT_TRUE(remote.asked_for.contains(kTable));
}

TEST_F(RemoteIncremental, PagesThatNoWalTellsOfBehindALimitAreZeros) {
  first();
  go_on();
  // Truncated, made longer by more than was used: what is not used has zeros, and the parent has rows there.
  cut(kTable, 100);
  extend(kTable, 60);
  write(kTable, 101);
  write(kTable, 150);
  expect_in_part(backed_up());
  EXPECT_TRUE(std::ranges::count(remote.parts, kTable));
}

TEST_F(RemoteIncremental, TheTurnOfAFileComesInEveryStream) {
  first();
  std::set<std::string> whole;
  for (int day = 0; day < kRefreshDays; ++day) {
    go_on();
    clock.sleep(std::chrono::hours(24) - std::chrono::minutes(10));
    expect_in_part(backed_up());
    for (const auto& path : remote.wholes)
      if (const auto relation = postgres::relation_of_path(path)) whole.insert(path);
  }
  for (const auto* path : {kTable, "base/5/16385"}) EXPECT_TRUE(whole.contains(path)) << path;
}

TEST_F(RemoteIncremental, ABlockThatTheSummariesOmitIsSeenWithinFourWeeks) {
  first();
  go_on();
  write(kTable, 200);
  write(kTable, 17);
  remote.omitted.insert(fmt::format("{} 200", kTable));
  const auto report = backed_up();
  EXPECT_EQ(report.exit_code(), 0);
  const auto stored = [&](const BackupReport& of) { return content(entries(of).at({testing::FileArea::Data, kTable})); };
  EXPECT_NE(stored(report), made.contents().at(kTable)) << "nobody can know yet";
  for (int day = 1;; ++day) {
    ASSERT_LE(day, kRefreshDays);
    go_on();
    clock.sleep(std::chrono::hours(24) - std::chrono::minutes(10));
    const auto next = backed_up();
    if (stored(next) != made.contents().at(kTable)) continue;
    EXPECT_EQ(next.exit_code(), 8);
    ASSERT_EQ(next.bad_pages.size(), 1U);
    EXPECT_EQ(next.bad_pages[0].block, 200U);
    EXPECT_EQ(next.bad_pages[0].reason, kChangedWithoutWal);
    break;
  }
}

TEST_F(RemoteIncremental, AnUnlistedPageInAFileThatComesWholeRefutesTheList) {
  first();
  go_on();
  for (BlockNumber block = 0; block < 299; ++block) write(kTable, block);
  write(kTable, 299);
  remote.omitted.insert(fmt::format("{} 299", kTable));
  const auto report = backed_up();
  EXPECT_EQ(report.type, BackupType::Full);
  EXPECT_EQ(report.exit_code(), 8);
  expect_whole(report);
}

TEST_F(RemoteIncremental, ABlockThatIsInTheSummariesAndDoesNotComeMakesItStartAgain) {
  for (const bool last : {false, true}) {
    Another one;
    one.first();
    one.go_on();
    for (const auto block : {3U, 40U, 299U}) one.write(kTable, block);
    one.remote.not_sent.insert(fmt::format("{} {}", kTable, last ? 299 : 40));
    const auto report = one.backed_up();
    EXPECT_EQ(report.type, BackupType::Full);
    EXPECT_EQ(report.exit_code(), 8);
    EXPECT_NE(report.method.find("it does not send it"), std::string::npos) << report.method;
    one.expect_whole(report);
  }
}

TEST_F(RemoteIncremental, AServerThatRefusesSendsAllAndItIsSaidWhy) {
  first();
  go_on();
  write(kTable, 17);
  remote.refuses = Error(Errc::Postgres, "PostgreSQL: WAL summaries are required on timeline 1 [55000]");
  const auto report = backed_up();
  EXPECT_EQ(report.type, BackupType::Incremental);
  EXPECT_EQ(report.method, "all files sent and compared: the server takes no incremental base backup: PostgreSQL: WAL summaries are required on timeline 1 [55000]");
  EXPECT_EQ(report.exit_code(), 0);
  EXPECT_EQ(remote.starts, 3);
  expect_whole(report);
}

TEST_F(RemoteIncremental, AServerThatDoesNotSayWhatItsSummariesNameSendsAll) {
  first();
  go_on();
  write(kTable, 17);
  remote.forgets = Error(Errc::Postgres, "PostgreSQL: permission denied [42501]");
  const auto report = backed_up();
  EXPECT_EQ(report.type, BackupType::Incremental);
  EXPECT_NE(report.method.find("all files sent and compared: the server does not say what its WAL summaries name"), std::string::npos) << report.method;
  EXPECT_TRUE(remote.parts.empty());
  expect_whole(report);
}

TEST_F(RemoteIncremental, AnErrorThatIsNotTheServersWordEndsTheRun) {
  first();
  go_on();
  remote.refuses = Error(Errc::Postgres, "PostgreSQL: the connection is gone");
  const auto report = back_up();
  ASSERT_FALSE(report);
  EXPECT_EQ(remote.starts, 2);
}

TEST_F(RemoteIncremental, TheWaitForTheSummarizerHasALimitAndIsTold) {
  first();
  go_on();
  write(kTable, 17);
  remote.summarised = {postgres::Lsn(1), postgres::Lsn(10ULL << 30)};
  int asked = 0;
  remote.on_summarizer = [&] {
    // It moves, for longer than it may stand still; then no more.
    if (++asked < 600) remote.summarised.summarized = postgres::Lsn(static_cast<std::uint64_t>(asked));
  };
  told.clear();
  const auto report = backed_up();
  EXPECT_GT(asked, 600);
  EXPECT_NE(report.method.find("the server's WAL summarizer has stood at"), std::string::npos) << report.method;
  EXPECT_TRUE(std::ranges::any_of(told, [](const Progress& progress) { return progress.detail.find("summarises its WAL: 10.0 GiB") != std::string::npos; }));
  expect_whole(report);
}

TEST_F(RemoteIncremental, AFileWithDamagedPagesComesWhole) {
  made.patch(kTable, 5 * testing::kBlock + 5000, as_bytes("damage"));
  EXPECT_EQ(first().bad_page_count, 1U);
  go_on();
  const auto report = backed_up();
  EXPECT_FALSE(remote.asked_for.contains(kTable));
  EXPECT_EQ(report.bad_page_count, 1U);
  expect_whole(report);
}

TEST_F(RemoteIncremental, ADamagedPageThatComesIsNamed) {
  first();
  go_on();
  write(kTable, 17);
  made.patch(kTable, 17 * testing::kBlock, as_bytes(std::string_view("\0\0\0\0\1\1\0\0", 8)));
  const auto report = backed_up();
  EXPECT_EQ(report.bad_page_count, 1U);
  EXPECT_EQ(report.exit_code(), 8);
  expect_whole(report);
}

TEST_F(RemoteIncremental, AParentThatLostItsPagesMakesTheServerSendAllOnceMore) {
  first();
  go_on();
  // More than a third of an extent: it is written anew, and the rest of it is the parent's.
  for (BlockNumber block = 0; block < 20; ++block) write(kTable, block);
  const auto packs = storage::list_all(*memory, repository::packs_prefix(cluster->id())).value();
  for (const auto& listed : packs)
    if (listed.size > 1 << 19) {
      ASSERT_TRUE(memory->remove(listed.name));
    }
  const auto report = backed_up();
  EXPECT_EQ(report.type, BackupType::Full);
  EXPECT_EQ(report.exit_code(), 8);
  EXPECT_NE(report.method.find("the parent cannot be read"), std::string::npos) << report.method;
}

TEST_F(RemoteIncremental, PartsOfFilesThatAreNoneEndTheStream) {
  const auto refused = [](const std::function<Bytes(Bytes)>& meddle) {
    Another one;
    one.first();
    one.go_on();
    for (const auto block : {3U, 40U, 41U}) one.write(kTable, block);
    one.remote.meddle = [&](const std::string& path, Bytes member) { return path == kTable ? meddle(std::move(member)) : std::move(member); };
    const auto report = one.back_up();
    ASSERT_FALSE(report);
    EXPECT_EQ(report.failure().code(), Errc::Postgres) << report.failure().describe();
    EXPECT_NE(report.failure().describe().find(kTable), std::string::npos) << report.failure().describe();
    ASSERT_TRUE(one.cluster->log().refresh());
    EXPECT_EQ(one.cluster->state().snapshots().size(), 1U);
  };
  const auto with = [](std::size_t at, std::uint32_t value) {
    return [=](Bytes member) {
      testing::put_u32(member, at, value);
      return member;
    };
  };
  refused(with(0, 0x0d1faed3));
  refused(with(0, 7));
  refused(with(4, 2));
  refused(with(4, 4));
  refused(with(4, 131073));
  refused(with(4, 0xffffffff));
  refused(with(12, 40));   // twice
  refused(with(16, 2));    // not in order
  refused(with(20, 131072));
  refused(with(20, 0xffffffff));
  refused([](Bytes member) { return member.resize(member.size() - 1), member; });
  refused([](Bytes member) { return member.resize(member.size() + 512), member; });
  refused([](Bytes member) { return member.resize(11), member; });
  refused([](Bytes) { return Bytes(); });
}

TEST_F(RemoteIncremental, LengthsThatCannotBeAreBoundedAndHarmless) {
  // As long as a segment, and nothing of it sent: zeros behind the parent's end, not a gigabyte of memory. Some servers count on into later segments.
  for (const auto length : {131072U, 131073U, 0xffffffffU}) {
    Another one;
    one.first();
    one.go_on();
    one.remote.meddle = [&](const std::string& path, Bytes member) {
      if (path == kTable) testing::put_u32(member, 8, length);
      return member;
    };
    const auto report = one.backed_up();
    const auto entry = one.entries(report).at({testing::FileArea::Data, kTable});
    EXPECT_EQ(entry.size, 1ULL << 30);
  }
}

TEST_F(RemoteIncremental, ASegmentBeforeTheOneThatWasCutOffMayShrinkMeanwhile) {
  // Its relation was cut off in a later segment before the start, and here while the stream runs. The server counts up to the first cut.
  first();
  go_on();
  write(kTable, 3);
  write(kTable, 250);
  remote.changed["base/5/16384.1"].limit = 5;
  remote.after_start = [&](auto&) {
    auto bytes = made.contents().at(kTable);
    bytes.resize(std::size_t{200} * testing::kBlock);
    made.file(kTable, bytes);
    remote.meddle = [](const std::string& path, Bytes member) {
      if (path == kTable) testing::put_u32(member, 8, 131072 + 5);
      return member;
    };
  };
  const auto report = backed_up();
  EXPECT_EQ(report.type, BackupType::Incremental);
  EXPECT_EQ(report.exit_code(), 0);
}

TEST_F(RemoteIncremental, WhateverHappensInBetweenIsThereAfterwards) {
  // Against a model: the made cluster's files, which the server sends by PostgreSQL's rules.
  const std::vector<std::string> files = {kTable, "base/5/16385", "base/5/16386", "base/5/16390.1", "base/5/16400", "global/1260"};
  const std::size_t lengths[] = {300, 1, 40, 700, 33, 5};
  for (std::size_t i = 0; i < files.size(); ++i) made.file(files[i], testing::make_pages(random, lengths[i], files[i].ends_with(".1") ? 131072 : 0));
  first();
  std::size_t in_part = 0;
  for (int round = 0; round < 12; ++round) {
    SCOPED_TRACE(fmt::format("round {}", round));
    go_on();
    for (int step = static_cast<int>(random.u64() % 8); step > 0; --step) {
      const auto& path = files[random.u64() % files.size()];
      const auto length = static_cast<BlockNumber>(made.contents().at(path).size() / testing::kBlock);
      switch (random.u64() % 8) {
        case 0:
          cut(path, static_cast<BlockNumber>(random.u64() % (length + 1)));
          if (random.u64() % 2 == 0) extend(path, static_cast<BlockNumber>(random.u64() % 50));
          break;
        case 1:
          extend(path, static_cast<BlockNumber>(random.u64() % 50));
          break;
        case 2:  // another file of this name
          cut(path, 0);
          for (auto n = random.u64() % 80; n > 0; --n) write(path, static_cast<BlockNumber>(random.u64() % 60));
          break;
        case 3:  // a long run
          for (auto block = static_cast<BlockNumber>(random.u64() % (length + 1)), n = 0U; n < 60; ++n) write(path, block + n);
          break;
        default:
          for (auto n = random.u64() % 6; n > 0; --n) write(path, static_cast<BlockNumber>(random.u64() % (length + 8)));
      }
    }
    if (random.u64() % 5 == 0) clock.sleep(std::chrono::hours(24));
    const auto report = backed_up();
    expect_in_part(report);
    in_part += remote.parts.size();
    if (HasFailure()) return;
  }
  EXPECT_GT(in_part, 20U);
}

}  // namespace
}  // namespace pgmint::backup

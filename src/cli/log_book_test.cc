#include "cli/log_book.h"

#include <gtest/gtest.h>

#include <set>
#include <thread>

#include "storage/temporary_directory.h"

namespace pgmint::cli {
namespace {

class LogBookTest : public ::testing::Test {
 protected:
  LogBookTest() { settings.directory = directory.path(); }

  std::set<std::string> files() const {
    std::set<std::string> names;
    for (const auto& entry : fs::directory_iterator(directory.path())) names.insert(entry.path().filename());
    return names;
  }
  std::string text(const std::string& name) const { return read_text_file(directory.path() / name, 1 << 20).value(); }
  void have(const std::string& name) { ASSERT_TRUE(write_file_durably(directory.path() / name, as_bytes("x\n"), 0640)); }

  storage::TemporaryDirectory directory;
  LogSettings settings;
  ManualClock clock{*parse_time("2026-11-26 12:00:00")};  // local, as days are
};

TEST_F(LogBookTest, ADaemonsLinesGoToTheDayOnWhichTheyAreWritten) {
  LogBookFile book(settings, LogBook::Backup, "daemon", clock);
  ASSERT_TRUE(book.open());
  book.write(LogLevel::Info, "one");
  clock.sleep(std::chrono::hours(24));
  book.write(LogLevel::Warning, "two\nlines, password=sesame42");
  EXPECT_EQ(files(), (std::set<std::string>{"backup-2026-11-26.log", "backup-2026-11-27.log", "backup.log"}));
  EXPECT_NE(text("backup-2026-11-26.log").find("one"), std::string::npos);
  EXPECT_EQ(text("backup-2026-11-26.log").find("two"), std::string::npos);
  EXPECT_NE(text("backup.log").find("two lines"), std::string::npos);
  EXPECT_EQ(text("backup.log").find("sesame42"), std::string::npos);
}

TEST_F(LogBookTest, WhatIsOverGoesWhileADaemonRuns) {
  settings.backup = policy::days(10);
  have("backup-2026-11-17.log");
  have("access-2026-11-01.log");
  LogBookFile book(settings, LogBook::Backup, "daemon", clock);
  ASSERT_TRUE(book.open());
  EXPECT_TRUE(files().contains("backup-2026-11-17.log"));
  clock.sleep(std::chrono::hours(48));
  book.write(LogLevel::Info, "later");
  EXPECT_FALSE(files().contains("backup-2026-11-17.log"));
  EXPECT_TRUE(files().contains("access-2026-11-01.log")) << "another book's";
}

TEST_F(LogBookTest, AClockThatIsFarAheadCostsNothing) {
  for (const auto* name : {"audit-2024-03-01.log", "audit-2026-11-25.log"}) have(name);
  clock.set(*parse_time("2099-01-01 12:00:00"));
  LogBookFile book(settings, LogBook::Audit, "list", clock);
  ASSERT_TRUE(book.open());
  book.write(LogLevel::Info, "ahead");
  clock.set(*parse_time("2026-11-26 12:00:00"));
  book.write(LogLevel::Info, "right again");
  EXPECT_TRUE(files().contains("audit-2024-03-01.log"));
  EXPECT_TRUE(files().contains("audit-2026-11-25.log"));
  EXPECT_NE(text("audit-2026-11-26.log").find("right again"), std::string::npos);
}

TEST_F(LogBookTest, LinesOfThreadsStayWhole) {
  LogBookFile book(settings, LogBook::Backup, "backup", clock);
  ASSERT_TRUE(book.open());
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&book] {
      for (int n = 0; n < 200; ++n) book.write(LogLevel::Info, std::string(300, 'a'));
    });
  threads.clear();
  std::size_t lines = 0;
  std::istringstream in(text("backup.log"));
  for (std::string line; std::getline(in, line); ++lines) EXPECT_TRUE(line.ends_with(std::string(300, 'a')));
  EXPECT_EQ(lines, 800U);
}

TEST_F(LogBookTest, AFolderThatWentAwayEndsNothing) {
  LogBookFile book(settings, LogBook::Backup, "daemon", clock);
  ASSERT_TRUE(book.open());
  fs::remove_all(directory.path());
  ASSERT_TRUE(write_file_durably(directory.path(), as_bytes("a file in its place"), 0600));
  clock.sleep(std::chrono::hours(24));
  ::testing::internal::CaptureStderr();
  book.write(LogLevel::Info, "one");
  book.write(LogLevel::Info, "two");
  const auto told = ::testing::internal::GetCapturedStderr();
  EXPECT_EQ(std::ranges::count(told, '\n'), 1) << told;
  fs::remove(directory.path());
}

}  // namespace
}  // namespace pgmint::cli

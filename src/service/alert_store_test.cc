#include "service/alert_store.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/temporary_directory.h"

namespace pgmint::service {
namespace {

using namespace std::chrono_literals;

const TimePoint kStart{std::chrono::sys_days(std::chrono::year(2026) / 11 / 22)};

AlertBook book_of(std::string code, TimePoint now) {
  AlertBook book;
  book.see({{{"main", std::move(code), "", Severity::Problem, "m", "h"}}, {}}, now);
  return book;
}

/// A file where the directory should be: not even root can write below it.
class AlertStoreTest : public ::testing::Test {
 protected:
  void block() { ASSERT_TRUE(write_file_durably(place.path() / "state", as_bytes("x"), 0600)); }
  storage::TemporaryDirectory place, shm;
  AlertStore store{place.path() / "state", {"/nosuch", shm.path()}};
};

TEST_F(AlertStoreTest, WhatWasSavedIsLoaded) {
  EXPECT_TRUE(store.load().open().empty());
  EXPECT_EQ(store.save(book_of("a", kStart)), AlertStore::Kept::State);
  ASSERT_EQ(store.load().open().size(), 1U);
  EXPECT_EQ(store.load().open()[0].finding.code, "a");
}

TEST_F(AlertStoreTest, ADamagedFileIsNamedAndForgotten) {
  ASSERT_EQ(store.save(book_of("a", kStart)), AlertStore::Kept::State);
  ASSERT_TRUE(write_file_durably(place.path() / "state/alerts.json", as_bytes("{\"version\":"), 0600));
  std::vector<std::string> damaged;
  EXPECT_TRUE(store.load(&damaged).open().empty());
  EXPECT_EQ(damaged.size(), 1U);
}

TEST_F(AlertStoreTest, WhatCannotBeReadIsNamedAndAbsenceIsNot) {
  std::vector<std::string> unreadable;
  store.load(&unreadable);
  EXPECT_EQ(unreadable.size(), 0U) << "nothing was saved yet";
  fs::create_directories(place.path() / "state/alerts.json");
  store.load(&unreadable);
  ASSERT_EQ(unreadable.size(), 1U);
  EXPECT_NE(unreadable[0].find("alerts.json"), std::string::npos) << unreadable[0];
}

TEST_F(AlertStoreTest, WithoutItsDirectoryARefugeRemembersAndTheNewerIsRight) {
  ASSERT_EQ(store.save(book_of("old", kStart)), AlertStore::Kept::State);
  fs::rename(place.path() / "state", place.path() / "away");
  block();
  std::string why;
  EXPECT_EQ(store.save(book_of("new", kStart + 1h), &why), AlertStore::Kept::Refuge);
  EXPECT_NE(why, "");
  EXPECT_EQ(store.load().open()[0].finding.code, "new");
  fs::remove(place.path() / "state");
  fs::rename(place.path() / "away", place.path() / "state");
  EXPECT_EQ(store.load().open()[0].finding.code, "new") << "what was told meanwhile counts when the directory is back";
  EXPECT_EQ(store.save(book_of("newest", kStart + 2h)), AlertStore::Kept::State);
  EXPECT_EQ(store.load().open()[0].finding.code, "newest");
  EXPECT_TRUE(fs::is_empty(shm.path())) << "nothing is left behind";
}

TEST_F(AlertStoreTest, ARefugeThatOthersMadeIsNone) {
  block();
  ASSERT_EQ(store.save(book_of("a", kStart)), AlertStore::Kept::Refuge);
  fs::path refuge;
  for (const auto& entry : fs::directory_iterator(shm.path())) refuge = entry.path();
  ASSERT_EQ(::chmod(refuge.c_str(), 0777), 0);
  EXPECT_EQ(store.save(book_of("b", kStart + 1h)), AlertStore::Kept::Nowhere);
  EXPECT_TRUE(store.load().open().empty());
  fs::remove_all(refuge);
  fs::create_directory(place.path() / "elsewhere");
  fs::create_directory_symlink(place.path() / "elsewhere", refuge);
  EXPECT_EQ(store.save(book_of("c", kStart + 1h)), AlertStore::Kept::Nowhere);
}

TEST_F(AlertStoreTest, OneLooksAtATime) {
  auto first = store.lock();
  ASSERT_TRUE(first && *first);
  EXPECT_TRUE((*first)->valid());
  auto second = store.lock();
  ASSERT_TRUE(second);
  EXPECT_FALSE(*second);
  *first = std::nullopt;
  EXPECT_TRUE(*store.lock());
}

TEST_F(AlertStoreTest, WithoutADirectoryToLockInOneLooksAllTheSame) {
  block();
  auto lock = store.lock();
  ASSERT_TRUE(lock && *lock);
  EXPECT_FALSE((*lock)->valid());
}

TEST(WithoutMemory, AMessageGoesOutSixTimesADay) {
  unsigned told = 0;
  bool before = false;
  for (auto now = kStart; now < kStart + 24h; now += 15min) {
    EXPECT_FALSE(before && may_tell_without_memory(now));
    before = may_tell_without_memory(now);
    told += before ? 1 : 0;
  }
  EXPECT_EQ(told, 6U);
}

}  // namespace
}  // namespace pgmint::service

#include "cli/service_user.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/temporary_directory.h"

namespace pgmint::cli {
namespace {

class StateDirectoryTest : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "only root makes directories for somebody else";
    fs::permissions(place_.path(), fs::perms(0755));
    ASSERT_TRUE(create_directories(home_, 0700));
    ASSERT_EQ(::chown(home_.c_str(), user_.uid, user_.gid), 0);
  }
  static uid_t owner_of(const fs::path& path) {
    struct stat status {};
    return ::lstat(path.c_str(), &status) == 0 ? status.st_uid : ~uid_t{0};
  }

  storage::TemporaryDirectory place_;
  fs::path home_ = place_.path() / "home";
  ServiceUser user_{"nobody", 65534, 65534, home_.string()};
};

TEST_F(StateDirectoryTest, InTheUsersHomeAllOfItIsTheUsers) {
  const auto made = make_directory_for(user_, home_ / ".local/state/pgmint");
  ASSERT_TRUE(made) << made.failure().describe();
  EXPECT_TRUE(*made);
  for (const auto* part : {".local", ".local/state", ".local/state/pgmint"}) EXPECT_EQ(owner_of(home_ / part), user_.uid) << part;
  EXPECT_EQ(::geteuid(), 0U);
  EXPECT_TRUE(create_directories(place_.path() / "roots again", 0700)) << "this thread has its own rights back";
  EXPECT_EQ(owner_of(place_.path() / "roots again"), 0U);
}

/// Else whoever owns the home has root make, and give away, a directory of his choice: /etc/systemd/system/ssh.service.d.
TEST_F(StateDirectoryTest, ALinkOfTheUsersLeadsRootNowhere) {
  const auto roots = place_.path() / "etc";
  ASSERT_TRUE(create_directories(roots, 0755));
  fs::create_directory_symlink(roots, home_ / "link");
  ASSERT_EQ(::lchown((home_ / "link").c_str(), user_.uid, user_.gid), 0);
  const auto made = make_directory_for(user_, home_ / "link/pgmint");
  ASSERT_FALSE(made);
  EXPECT_EQ(made.failure().code(), Errc::Precondition) << made.failure().describe();
  EXPECT_TRUE(fs::is_empty(roots));
  ASSERT_FALSE(make_directory_for(user_, home_ / "link/deep/pgmint"));
  EXPECT_TRUE(fs::is_empty(roots));
}

TEST_F(StateDirectoryTest, WhereOnlyRootWritesItIsMadeAndGivenAway) {
  char pattern[] = "/run/pgmint-test-XXXXXX";
  ASSERT_NE(::mkdtemp(pattern), nullptr);
  const fs::path run = pattern;
  fs::permissions(run, fs::perms(0755));
  const auto made = make_directory_for(user_, run / "pgmint/state");
  EXPECT_TRUE(made) << (made ? "" : made.failure().describe());
  EXPECT_EQ(owner_of(run / "pgmint"), user_.uid);
  EXPECT_EQ(owner_of(run / "pgmint/state"), user_.uid);
  EXPECT_EQ(owner_of(run), 0U);
  fs::remove_all(run);
}

}  // namespace
}  // namespace pgmint::cli

// Whose is what root makes: the directory's owner's, and through no link of theirs. Skipped for everybody else.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/fsuid.h>
#include <unistd.h>

#include <barrier>
#include <cerrno>
#include <cstdlib>
#include <thread>

#include "base/file.h"
#include "base/owner.h"

namespace pgmint {
namespace {

constexpr uid_t kOwner = 65534, kOther = 65533;

class OwnershipTest : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "only root gives things away";
    char pattern[] = "/tmp/pgmint-ownership-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern), nullptr);
    place_ = pattern;
    theirs_ = place_ / "theirs";
    ASSERT_EQ(::mkdir(theirs_.c_str(), 0755), 0);
    ASSERT_EQ(::chown(theirs_.c_str(), kOwner, kOther), 0);
    roots_ = place_ / "roots";
    ASSERT_EQ(::mkdir(roots_.c_str(), 0755), 0);
  }
  void TearDown() override {
    if (!place_.empty()) fs::remove_all(place_);
  }
  static struct stat status_of(const fs::path& path) {
    struct stat status {};
    EXPECT_EQ(::lstat(path.c_str(), &status), 0) << path;
    return status;
  }
  static uid_t owner_of(const fs::path& path) { return status_of(path).st_uid; }

  fs::path place_, theirs_, roots_;
};

TEST_F(OwnershipTest, WhatIsNewGoesToTheDirectorysOwner) {
  ASSERT_TRUE(write_file_durably(theirs_ / "written", as_bytes("x"), 0640));
  ASSERT_TRUE(create_file_durably(theirs_ / "created", as_bytes("x"), 0600));
  ASSERT_TRUE(open_file(theirs_ / "opened", O_RDWR | O_CREAT, 0600));
  ASSERT_TRUE(make_directory(theirs_ / "made", 0700).value());
  ASSERT_TRUE(create_directories(theirs_ / "a/b/c/", 0750));
  ASSERT_TRUE(write_file_durably(theirs_ / "a/b/c/deep", as_bytes("x"), 0600));
  for (const auto* path : {"written", "created", "opened", "made", "a", "a/b", "a/b/c", "a/b/c/deep"}) {
    EXPECT_EQ(owner_of(theirs_ / path), kOwner) << path;
    EXPECT_EQ(status_of(theirs_ / path).st_gid, kOther) << path;
  }
  EXPECT_EQ(status_of(theirs_ / "written").st_mode & 07777U, 0640U);
  EXPECT_EQ(status_of(theirs_ / "made").st_mode & 07777U, 0700U);
  EXPECT_EQ(read_text_file(theirs_ / "a/b/c/deep", 9).value(), "x");
}

TEST_F(OwnershipTest, DirectoriesMadeAtOnceAreTheOwnersEachOfThem) {
  constexpr int kMakers = 4, kRounds = 300;
  std::barrier start(kMakers);
  std::vector<std::thread> makers;
  for (int maker = 0; maker < kMakers; ++maker)
    makers.emplace_back([&, maker] {
      for (int round = 0; round < kRounds; ++round) {
        start.arrive_and_wait();
        const auto directory = theirs_ / std::to_string(round) / "a/b";
        EXPECT_TRUE(create_directories(directory, 0700));
        EXPECT_TRUE(write_file_durably(directory / std::to_string(maker), as_bytes("x"), 0600));
      }
    });
  for (auto& maker : makers) maker.join();
  int found = 0;
  for (const auto& entry : fs::recursive_directory_iterator(theirs_)) {
    ++found;
    ASSERT_EQ(owner_of(entry.path()), kOwner) << entry.path();
  }
  EXPECT_EQ(found, kRounds * (3 + kMakers));
}

TEST_F(OwnershipTest, WhatIsThereStaysWhoseItIs) {
  ASSERT_TRUE(create_directories(theirs_ / "sub", 0755));
  for (const auto* path : {"roots-file", "sub"}) {
    std::ignore = open_file(theirs_ / path, O_WRONLY | O_CREAT, 0600);
    ASSERT_EQ(::chown((theirs_ / path).c_str(), 0, 0), 0);
  }
  ASSERT_TRUE(open_file(theirs_ / "roots-file", O_RDWR | O_CREAT, 0600));
  EXPECT_FALSE(make_directory(theirs_ / "sub", 0700).value());
  ASSERT_TRUE(create_directories(theirs_ / "sub", 0700));
  EXPECT_EQ(owner_of(theirs_ / "roots-file"), 0U);
  EXPECT_EQ(owner_of(theirs_ / "sub"), 0U);
  EXPECT_EQ(open_file(theirs_ / "roots-file", O_RDWR | O_CREAT | O_EXCL, 0600).failure().code(), Errc::Io) << "exclusive stays exclusive";
  ASSERT_TRUE(write_file_durably(roots_ / "x", as_bytes("x"), 0600));
  EXPECT_EQ(owner_of(roots_ / "x"), 0U) << "in root's own directory nothing is given away";
}

TEST_F(OwnershipTest, LinksOfTheOwnerGiveNothingAway) {
  const auto link = [&](const char* name, const fs::path& target) {
    ASSERT_EQ(::symlink(target.c_str(), (theirs_ / name).c_str()), 0);
    ASSERT_EQ(::lchown((theirs_ / name).c_str(), kOwner, kOwner), 0);
  };
  link("to-nothing", roots_ / "fresh");
  link("to-directory", roots_);
  ASSERT_TRUE(open_file(theirs_ / "to-nothing", O_WRONLY | O_CREAT, 0600)) << "as open(2) has it";
  ASSERT_TRUE(write_file_durably(theirs_ / "to-directory/file", as_bytes("x"), 0600));
  ASSERT_TRUE(create_directories(theirs_ / "to-directory/sub/deep", 0700));
  for (const auto* path : {"fresh", "file", "sub", "sub/deep"}) EXPECT_EQ(owner_of(roots_ / path), 0U) << path;
  EXPECT_EQ(owner_of(roots_), 0U);
}

TEST_F(OwnershipTest, WhereTheOwnerMayNotRootDoesAndItIsRoots) {
  const auto closed = theirs_ / "closed";
  ASSERT_TRUE(make_directory(closed, 0500).value());
  ASSERT_TRUE(write_file_durably(closed / "file", as_bytes("x"), 0600));
  ASSERT_TRUE(create_directories(closed / "sub", 0700));
  EXPECT_EQ(owner_of(closed), kOwner);
  for (const auto* path : {"file", "sub"}) EXPECT_EQ(owner_of(closed / path), 0U) << path;
}

TEST_F(OwnershipTest, TheIdentityIsOfOneThreadAndOfOneCall) {
  const auto in_force = [] { return std::pair(static_cast<uid_t>(::setfsuid(static_cast<uid_t>(-1))), static_cast<gid_t>(::setfsgid(static_cast<gid_t>(-1)))); };
  const Fd theirs(::open(theirs_.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)), roots(::open(roots_.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  const auto root = in_force();
  auto meanwhile = root, inside = root;
  errno = 0;
  EXPECT_EQ(make_for_owner_of(theirs.get(), [&] {
    inside = in_force();
    std::thread([&] { meanwhile = in_force(); }).join();  // begun by this thread it takes after it
    errno = ENOSPC;
    return -1;
  }), -1);
  EXPECT_EQ(errno, ENOSPC) << "for the caller to tell";
  EXPECT_EQ(inside, std::pair(kOwner, gid_t{kOther}));
  EXPECT_EQ(meanwhile, inside);
  EXPECT_EQ(in_force(), root);
  EXPECT_EQ(make_for_owner_of(roots.get(), [&] { return in_force() == root ? 7 : -1; }), 7);

  std::barrier together(2);
  std::thread other([&] {
    together.arrive_and_wait();
    meanwhile = in_force();
    together.arrive_and_wait();
  });
  make_for_owner_of(theirs.get(), [&] {
    together.arrive_and_wait();
    together.arrive_and_wait();
    return 0;
  });
  other.join();
  EXPECT_EQ(meanwhile, root);
}

TEST_F(OwnershipTest, SomebodyElsesIdentityIsNotExchangedForTheOwners) {
  ::setfsuid(kOther);
  const auto made = make_directory(theirs_ / "by-other", 0700);
  const auto written = write_file_durably(theirs_ / "file", as_bytes("x"), 0600);
  ::setfsuid(0);
  EXPECT_EQ(made.failure().code(), Errc::Key);
  EXPECT_EQ(written.failure().code(), Errc::Key);
}

TEST_F(OwnershipTest, WhatIsThereAlreadyIsNoNewDirectory) {
  for (const auto& path : {fs::path("/"), fs::path("."), fs::path(".."), theirs_, theirs_ / "", theirs_ / "."}) EXPECT_FALSE(make_directory(path, 0700).value()) << path;
}

TEST_F(OwnershipTest, WhatCannotBeMadeSaysWhy) {
  EXPECT_EQ(open_file(theirs_ / "none/x", O_WRONLY | O_CREAT, 0600).failure().code(), Errc::NotFound);
  ASSERT_TRUE(write_file_durably(theirs_ / "file", as_bytes("x"), 0600));
  EXPECT_FALSE(open_file(theirs_ / "file/x", O_WRONLY | O_CREAT, 0600));
  EXPECT_EQ(create_directories(theirs_ / "file", 0700).failure().code(), Errc::Precondition);
  EXPECT_EQ(make_directory(theirs_ / "none/sub", 0700).failure().code(), Errc::NotFound);
}

}  // namespace
}  // namespace pgmint

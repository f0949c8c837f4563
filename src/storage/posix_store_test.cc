#include "storage/posix_store.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <barrier>
#include <cerrno>
#include <fstream>
#include <thread>

#include "base/direct_io.h"
#include "base/test_seed.h"
#include "storage/temporary_directory.h"

namespace pgmint::storage {
namespace {

std::unique_ptr<BlobStore> open_at(const fs::path& root, PosixOptions options = {}) {
  auto store = open_posix_store(root, std::move(options));
  EXPECT_TRUE(store) << store.failure().describe();
  return store ? std::move(*store) : nullptr;
}

bool is_directory(int fd) {
  struct stat st {};
  return ::fstat(fd, &st) == 0 && S_ISDIR(st.st_mode);
}

std::size_t files_below(const fs::path& root) {
  std::size_t n = 0;
  for (const auto& entry : fs::recursive_directory_iterator(root)) n += entry.is_regular_file() ? 1 : 0;
  return n;
}

void touch(const fs::path& path) { std::ofstream(path) << "x"; }

/// Runs `check` in a child process, where limits and identity may be changed; true when it returns true.
bool holds_in_child(const std::function<bool()>& check) {
  pid_t child = ::fork();
  if (child == 0) ::_exit(check() ? 0 : 1);
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

bool fails_with(const auto& result, Errc code) {
  if (result || result.failure().code() != code) {
    std::fprintf(stderr, "expected %s, got %s\n", std::string(errc_name(code)).c_str(),
                 result ? "success" : result.failure().describe().c_str());
    return false;
  }
  return true;
}

TEST(PosixStore, AMissingRootIsAStorageErrorThatNamesInit) {
  TemporaryDirectory at;
  auto store = open_posix_store(at.path() / "gone", {});
  ASSERT_FALSE(store);
  EXPECT_EQ(store.failure().code(), Errc::Storage);
  EXPECT_NE(store.failure().hint().find("pgmint init"), std::string::npos) << store.failure().hint();
}

TEST(PosixStore, ARootThatIsAFileIsRefused) {
  TemporaryDirectory at;
  touch(at.path() / "file");
  for (bool create : {false, true}) {
    PosixOptions options;
    options.create_root = create;
    auto store = open_posix_store(at.path() / "file", options);
    ASSERT_FALSE(store);
    EXPECT_EQ(store.failure().code(), Errc::Storage);
  }
}

TEST(PosixStore, CreatesTheRootWhenAsked) {
  TemporaryDirectory at;
  PosixOptions options;
  options.create_root = true;
  auto store = open_at(at.path() / "a/b", options);
  ASSERT_TRUE(store->create("format", as_bytes("x")));
  EXPECT_EQ(open_at(at.path() / "a/b", options)->stat("format").value()->size, 1u);
}

TEST(PosixStore, ARootThatVanishesIsAnErrorAndNotAbsence) {
  TemporaryDirectory at;
  PosixOptions options;
  options.create_root = true;
  auto store = open_at(at.path() / "root", options);
  fs::remove_all(at.path() / "root");
  EXPECT_TRUE(fails_with(store->read("format", 10), Errc::Storage));
  EXPECT_TRUE(fails_with(store->stat("format"), Errc::Storage));
  EXPECT_TRUE(fails_with(store->list("", "", [](const BlobInfo&) { return ok(); }), Errc::Storage));
  EXPECT_TRUE(fails_with(store->list_parts("c/"), Errc::Storage));
  EXPECT_TRUE(fails_with(store->remove("c/1"), Errc::Storage));
  EXPECT_TRUE(fails_with(store->create("c/1", {}), Errc::Storage));
}

TEST(PosixStore, ModesAreExactWhateverTheUmask) {
  TemporaryDirectory at;
  EXPECT_TRUE(holds_in_child([&] {
    for (mode_t mask : {0077, 0000}) {
      ::umask(mask);
      auto store = open_at(at.path());
      const auto name = fmt::format("m{:o}/object", mask);
      if (!store->create(name, as_bytes("x"))) return false;
      struct stat file {}, directory {};
      ::stat((at.path() / name).c_str(), &file);
      ::stat((at.path() / name).parent_path().c_str(), &directory);
      if ((file.st_mode & 07777) != 0640 || (directory.st_mode & 07777) != 0750) return false;
    }
    return true;
  }));
}

/// What root has put into a directory of somebody else's, and not given to its owner.
std::vector<std::string> of_root_below(const fs::path& root) {
  std::vector<std::string> found;
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    struct stat st {};
    if (::lstat(entry.path().c_str(), &st) == 0 && st.st_uid == 0) found.push_back(entry.path().lexically_relative(root));
  }
  return found;
}

TEST(PosixStore, WritersOfRootAtOnceLeaveNothingOfRootsToTheOwner) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root gives things away";
  TemporaryDirectory at;
  ASSERT_EQ(::chown(at.path().c_str(), 65534, 65534), 0);
  constexpr int kWriters = 4, kRounds = 200;
  const auto one = open_at(at.path()), other = open_at(at.path());  // another process knows nothing of what this one has made
  std::barrier start(kWriters);
  std::vector<std::thread> writers;
  for (int writer = 0; writer < kWriters; ++writer)
    writers.emplace_back([&, writer] {
      for (int round = 0; round < kRounds; ++round) {
        start.arrive_and_wait();
        const auto name = fmt::format("{}/wal/id/1/{}", round, writer);
        EXPECT_TRUE((writer % 2 == 0 ? one : other)->create(name, as_bytes("x")));
      }
    });
  for (auto& writer : writers) writer.join();
  EXPECT_EQ(of_root_below(at.path()), std::vector<std::string>());
  EXPECT_EQ(files_below(at.path()), std::size_t{kWriters} * kRounds);
}

TEST(PosixStore, RootChangesNoModeThroughALinkThatTheOwnerPutsInPlaceOfANewDirectory) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can be led where the owner may not go";
  TemporaryDirectory at, elsewhere;
  ASSERT_EQ(::chown(at.path().c_str(), 65534, 65534), 0);
  ASSERT_EQ(::chmod(elsewhere.path().c_str(), 0700), 0);
  const auto store = open_at(at.path());
  std::atomic<bool> over{false};
  std::atomic<int> round{0};
  int swapped = 0;
  std::thread owner([&] {
    for (int last = -1; !over;) {
      const int now = round;
      if (now == last) continue;
      const auto leaf = at.path() / std::to_string(now);
      if (::rename(leaf.c_str(), (leaf.string() + ".away").c_str()) != 0) continue;  // not made yet
      if (::symlink(elsewhere.path().c_str(), leaf.c_str()) == 0) ++swapped;
      last = now;
    }
  });
  for (; round < 3000; ++round) std::ignore = store->create(std::to_string(round) + "/object", as_bytes("x"));  // may fail: its directory was taken away
  over = true;
  owner.join();
  EXPECT_GT(swapped, 0) << "or this shows nothing";
  struct stat found {};
  ASSERT_EQ(::stat(elsewhere.path().c_str(), &found), 0);
  EXPECT_EQ(found.st_mode & 07777U, 0700U);
}

TEST(PosixStore, APutCostsOneFsyncOfTheFileAndOneOfItsDirectory) {
  TemporaryDirectory at;
  std::atomic<int> files{0}, directories{0};
  PosixOptions options;
  options.sync = [&](int fd) {
    (is_directory(fd) ? directories : files).fetch_add(1);
    return ::fsync(fd);
  };
  auto store = open_at(at.path(), options);
  ASSERT_TRUE(store->create("c/1/p/00/first", as_bytes("x")));
  EXPECT_EQ(files.load(), 1);
  EXPECT_EQ(directories.load(), 5) << "the root, c, 1 and p for the new names in them, and 00 for the object";
  ASSERT_TRUE(store->create("c/1/p/00/second", as_bytes("x")));
  EXPECT_EQ(files.load(), 2);
  EXPECT_EQ(directories.load(), 6);
  ASSERT_TRUE(store->create("c/1/p/01/third", as_bytes("x")));
  EXPECT_EQ(directories.load(), 8);
  // Another process sees from what they hold that the directories are durable.
  directories = 0;
  auto other = open_at(at.path(), options);
  ASSERT_TRUE(other->create("c/1/p/00/fourth", as_bytes("x")));
  EXPECT_EQ(directories.load(), 1);
}

TEST(PosixStore, ADirectoryThatSomebodyJustMadeIsNotTakenForDurable) {
  TemporaryDirectory at;
  fs::create_directories(at.path() / "a/b");
  std::vector<std::string> synced;
  PosixOptions options;
  options.sync = [&](int fd) {
    if (is_directory(fd)) synced.push_back(fs::read_symlink(fmt::format("/proc/self/fd/{}", fd)).filename());
    return ::fsync(fd);
  };
  ASSERT_TRUE(open_at(at.path(), options)->create("a/b/c", as_bytes("x")));
  EXPECT_EQ(synced, (std::vector<std::string>{"a", "b"})) << "b is new in a; a holds b, so its own name is durable";
}

TEST(PosixStore, RemovingManyCostsOneFsyncADirectory) {
  TemporaryDirectory directory;
  PosixOptions options;
  std::vector<std::string> synced;
  bool counting = false;
  options.sync = [&](int fd) {
    if (counting) synced.push_back(fs::read_symlink(fmt::format("/proc/self/fd/{}", fd)).filename());
    return ::fsync(fd);
  };
  auto store = open_at(directory.path(), options);
  const std::vector<std::string> names{"a/1", "b/1", "a/2", "b/2", "a/3"};
  for (const auto& name : names) ASSERT_TRUE(store->create(name, as_bytes("x")));
  counting = true;
  ASSERT_TRUE(store->remove_all(names));
  EXPECT_EQ(synced, (std::vector<std::string>{"a", "b"}));
  ASSERT_TRUE(store->remove_all(names));
  EXPECT_EQ(synced, (std::vector<std::string>{"a", "b", "a", "b"})) << "who is killed in between removes again, and that is to last";
  ASSERT_TRUE(store->remove(names.front()));
  EXPECT_EQ(synced.size(), 5U);
}

TEST(PosixStore, AFailedFsyncOfTheFilePublishesNothing) {
  TemporaryDirectory at;
  int calls = 0;
  PosixOptions options;
  options.sync = [&](int fd) {
    if (is_directory(fd)) return ::fsync(fd);
    ++calls;
    errno = EIO;
    return -1;
  };
  auto store = open_at(at.path(), options);
  EXPECT_TRUE(fails_with(store->create("a/b", as_bytes("x")), Errc::Storage));
  EXPECT_EQ(calls, 1) << "a failed fsync must not be retried";
  EXPECT_EQ(files_below(at.path()), 0u);
  EXPECT_FALSE(store->stat("a/b").value());
}

TEST(PosixStore, AFailedFsyncOfTheDirectoryIsUnknownAndDoesNotReadBackAsDone) {
  TemporaryDirectory at;
  ASSERT_TRUE(open_at(at.path())->create("a/first", as_bytes("x")));
  std::atomic<bool> broken{false};
  PosixOptions options;
  options.sync = [&](int fd) {
    if (!is_directory(fd) || !broken) return ::fsync(fd);
    errno = EIO;
    return -1;
  };
  auto store = open_at(at.path(), options);
  ASSERT_TRUE(store->create("a/second", as_bytes("x")));
  broken = true;
  EXPECT_TRUE(fails_with(store->create("a/third", as_bytes("x")), Errc::Unknown));
  broken = false;
  EXPECT_TRUE(fails_with(store->read("a/third", 10), Errc::Io));
  EXPECT_TRUE(fails_with(store->stat("a/third"), Errc::Io));
  EXPECT_TRUE(fails_with(store->create("a/third", as_bytes("x")), Errc::Io));
  EXPECT_TRUE(store->create("a/fourth", as_bytes("x"))) << "other names are not in doubt";
  // After a restart it is there whole or not at all; here the machine did not lose power.
  EXPECT_EQ(as_text(*open_at(at.path())->read("a/third", 10).value()), "x");
}

TEST(PosixStore, ADirectoryWhoseNameIsNotDurableTakesNoObjects) {
  TemporaryDirectory at;
  bool broken = true;
  PosixOptions options;
  options.sync = [&](int fd) {
    if (!is_directory(fd) || !std::exchange(broken, false)) return ::fsync(fd);
    errno = EIO;
    return -1;
  };
  auto store = open_at(at.path(), options);
  EXPECT_TRUE(fails_with(store->create("a/b/c", as_bytes("x")), Errc::Storage));
  EXPECT_TRUE(fails_with(store->create("a/b/c", as_bytes("x")), Errc::Io)) << "a second fsync may report a false success";
  EXPECT_EQ(files_below(at.path()), 0u);
}

TEST(PosixStore, WhatADeadWriterLeftIsInvisibleAndSwept) {
  TemporaryDirectory at;
  auto store = open_at(at.path());
  ASSERT_TRUE(store->create("a/object", as_bytes("x")));
  const auto old = at.path() / "a/.tmp-0123456789abcdef", fresh = at.path() / "a/.tmp-fedcba9876543210",
             foreign = at.path() / "a/.tmp-backup-of-the-dba";
  for (const auto& path : {old, fresh, foreign}) touch(path);
  fs::last_write_time(old, fs::file_time_type::clock::now() - std::chrono::hours(48));
  fs::last_write_time(foreign, fs::file_time_type::clock::now() - std::chrono::hours(48));

  EXPECT_EQ(list_all(*store, "").value().size(), 1u);
  EXPECT_EQ(store->list_parts("a/").value(), std::vector<std::string>{"object"});
  std::ofstream(old) << "12345";
  fs::last_write_time(old, fs::file_time_type::clock::now() - std::chrono::hours(48));
  const auto day_ago = system_clock().now() - kTemporaryFilesStay;
  const auto found = find_temporary_files(at.path(), day_ago);
  ASSERT_TRUE(found) << found.failure().describe();
  EXPECT_EQ(found->files, 1u);
  EXPECT_EQ(found->bytes, 5u);
  EXPECT_TRUE(fs::exists(old));
  auto removed = sweep_temporary_files(at.path(), day_ago);
  ASSERT_TRUE(removed) << removed.failure().describe();
  EXPECT_EQ(removed->files, 1u);
  EXPECT_EQ(removed->bytes, 5u);
  EXPECT_FALSE(fs::exists(old));
  EXPECT_TRUE(fs::exists(fresh));
  EXPECT_TRUE(fs::exists(foreign));
}

TEST(PosixStore, WhatIsNotAnObjectIsNotListedAndNotTakenForOne) {
  TemporaryDirectory at;
  auto store = open_at(at.path());
  ASSERT_TRUE(store->create("a/object", as_bytes("x")));
  fs::create_directory(at.path() / "lost+found");
  touch(at.path() / "lost+found/#123");
  ASSERT_EQ(::mkfifo((at.path() / "a/fifo").c_str(), 0600), 0);
  fs::create_directory_symlink("..", at.path() / "a/cycle");

  auto listed = list_all(*store, "a/o");
  ASSERT_TRUE(listed) << listed.failure().describe();
  EXPECT_EQ(listed->size(), 1u);
  EXPECT_TRUE(list_all(*store, "")) << "a cycle of links must end";
  EXPECT_FALSE(store->read("a/fifo", 10).value());
  EXPECT_TRUE(fails_with(store->create("a/fifo", as_bytes("x")), Errc::Storage)) << "AlreadyExists would be a lie";
  EXPECT_TRUE(fails_with(store->create("a", as_bytes("x")), Errc::Storage));
  EXPECT_TRUE(fails_with(store->create("a/object/below", as_bytes("x")), Errc::Storage));
}

TEST(PosixStore, AHeldOpenFileDoesNotOutliveItsRemovalElsewhere) {
  TemporaryDirectory at;
  auto store = open_at(at.path()), other = open_at(at.path());
  ASSERT_TRUE(store->create("p/1", as_bytes("0123456789")));
  Bytes out(4);
  ASSERT_TRUE(store->read_range("p/1", 2, out));
  ASSERT_TRUE(other->remove("p/1"));
  EXPECT_TRUE(fails_with(store->read_range("p/1", 2, out), Errc::NotFound));
}

TEST(PosixStore, ATruncatedObjectReadsAsCorruption) {
  TemporaryDirectory at;
  auto store = open_at(at.path());
  ASSERT_TRUE(store->create("p/1", as_bytes("0123456789")));
  Bytes out(4);
  ASSERT_TRUE(store->read_range("p/1", 4, out));
  fs::resize_file(at.path() / "p/1", 6);
  EXPECT_TRUE(fails_with(store->read_range("p/1", 4, out), Errc::Corruption));
  EXPECT_TRUE(store->read_range("p/1", 2, out));
}

TEST(PosixStore, ADirectoryRemovedUnderneathIsMadeAgain) {
  TemporaryDirectory at;
  auto store = open_at(at.path());
  for (const auto* next : {"a/b/1", "a/b/c/1", "a/d/1", "a/1"}) {  // in it, below it, beside it, above it
    ASSERT_TRUE(store->create("a/b/1", as_bytes("x")));
    fs::remove_all(at.path() / "a");
    auto created = store->create(next, as_bytes("y"));
    ASSERT_TRUE(created) << next << ": " << created.failure().describe();
    EXPECT_EQ(*created, Created::Yes);
    EXPECT_EQ(files_below(at.path()), 1U);
    fs::remove_all(at.path() / "a");
  }
}

TEST(PosixStore, DeniedIsAKeyErrorAndNeverAbsence) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root to become somebody without rights";
  TemporaryDirectory at;
  const auto root = at.path() / "root";
  PosixOptions options;
  options.create_root = true;
  ASSERT_TRUE(open_at(root, options)->create("open/object", as_bytes("x")));
  ASSERT_TRUE(open_at(root, options)->create("closed/object", as_bytes("x")));
  for (const auto& path : {at.path(), root, root / "open"}) fs::permissions(path, fs::perms(0755));
  fs::permissions(root / "open/object", fs::perms(0600));
  fs::permissions(root / "closed", fs::perms(0700));
  EXPECT_TRUE(holds_in_child([&] {
    if (::setgid(65534) != 0 || ::setuid(65534) != 0) return false;
    auto store = open_at(root);
    Bytes out(1);
    return fails_with(store->create("open/new", as_bytes("x")), Errc::Key) &&
           fails_with(store->create("new/new", as_bytes("x")), Errc::Key) &&
           fails_with(store->remove("open/object"), Errc::Key) &&
           fails_with(store->read("open/object", 10), Errc::Key) &&
           fails_with(store->read("closed/object", 10), Errc::Key) &&
           fails_with(store->read("closed/absent", 10), Errc::Key) &&
           fails_with(store->read_range("closed/object", 0, out), Errc::Key) &&
           fails_with(store->stat("closed/object"), Errc::Key) &&
           fails_with(list_all(*store, ""), Errc::Key) && fails_with(list_all(*store, "closed/"), Errc::Key) &&
           fails_with(store->list_parts("closed/"), Errc::Key) && fails_with(store->list_parts(""), Errc::Key);
  }));
  fs::permissions(root, fs::perms(0700));
  EXPECT_TRUE(holds_in_child([&] {
    if (::setgid(65534) != 0 || ::setuid(65534) != 0) return false;
    return fails_with(open_posix_store(root, {}), Errc::Key);
  }));
}

TEST(PosixStore, AWriteThatFailsHalfwayLeavesNothing) {
  TemporaryDirectory at;
  EXPECT_TRUE(holds_in_child([&] {
    ::signal(SIGXFSZ, SIG_IGN);
    rlimit limit{5 << 20, 5 << 20};
    if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) return false;
    auto store = open_at(at.path());
    return fails_with(store->create("p/1", Bytes(9 << 20)), Errc::Storage) && files_below(at.path()) == 0 &&
           store->create("p/1", Bytes(4 << 20)).has_value();
  }));
}

TEST(PosixStore, ADirectWriteThatFailsHalfwayLeavesNothing) {
  TemporaryDirectory at;
  DirectBuffer data;
  data.extend(9 << 20);
  EXPECT_TRUE(holds_in_child([&] {
    ::signal(SIGXFSZ, SIG_IGN);
    rlimit limit{(5 << 20) + 1000, (5 << 20) + 1000};
    if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) return false;
    auto store = open_at(at.path());
    return fails_with(store->create("p/1", data), Errc::Storage) && files_below(at.path()) == 0 &&
           store->create("p/1", ByteView(data).first(4 << 20)).has_value();
  }));
}

TEST(PosixStore, AFullDiskIsAStorageErrorThatSaysSoAndLeavesNothing) {
  TemporaryDirectory at;
  if (::mount("pgmint-test", at.path().c_str(), "tmpfs", 0, "size=3m") != 0)
    GTEST_SKIP() << "cannot mount a small tmpfs: " << std::strerror(errno);
  {
    auto store = open_at(at.path());
    EXPECT_TRUE(store->create("p/small", Bytes(1 << 20)));
    auto full = store->create("p/large", Bytes(4 << 20));
    EXPECT_TRUE(fails_with(full, Errc::Storage));
    EXPECT_NE(full.failure().message().find("No space left"), std::string::npos) << full.failure().message();
    EXPECT_NE(full.failure().hint().find("free space"), std::string::npos) << full.failure().hint();
    EXPECT_EQ(files_below(at.path()), 1u);
    EXPECT_TRUE(store->create("p/medium", Bytes(1 << 20))) << "what the failed write took was given back";
  }
  EXPECT_EQ(::umount(at.path().c_str()), 0);
}

/// Bytes in memory that direct writes can start from.
DirectBuffer aligned(ByteView content) {
  DirectBuffer buffer;
  buffer.append(content);
  return buffer;
}

/// How many pages of a file the page cache holds; nullopt where this is not told.
std::optional<std::size_t> cached_pages(const fs::path& path) {
  const auto fd = open_file(path, O_RDONLY);
  const auto size = fs::file_size(path);
  void* map = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, fd->get(), 0);
  if (map == MAP_FAILED) return std::nullopt;
  std::vector<unsigned char> pages((size + 4095) / 4096);
  const bool told = ::mincore(map, size, pages.data()) == 0;
  ::munmap(map, size);
  if (!told) return std::nullopt;
  return static_cast<std::size_t>(std::ranges::count_if(pages, [](unsigned char page) { return (page & 1) != 0; }));
}

TEST(PosixStore, LargeObjectsOfAnyLengthComeBack) {
  SeededRandom random(test_seed());
  SCOPED_TRACE(fmt::format("PGMINT_TEST_SEED={}", test_seed()));
  const Bytes content = random_bytes(random, (5 << 20) + 10'000);
  TemporaryDirectory at;
  auto store = open_at(at.path());
  int number = 0;
  for (const std::size_t size : {std::size_t{1} << 20, (std::size_t{1} << 20) - 1, (std::size_t{1} << 20) + 1, (std::size_t{5} << 20) + 4095,
                                 (std::size_t{5} << 20) + 4096, content.size()})
    for (const std::size_t shift : {0, 1, 512}) {
      const auto name = fmt::format("p/{}", number++);
      const auto memory = aligned(content);
      const auto data = ByteView(memory).subspan(shift, size - shift);
      ASSERT_EQ(store->create(name, data).value(), Created::Yes);
      EXPECT_TRUE(std::ranges::equal(*store->read(name, 16 << 20).value(), data)) << size << " from " << shift;
    }
  // Pieces that begin and end anywhere.
  for (int round = 0; round < 20; ++round) {
    const auto memory = aligned(content);
    const auto name = fmt::format("s/{}", round);
    const BlobStream stream{content.size(), [&](std::uint64_t offset) -> Result<ByteView> {
      std::size_t n = 1 + random.below(3 << 20);
      if (random.below(3) != 0) n = (n + 4095) / 4096 * 4096;
      return ByteView(memory).subspan(offset, std::min<std::size_t>(n, content.size() - offset));
    }};
    ASSERT_EQ(store->create_from(name, stream).value(), Created::Yes);
    EXPECT_TRUE(*store->read(name, 16 << 20).value() == content) << round;
  }
}

TEST(PosixStore, ALargeObjectDoesNotPushOthersOutOfThePageCache) {
  // Where direct writes are possible at all, and told apart: not in memory, which /tmp may be.
  std::string root = "/var/tmp/pgmint-store-XXXXXX";
  ASSERT_NE(::mkdtemp(root.data()), nullptr);
  const auto probe = open_file(fs::path(root) / "probe", O_WRONLY | O_CREAT);
  const bool possible = probe && ask_for_direct_writes(*probe);
  const auto object = aligned(Bytes((4 << 20) + 100, std::byte{1}));
  ASSERT_TRUE(open_at(root)->create("p/1", object));
  PosixOptions through;
  through.direct_writes = false;
  ASSERT_TRUE(open_at(root, through)->create("p/2", object));
  const auto direct = cached_pages(fs::path(root) / "p/1"), cached = cached_pages(fs::path(root) / "p/2");
  fs::remove_all(root);
  if (!possible || !direct || !cached || *cached < 1000) GTEST_SKIP() << "no direct writes, or nobody tells";
  EXPECT_LE(*direct, 1u) << "its last, partial page";
}

TEST(PosixStore, AKilledWriterLeavesWholeObjectsOrNone) {
  const auto seed = test_seed();
  SCOPED_TRACE(fmt::format("PGMINT_TEST_SEED={}", seed));
  SeededRandom random(seed);
  const Bytes data = random_bytes(random, 1 << 20);
  for (int round = 0; round < 6; ++round) {
    TemporaryDirectory at;
    int acknowledged[2];
    ASSERT_EQ(::pipe(acknowledged), 0);
    pid_t child = ::fork();
    if (child == 0) {
      PosixOptions options;
      options.force_link = round % 2 == 1;
      auto store = open_at(at.path(), options);
      for (std::uint32_t i = 0;; ++i) {
        auto created = store->create(fmt::format("p/{:02}/{}", i % 3, i), data);
        if (!created || ::write(acknowledged[1], &i, sizeof i) != sizeof i) ::_exit(1);
      }
    }
    ::close(acknowledged[1]);
    // Killed at a random moment of whatever follows the first acknowledgements.
    std::uint32_t last = 0;
    for (std::uint64_t n = random.below(6) + 1; n > 0; --n) ASSERT_EQ(::read(acknowledged[0], &last, sizeof last), 4);
    system_clock().sleep(std::chrono::microseconds(static_cast<std::int64_t>(random.below(4000))));
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    while (::read(acknowledged[0], &last, sizeof last) == sizeof last) {
    }
    ::close(acknowledged[0]);

    auto store = open_at(at.path());
    auto all = list_all(*store, "");
    ASSERT_TRUE(all);
    EXPECT_GE(all->size(), last + 1u);
    for (const auto& info : *all) EXPECT_TRUE(*store->read(info.name, 2 << 20).value() == data) << info.name;
    ASSERT_TRUE(sweep_temporary_files(at.path(), system_clock().now() + std::chrono::hours(1)));
    EXPECT_EQ(files_below(at.path()), all->size());
  }
}

}  // namespace
}  // namespace pgmint::storage

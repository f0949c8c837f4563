#include "backup/source.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "storage/temporary_directory.h"

namespace pgmint::backup {
namespace {

constexpr std::uint64_t kPage = 4096;

struct SourceTest : ::testing::Test {
  storage::TemporaryDirectory directory;
  std::unique_ptr<Source> source = open_source(directory.path());

  fs::path make(const std::string& name, std::size_t size) {
    const auto path = directory.path() / name;
    auto fd = open_file(path, O_WRONLY | O_CREAT | O_TRUNC).value();
    Bytes content(size, std::byte{0x42});
    EXPECT_TRUE(write_all(fd, content, name));
    EXPECT_TRUE(sync_file(fd, name));
    return path;
  }
  static std::vector<bool> cached(const fs::path& path, std::uint64_t size) {
    auto fd = open_file(path, O_RDONLY).value();
    void* map = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, fd.get(), 0);
    EXPECT_NE(map, MAP_FAILED);
    std::vector<unsigned char> present((size + kPage - 1) / kPage);
    EXPECT_EQ(::mincore(map, size, present.data()), 0);
    ::munmap(map, size);
    std::vector<bool> result;
    for (auto p : present) result.push_back((p & 1U) != 0);
    return result;
  }
  static std::size_t count(const std::vector<bool>& pages, std::size_t from, std::size_t to) {
    return static_cast<std::size_t>(std::count(pages.begin() + static_cast<std::ptrdiff_t>(from),
                                               pages.begin() + static_cast<std::ptrdiff_t>(to), true));
  }
};

TEST_F(SourceTest, ReadsLeaveThePageCacheAsItWas) {
  constexpr std::size_t kSize = 8U << 20;
  const auto path = make("relation", kSize);
  auto fd = open_file(path, O_RDONLY).value();
  ASSERT_EQ(::posix_fadvise(fd.get(), 0, 0, POSIX_FADV_DONTNEED), 0);
  if (count(cached(path, kSize), 0, kSize / kPage) != 0)
    GTEST_SKIP() << "this file system does not drop pages on request";
  // Two megabytes in the middle are PostgreSQL's.
  ASSERT_EQ(::posix_fadvise(fd.get(), 0, 0, POSIX_FADV_RANDOM), 0);
  Bytes hot(2U << 20);
  ASSERT_EQ(read_at(fd, hot, 2U << 20, "hot").value(), hot.size());
  const auto before = cached(path, kSize);
  ASSERT_EQ(count(before, 512, 1024), 512U);

  auto file = source->open("relation").value();
  {
    auto range = file->range(0, kSize);
    Bytes buffer(256U << 10);
    for (std::uint64_t at = 0; at < kSize; at += buffer.size()) {
      ASSERT_EQ(range->read(buffer, at).value(), buffer.size());
      ASSERT_EQ(buffer[0], std::byte{0x42});
    }
  }
  const auto after = cached(path, kSize);
  EXPECT_EQ(count(after, 512, 1024), 512U) << "what was cached stays";
  EXPECT_LE(count(after, 0, 512) + count(after, 1024, kSize / kPage), 16U) << "what the backup brought in goes";
}

TEST_F(SourceTest, AFileThatIsGoneIsAbsent) {
  EXPECT_EQ(source->open("nothing").value(), nullptr);
  EXPECT_FALSE(source->exists("nothing").value());
}

TEST_F(SourceTest, ANameThatBecameALinkOrAPipeIsRefused) {
  make("target", 10);
  fs::create_symlink(directory.path() / "target", directory.path() / "link");
  ASSERT_EQ(::mkfifo((directory.path() / "pipe").c_str(), 0600), 0);
  EXPECT_FALSE(source->open("link"));
  auto pipe = source->open("pipe");
  ASSERT_FALSE(pipe);
  EXPECT_EQ(pipe.failure().code(), Errc::Precondition);
}

TEST_F(SourceTest, ReadsEndWhereTheFileEnds) {
  make("short", 10000);
  auto file = source->open("short").value();
  EXPECT_EQ(file->size(), 10000U);
  Bytes buffer(8192);
  auto range = file->range(0, 16384);
  EXPECT_EQ(range->read(buffer, 0).value(), 8192U);
  EXPECT_EQ(range->read(buffer, 8192).value(), 1808U);
  EXPECT_EQ(range->read(buffer, 16384).value(), 0U);
}

}  // namespace
}  // namespace pgmint::backup

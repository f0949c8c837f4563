#include "postgres/tar_reader.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstring>

#include "base/random.h"
#include "base/test_seed.h"
#include "postgres/testing_tar.h"

namespace pgmint::postgres {
namespace {

struct Collected final : TarSink {
  std::vector<std::pair<std::string, std::string>> files;
  int ended = 0;
  Status entry(TarEntry entry) override {
    files.emplace_back(entry.name, "");
    return ok();
  }
  Status content(ByteView bytes) override {
    files.back().second += as_text(bytes);
    return ok();
  }
  Status entry_ends() override {
    ++ended;
    return ok();
  }
};

TEST(TarReader, GivesTheSameWhereverItsInputIsCut) {
  const auto seed = test_seed();
  SCOPED_TRACE(fmt::format("PGMINT_TEST_SEED={}", seed));
  SeededRandom random(seed);
  Bytes archive;
  for (const auto& [name, content] : {std::pair<std::string, std::string>{"a", "one"}, {"b/c", std::string(512, 'x')}, {"d", ""}, {"e", std::string(1500, 'y')}})
    append(archive, testing::tar_file(name, content));
  for (std::size_t step : {std::size_t{1}, std::size_t{7}, std::size_t{511}, std::size_t{512}, std::size_t{513}, archive.size()}) {
    Collected sink;
    TarReader reader(sink);
    for (std::size_t at = 0; at < archive.size(); at += step)
      ASSERT_TRUE(reader.feed(ByteView(archive).subspan(at, std::min(step, archive.size() - at))));
    EXPECT_TRUE(reader.finish());
    ASSERT_EQ(sink.files.size(), 4U);
    EXPECT_EQ(sink.ended, 4);
    EXPECT_EQ(sink.files[0].second, "one");
    EXPECT_EQ(sink.files[1].first, "b/c");
    EXPECT_EQ(sink.files[3].second, std::string(1500, 'y'));
  }
}

TEST(TarReader, AnArchiveThatEndsEarlyIsDamaged) {
  const auto archive = testing::tar_file("name", std::string(700, 'x'));
  for (const std::size_t length : {std::size_t{1}, std::size_t{511}, std::size_t{513}, std::size_t{1000}, std::size_t{1212}, archive.size() - 1}) {
    Collected sink;
    TarReader reader(sink);
    ASSERT_TRUE(reader.feed(ByteView(archive).first(length)));
    auto ended = reader.finish();
    ASSERT_FALSE(ended) << length;
    EXPECT_EQ(ended.failure().code(), Errc::Corruption);
  }
}

TEST(TarReader, EmptyBlocksEndTheArchive) {
  auto archive = testing::tar_file("a", "one");
  archive.resize(archive.size() + 2 * kTarBlock);
  Collected sink;
  TarReader reader(sink);
  EXPECT_TRUE(reader.feed(archive));
  EXPECT_TRUE(reader.finish());
  EXPECT_FALSE(reader.feed(testing::tar_file("b", "two")));
}

TEST(TarHeader, NamesThatLeadOutOfTheirDirectoryAreRefused) {
  for (const auto* name : {"/etc/passwd", "..", "../a", "a/../b", "a/..", "a//b", ".", "a/./b", "", "/", "././a"})
    EXPECT_FALSE(parse_tar_header(testing::tar_header(name, 0))) << name;
  EXPECT_EQ(parse_tar_header(testing::tar_header("./pg_wal/archive_status/", 0, '5'))->name, "pg_wal/archive_status");
  EXPECT_EQ(parse_tar_header(testing::tar_header("tail", 0, '0', "", "front/of"))->name, "front/of/tail");
  EXPECT_EQ(parse_tar_header(testing::tar_header("..a/b..", 0))->name, "..a/b..");
}

TEST(TarHeader, SizesInBase256AreRead) {
  auto block = testing::tar_header("large", 0);
  std::memset(block.data() + 124, 0, 12);
  block[124] = std::byte{0x80};
  block[131] = std::byte{0x02};  // 2 * 2^32
  testing::seal_tar(block);
  EXPECT_EQ(parse_tar_header(block)->size, 2ULL << 32U);
  block[125] = std::byte{0xff};
  testing::seal_tar(block);
  EXPECT_FALSE(parse_tar_header(block));
  block[124] = std::byte{0xff};  // negative
  testing::seal_tar(block);
  EXPECT_FALSE(parse_tar_header(block));
}

TEST(TarHeader, LinksAndDirectoriesHaveNoContentAndOtherKindsAreRefused) {
  const auto link = parse_tar_header(testing::tar_header("pg_tblspc/16400/", 0, '2', "/somewhere"));
  EXPECT_EQ(link->kind, TarEntry::Kind::Symlink);
  EXPECT_EQ(link->link, "/somewhere");
  EXPECT_FALSE(parse_tar_header(testing::tar_header("d/", 5, '5')));
  EXPECT_FALSE(parse_tar_header(testing::tar_header("l", 0, '2')));
  for (const char type : {'1', '3', '4', '6', 'x', 'g', 'L', 'K'}) EXPECT_FALSE(parse_tar_header(testing::tar_header("a", 0, type))) << type;
}

TEST(TarHeader, AnyChangedByteIsSeen) {
  const auto good = testing::tar_header("base/5/16384", 8192);
  ASSERT_TRUE(parse_tar_header(good));
  for (std::size_t at = 0; at < kTarBlock; ++at) {
    if (at >= 154 && at < 156) continue;  // behind the checksum's digits
    auto bad = good;
    bad[at] ^= std::byte{1};
    EXPECT_FALSE(parse_tar_header(bad)) << at;
  }
}

}  // namespace
}  // namespace pgmint::postgres

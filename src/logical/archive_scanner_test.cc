#include "logical/archive_scanner.h"

#include <gtest/gtest.h>

#include "base/random.h"
#include "base/test_seed.h"
#include "logical/dump.h"
#include "logical/testing_archive.h"

namespace pgmint::logical {
namespace {

TestingArchive shop(unsigned minor = 14) {
  TestingArchive archive(minor);
  archive.entries(5);
  archive.entry(1, "orders", "TABLE", 2);
  archive.entry(2, "orders", "TABLE DATA", 3, true, {1});
  archive.entry(3, "items", "TABLE DATA", 3, true, {1});
  archive.entry(4, "16999", "BLOBS", 3);
  archive.entry(5, "orders_pkey", "CONSTRAINT", 4, false, {1, 2});
  archive.data(2, {"1\tone\n", "2\ttwo\n3\tthr", "ee\n", "\\.\n\n\n"});
  archive.data(3, {"\\.\n\n\n"});
  archive.large_objects(4, {{17, "a\nb"}, {18, "c"}});
  return archive;
}

Result<DumpContents> scan(const std::string& bytes, std::size_t piece) {
  ArchiveScanner scanner;
  for (auto rest = as_bytes(bytes); !rest.empty(); rest = rest.subspan(std::min(piece, rest.size()))) TRY(scanner.take(rest.first(std::min(piece, rest.size()))));
  return std::move(scanner).finish();
}

TEST(ArchiveScanner, FindsEntriesDataAndRowsWhateverThePieces) {
  for (const unsigned minor : {14U, 15U, 16U}) {
    const auto archive = shop(minor);
    const auto& bytes = archive.bytes();
    for (const std::size_t piece : {std::size_t{1}, std::size_t{7}, bytes.size()}) {
      const auto contents = scan(bytes, piece);
      ASSERT_TRUE(contents) << contents.failure().describe();
      EXPECT_EQ(contents->database, "shop");
      EXPECT_EQ(contents->length, bytes.size());
      ASSERT_EQ(contents->entries.size(), 5U);
      const auto* orders = contents->find_data("public", "orders");
      ASSERT_NE(orders, nullptr);
      EXPECT_EQ(orders->rows, 3U);
      EXPECT_EQ(orders->owner, "owner of orders");
      EXPECT_EQ(orders->offset, contents->data_start);
      EXPECT_EQ(bytes[orders->offset], 1);
      EXPECT_EQ(contents->find_data("public", "items")->rows, 0U);
      EXPECT_EQ(contents->find_data("public", "items")->offset, orders->offset + orders->length);
      const auto& objects = contents->entries[3];
      EXPECT_EQ(objects.offset + objects.length, bytes.size());
      EXPECT_FALSE(objects.rows);
      EXPECT_EQ(contents->entries[4].needs, (std::vector<std::int64_t>{1, 2}));
      EXPECT_EQ(contents->rows(), 3U);
      EXPECT_EQ(contents->tables(), 2U);
    }
  }
}

TEST(ArchiveScanner, RowsAreCountedAlsoWhereNoMarkEndsThem) {
  TestingArchive archive(16);
  archive.entries(1);
  archive.entry(9, "t", "TABLE DATA", 3, true);
  archive.data(9, {"1\n2\n"});
  EXPECT_EQ(scan(archive.bytes(), 3)->entries[0].rows, 2U);
}

TEST(ArchiveScanner, AnArchiveThatIsCutOffIsNoArchive) {
  const auto archive = shop();
  const auto& bytes = archive.bytes();
  ASSERT_TRUE(scan(bytes, bytes.size()));
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    const auto contents = scan(bytes.substr(0, length), 64);
    ASSERT_FALSE(contents) << length;
    EXPECT_EQ(contents.failure().code(), Errc::Corruption);
  }
}

TEST(ArchiveScanner, RowsThatAnotherTableTakesInAreNotCounted) {
  TestingArchive archive(16);
  archive.entries(1);
  archive.entry(9, "moods_0", "TABLE DATA", 3, true, {}, "-- load via partition root public.moods");
  archive.data(9, {"1\n2\n\\.\n\n\n"});
  const auto contents = scan(archive.bytes(), 100);
  ASSERT_TRUE(contents) << contents.failure().describe();
  EXPECT_FALSE(contents->entries[0].rows);
  EXPECT_NE(contents->entries[0].length, 0U);
}

TEST(ArchiveScanner, WhateverTheBytesItAnswers) {
  const auto seed = test_seed();
  SeededRandom random(seed);
  const auto archive = shop();
  for (int round = 0; round < 20'000; ++round) {
    auto bytes = archive.bytes();
    for (std::uint64_t flips = 1 + random.below(3); flips-- > 0;) bytes[random.below(bytes.size())] = static_cast<char>(random.next());
    const auto contents = scan(bytes, 1 + random.below(100));
    if (!contents) {
      EXPECT_EQ(contents.failure().code(), Errc::Corruption) << "PGMINT_TEST_SEED=" << seed;
    }
  }
}

TEST(ArchiveScanner, OfACompressedArchiveNoRowsAreCounted) {
  auto bytes = shop().bytes();
  bytes[11] = 0;
  bytes[12] = 6;  // the level
  const auto compressed = scan(bytes, 1000);
  ASSERT_TRUE(compressed) << compressed.failure().describe();
  EXPECT_TRUE(compressed->compressed);
  EXPECT_FALSE(compressed->find_data("public", "orders")->rows);
  EXPECT_EQ(compressed->find_data("public", "orders")->length, scan(shop().bytes(), 1000)->find_data("public", "orders")->length);
}

TEST(ArchiveScanner, WhatIsNoArchiveIsRefusedWithTheReason) {
  EXPECT_NE(scan("-- PostgreSQL database dump", 1000).failure().message().find("custom format"), std::string::npos);
  auto bytes = shop().bytes();
  bytes[6] = 12;
  EXPECT_NE(scan(bytes, 1000).failure().message().find("1.12"), std::string::npos);
}

TEST(Contents, SurviveTheirJsonAlsoWithNamesThatAreNoUtf8) {
  auto contents = *scan(shop(16).bytes(), 1000);
  contents.entries[0].name = "caf\xE9";
  contents.entries[1].name = "na\"me\n";
  const auto parsed = parse_contents(encode_contents(contents));
  ASSERT_TRUE(parsed) << parsed.failure().describe();
  ASSERT_EQ(parsed->entries.size(), contents.entries.size());
  for (std::size_t i = 0; i < contents.entries.size(); ++i) {
    EXPECT_EQ(parsed->entries[i].name, contents.entries[i].name);
    EXPECT_EQ(parsed->entries[i].rows, contents.entries[i].rows);
    EXPECT_EQ(parsed->entries[i].offset, contents.entries[i].offset);
    EXPECT_EQ(parsed->entries[i].needs, contents.entries[i].needs);
  }
  for (const auto* bad : {"", "{}", "[1]", "{\"database\": 3}"}) EXPECT_EQ(parse_contents(bad).failure().code(), Errc::Corruption);
}

TEST(Names, OfDatabasesBecomePathsAndComeBack) {
  for (const std::string name : {"shop", "a/b", "..", "%41", "caf\xC3\xA9 2", "x%y"}) {
    const auto directory = database_directory(name);
    EXPECT_EQ(database_of(directory), name);
    EXPECT_EQ(directory.find_first_of("/. "), std::string::npos);
  }
}

}  // namespace
}  // namespace pgmint::logical

#include "postgres/backup_label.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace pgmint::postgres {
namespace {

constexpr std::string_view kLabel =
    "START WAL LOCATION: 16/B2000028 (file 0000000200000016000000B2)\n"
    "CHECKPOINT LOCATION: 16/B2000060\n"
    "BACKUP METHOD: streamed\n"
    "BACKUP FROM: standby\n"
    "START TIME: 2026-11-22 08:40:01 UTC\n"
    "LABEL: before: the 'migration'\n"
    "START TIMELINE: 2\n";

TEST(BackupLabel, ReadsAllFields) {
  auto label = parse_backup_label(kLabel).value();
  EXPECT_EQ(label.start_lsn, Lsn(0x16B2000028));
  EXPECT_EQ(label.checkpoint_lsn, Lsn(0x16B2000060));
  EXPECT_EQ(label.start_timeline, TimelineId(2));
  EXPECT_EQ(label.start_segment_file, "0000000200000016000000B2");
  EXPECT_TRUE(label.from_standby);
  EXPECT_EQ(label.method, "streamed");
  EXPECT_EQ(label.start_time, "2026-11-22 08:40:01 UTC");
  EXPECT_EQ(label.label, "before: the 'migration'");
  EXPECT_FALSE(label.incremental_from_lsn);
}

TEST(BackupLabel, KnowsAnIncremental) {
  auto label =
      parse_backup_label(fmt::format("{}{}", kLabel, "INCREMENTAL FROM LSN: 16/A0000028\nINCREMENTAL FROM TLI: 2\n"))
          .value();
  EXPECT_EQ(label.incremental_from_lsn, Lsn(0x16A0000028));
}

TEST(BackupLabel, OfAnIncrementalTheRestIsThatOfAWholeBackup) {
  const auto whole = label_of_whole(fmt::format("{}{}", kLabel, "INCREMENTAL FROM LSN: 16/A0000028\nINCREMENTAL FROM TLI: 2\n"));
  EXPECT_EQ(whole, kLabel);
  EXPECT_EQ(label_of_whole(kLabel), kLabel);
  EXPECT_EQ(label_of_whole("x\nINCREMENTAL FROM TLI: 2"), "x\n");
  EXPECT_EQ(label_of_whole(""), "");
}

TEST(BackupLabel, EveryTruncationIsRefusedOrALabelThatPostgresReads) {
  for (std::size_t size = 0; size < kLabel.size(); ++size) {
    auto label = parse_backup_label(kLabel.substr(0, size));
    if (label) {
      EXPECT_EQ(kLabel[size - 1], '\n') << size;
      EXPECT_EQ(label->checkpoint_lsn, Lsn(0x16B2000060)) << size;
    }
  }
}

TEST(BackupLabel, ContradictionsAreCorruption) {
  for (std::string_view text :
       {"", "CHECKPOINT LOCATION: 0/1\n", "START WAL LOCATION: 0/1\nCHECKPOINT LOCATION: 0/1\n",
        "START WAL LOCATION: 0/1 (file 00000000000000000000000Z)\nCHECKPOINT LOCATION: 0/1\n",
        "START WAL LOCATION: x (file 000000010000000000000002)\nCHECKPOINT LOCATION: 0/1\n",
        "START WAL LOCATION: 0/1 (file 000000010000000000000002)\nCHECKPOINT LOCATION: zz\n",
        "START WAL LOCATION: 0/1 (file 000000010000000000000002)\nCHECKPOINT LOCATION: 0/1\nSTART TIMELINE: 3\n"}) {
    auto label = parse_backup_label(text);
    ASSERT_FALSE(label) << text;
    EXPECT_EQ(label.failure().code(), Errc::Corruption);
  }
}

class TablespaceMap : public ::testing::TestWithParam<int> {
 protected:
  const VersionEntry& version() const { return *find_version(GetParam()); }
};

TEST_P(TablespaceMap, OrdinaryLocationsRoundTrip) {
  std::vector<TablespaceMapEntry> entries{
      {Oid(16400), "/srv/ts one"}, {Oid(16401), "  leading and trailing "}, {Oid(16402), "/a\nb\rc"}};
  auto text = format_tablespace_map(entries, version()).value();
  EXPECT_EQ(text, "16400 /srv/ts one\n16401   leading and trailing \n16402 /a\\\nb\\\rc\n");
  EXPECT_EQ(parse_tablespace_map(text, version()).value(), entries);
  EXPECT_EQ(format_tablespace_map({}, version()).value(), "");
}

TEST_P(TablespaceMap, WhatIsWrittenReadsBackOrIsRefused) {
  SeededRandom random(static_cast<std::uint64_t>(GetParam()));
  int refused = 0;
  for (int round = 0; round < 5000; ++round) {
    std::string location = "/";
    for (auto n = random.below(8); n > 0; --n) location += "a \\\n\r/"[random.below(6)];
    std::vector<TablespaceMapEntry> entries{{Oid(1 + static_cast<std::uint32_t>(random.below(100000))), location},
                                            {Oid(7), "/second"}};
    auto text = format_tablespace_map(entries, version());
    if (!text) {
      ++refused;
      EXPECT_LT(GetParam(), 14) << location;
      continue;
    }
    EXPECT_EQ(parse_tablespace_map(*text, version()).value(), entries) << location;
  }
  EXPECT_EQ(refused > 0, GetParam() < 14);
}

TEST_P(TablespaceMap, HostileTextIsCorruptionOrAMap) {
  SeededRandom random(77);
  for (int round = 0; round < 20000; ++round) {
    std::string text;
    for (auto n = random.below(30); n > 0; --n) text += "12 /\\\n\r-x"[random.below(9)];
    auto parsed = parse_tablespace_map(text, version());
    if (!parsed) {
      EXPECT_EQ(parsed.failure().code(), Errc::Corruption);
    }
  }
  for (std::string_view text :
       {"16400\n", "16400 \n", "x /a\n", "16400 /a", "16400 /a\\\n", "0 /a\n", "99999999999 /a\n"})
    EXPECT_FALSE(parse_tablespace_map(text, version())) << text;
}

INSTANTIATE_TEST_SUITE_P(Majors, TablespaceMap, ::testing::Values(13, 14, 18));

}  // namespace
}  // namespace pgmint::postgres

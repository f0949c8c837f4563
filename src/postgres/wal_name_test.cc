#include "postgres/wal_name.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace pgmint::postgres {
namespace {

WalSegmentSize size_of(std::uint64_t mib) {
  return WalSegmentSize::of(mib << 20).value();
}

TEST(Lsn, FormatsAndParsesPostgresNotation) {
  EXPECT_EQ(format(Lsn(0x16B374D848)), "16/B374D848");
  EXPECT_EQ(format(kInvalidLsn), "0/0");
  EXPECT_EQ(parse_lsn("16/B374D848"), Lsn(0x16B374D848));
  EXPECT_EQ(parse_lsn("ffffffff/FFFFFFFF"), Lsn(~std::uint64_t{0}));
  for (auto text :
       {"", "/", "1", "1/", "/1", "1/2/3", "G/1", "1/100000000", "100000000/1", " 1/2", "1/2 ", "-1/2", "0x1/2"})
    EXPECT_FALSE(parse_lsn(text)) << text;
}

TEST(Identifiers, ZeroAndForeignTextsAreNone) {
  EXPECT_EQ(parse_timeline("7"), TimelineId(7));
  EXPECT_EQ(parse_system_identifier("7712246346563624067"), SystemIdentifier(7712246346563624067ULL));
  for (auto text : {"", "0", "-1", "4294967296", "1x", " 1"}) EXPECT_FALSE(parse_timeline(text)) << text;
}

TEST(WalSegmentSize, AllowsPowersOfTwoFromOneMebibyteToOneGibibyte) {
  for (unsigned shift = 20; shift <= 30; ++shift) EXPECT_TRUE(WalSegmentSize::of(std::uint64_t{1} << shift));
  for (std::uint64_t bytes : {0ULL, 1ULL, 1ULL << 19, 1ULL << 31, 3ULL << 20, (16ULL << 20) + 1, ~0ULL})
    EXPECT_FALSE(WalSegmentSize::of(bytes)) << bytes;
}

TEST(WalName, MeaningDependsOnTheSegmentSize) {
  auto name = "00000001000000020000000F";
  EXPECT_EQ(start_of(parse_wal_file_name(name, size_of(16))->segment, size_of(16)), Lsn(0x20F000000));
  EXPECT_EQ(start_of(parse_wal_file_name(name, size_of(1))->segment, size_of(1)), Lsn(0x200F00000));
  EXPECT_EQ(start_of(parse_wal_file_name(name, size_of(64))->segment, size_of(64)), Lsn(0x23C000000));
  EXPECT_FALSE(parse_wal_file_name("000000010000000200000010", size_of(1024)));  // 4 segments of 1 GiB an id
  EXPECT_TRUE(parse_wal_file_name("000000010000000200000003", size_of(1024)));
  EXPECT_FALSE(parse_wal_file_name("000000010000000200000100", size_of(16)));
}

TEST(WalName, KindsAreToldApart) {
  auto size = size_of(16);
  auto kind = [&](std::string_view name) { return parse_wal_file_name(name, size).value().kind; };
  EXPECT_EQ(kind("00000001000000020000000F"), WalFileKind::Segment);
  EXPECT_EQ(kind("00000001000000020000000F.partial"), WalFileKind::Partial);
  EXPECT_EQ(kind("0000000A.history"), WalFileKind::History);
  EXPECT_EQ(kind("00000001000000020000000F.00ABCDEF.backup"), WalFileKind::Backup);
  EXPECT_EQ(parse_wal_file_name("00000001000000020000000F.00ABCDEF.backup", size)->backup_offset, 0xABCDEFU);
  EXPECT_EQ(parse_history_file_name("0000000A.history"), TimelineId(10));
}

TEST(WalName, RefusesWhatPostgresWouldNotWrite) {
  for (auto name :
       {"", "00000001000000020000000", "00000001000000020000000f", "00000000000000020000000F",
        "00000001000000020000000F.tmp", "00000001000000020000000F.partial.", "00000001000000020000000F.00ABCDEF",
        "00000001000000020000000F.FFABCDEF.backup", "00000000.history", "1.history", "0000000g.history", "xlogtemp.123",
        "archive_status", "../00000001000000020000000F", "00000001000000020000000F/"})
    EXPECT_FALSE(parse_wal_file_name(name, size_of(16))) << name;
}

TEST(WalName, RandomNamesRoundTrip) {
  SeededRandom random(3);
  for (int round = 0; round < 5000; ++round) {
    auto size = size_of(std::uint64_t{1} << random.below(11));
    WalFileName name{.kind = static_cast<WalFileKind>(random.below(4)),
                     .timeline = TimelineId(static_cast<std::uint32_t>(1 + random.below(0xFFFFFFFF))),
                     .segment = segment_of(Lsn(random.next()), size)};
    if (name.kind == WalFileKind::History) name.segment = {};
    if (name.kind == WalFileKind::Backup) name.backup_offset = static_cast<std::uint32_t>(random.below(size.bytes()));
    auto text = format(name, size);
    EXPECT_TRUE(looks_like_wal_file_name(text)) << text;
    EXPECT_EQ(parse_wal_file_name(text, size), name) << text;
  }
}

TEST(Segments, BoundaryBelongsToTheNextSegmentAsAStartAndToTheLastAsAnEnd) {
  auto size = size_of(16);
  Lsn boundary(0x3000000);
  EXPECT_EQ(segment_of(boundary, size), SegmentNumber(3));
  EXPECT_EQ(segment_before(boundary, size), SegmentNumber(2));
  EXPECT_EQ(segment_before(boundary + 1, size), SegmentNumber(3));
  EXPECT_EQ(next(SegmentNumber(2)), SegmentNumber(3));
  EXPECT_EQ(previous(SegmentNumber(3)), SegmentNumber(2));
  EXPECT_FALSE(previous(SegmentNumber(0)));
  EXPECT_EQ(segment_file_name(TimelineId(1), SegmentNumber(0x1FF), size), "0000000100000001000000FF");
}

}  // namespace
}  // namespace pgmint::postgres

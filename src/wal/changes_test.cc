#include "wal/changes.h"

#include "wal/testing_wal.h"

namespace pgmint::wal {
namespace {

using postgres::Fork;
using postgres::Lsn;
using postgres::Oid;
using postgres::RelationFork;
using postgres::SegmentNumber;
using postgres::TimelineId;
using testing::kSegmentSize;
using testing::name_of;

/// Segments whose summaries name one block each: the segment's own number, of relation 16384.
struct ChangesTest : testing::WalTest {
  postgres::WalSummary summary_of(std::uint32_t timeline, std::uint64_t segment) {
    postgres::WalSummary summary;
    summary.major = 15;
    summary.system_identifier = postgres::SystemIdentifier(testing::kSystemId);
    summary.timeline = TimelineId(timeline);
    summary.segment = SegmentNumber(segment);
    summary.segment_size = testing::kSize;
    summary.first_record = summary.last_record = summary.last_complete = record_in(segment);
    summary.first_previous = record_in(segment - 1);
    summary.end = Lsn((segment + 1) * kSegmentSize);
    summary.blocks = {{kTable, {static_cast<postgres::BlockNumber>(segment)}}};
    return summary;
  }
  void archive_summary(const postgres::WalSummary& summary) {
    const auto segment = summary.segment.value();
    auto put = archive().put(name_of(summary.timeline.value(), segment), repository::WalContent::Segment, kSegmentSize,
                             testing::make_segment(summary.timeline.value(), segment), postgres::encode_summary(summary));
    ASSERT_TRUE(put) << put.failure().describe();
  }
  Result<ArchivedChanges> changes(const std::string& first, const std::string& last) {
    auto where = archive();
    return archived_changes(where, first, last);
  }
  static Lsn record_in(std::uint64_t segment) { return Lsn(segment * kSegmentSize + postgres::kWalLongHeaderSize); }

  static constexpr RelationFork kTable{{Oid(1663), Oid(5), Oid(16384)}, Fork::Main};
};

TEST_F(ChangesTest, SummariesOfAStretchAreJoined) {
  for (const std::uint64_t segment : {3, 4, 5, 6}) archive_summary(summary_of(1, segment));
  const auto result = changes(name_of(1, 4), name_of(1, 5));
  ASSERT_TRUE(result) << result.failure().describe();
  EXPECT_EQ(result->changes.void_reason, std::nullopt);
  EXPECT_EQ(result->changes.blocks, (std::vector<postgres::ForkBlocks>{{kTable, {4, 5}}}));
  EXPECT_EQ(result->changes.from, record_in(4));
  EXPECT_EQ(result->changes.to, Lsn(6 * kSegmentSize));
  EXPECT_EQ(result->segment_size, testing::kSize);
}

TEST_F(ChangesTest, ATimelineIsFollowedThroughItsHistory) {
  archive_summary(summary_of(1, 3));
  archive_summary(summary_of(1, 4));
  archive_history(2, {{1, 4}});
  archive_summary(summary_of(2, 4));
  archive_summary(summary_of(2, 5));
  const auto result = changes(name_of(1, 3), name_of(2, 5));
  ASSERT_TRUE(result) << result.failure().describe();
  // Of the segment that both have, the newer timeline's copy.
  EXPECT_EQ(result->segments, (std::vector<repository::WalRange>{{TimelineId(1), SegmentNumber(3), SegmentNumber(3)},
                                                                 {TimelineId(2), SegmentNumber(4), SegmentNumber(5)}}));
  EXPECT_EQ(result->changes.blocks, (std::vector<postgres::ForkBlocks>{{kTable, {3, 4, 5}}}));
  EXPECT_EQ(changes(name_of(1, 4), name_of(2, 5)).failure().code(), Errc::Precondition);
}

TEST_F(ChangesTest, WhatIsNotThereIsNamed) {
  archive_summary(summary_of(1, 3));
  archive_segment(1, 5);  // without a summary
  EXPECT_EQ(changes(name_of(1, 2), name_of(1, 3)).failure().code(), Errc::NotFound);
  const auto gap = changes(name_of(1, 3), name_of(1, 4));
  EXPECT_EQ(gap.failure().code(), Errc::NotFound);
  EXPECT_NE(gap.failure().describe().find(name_of(1, 4)), std::string::npos) << gap.failure().describe();
  EXPECT_EQ(changes(name_of(1, 5), name_of(1, 5)).failure().code(), Errc::NotFound);
  archive_summary(summary_of(2, 4));
  EXPECT_EQ(changes(name_of(1, 3), name_of(2, 4)).failure().code(), Errc::NotFound) << "without the history";
}

TEST_F(ChangesTest, OnlySegmentsHaveChanges) {
  archive_summary(summary_of(1, 3));
  for (const auto* name : {"00000002.history", "", "000000010000000000000003.partial", "00000001000000000000000G"})
    EXPECT_EQ(changes(name, name_of(1, 3)).failure().code(), Errc::Usage) << name;
  EXPECT_EQ(changes(name_of(1, 3), "00000002.history").failure().code(), Errc::Usage);
  // At 1 MiB there are 4,096 segments to 4 GiB.
  EXPECT_EQ(changes(name_of(1, 3), "000000010000000000001000").failure().code(), Errc::Usage);
  EXPECT_EQ(changes(name_of(1, 3), name_of(1, 2)).failure().code(), Errc::Usage);
}

TEST_F(ChangesTest, AVoidSummaryMakesTheAnswerVoid) {
  auto summary = summary_of(1, 3);
  summary.void_reason = "an extension's resource manager";
  archive_summary(summary);
  const auto result = changes(name_of(1, 3), name_of(1, 3));
  ASSERT_TRUE(result) << result.failure().describe();
  ASSERT_TRUE(result->changes.void_reason);
  EXPECT_NE(result->changes.void_reason->find("an extension's"), std::string::npos);
}

}  // namespace
}  // namespace pgmint::wal

#include "wal/status.h"

#include "wal/testing_wal.h"

namespace pgmint::wal {
namespace {

using postgres::Lsn;
using postgres::SegmentNumber;
using postgres::TimelineId;
using testing::kSegmentSize;
using testing::name_of;

struct StatusTest : testing::WalTest {
  WalStatus ask(std::optional<ServerWal> server = std::nullopt) {
    auto answer = status(*cluster, identity, std::move(server));
    EXPECT_TRUE(answer) << answer.failure().describe();
    return answer ? *answer : WalStatus{};
  }
  void archive_with_commit(std::uint64_t segment, std::chrono::seconds time) {
    postgres::WalSummary summary;
    summary.major = 15;
    summary.system_identifier = postgres::SystemIdentifier(testing::kSystemId);
    summary.timeline = TimelineId(1);
    summary.segment = SegmentNumber(segment);
    summary.segment_size = testing::kSize;
    summary.last_commit = postgres::CommitPoint{Lsn(segment * kSegmentSize + 100), postgres::TransactionId(9), TimePoint(time)};
    summary.first_commit = summary.last_commit;
    auto put = archive().put(name_of(1, segment), repository::WalContent::Segment, kSegmentSize,
                             testing::make_segment(1, segment), postgres::encode_summary(summary));
    ASSERT_TRUE(put) << put.failure().describe();
  }
};

TEST_F(StatusTest, AnEmptyArchiveSaysSo) {
  const auto status = ask();
  EXPECT_TRUE(status.timelines.empty());
  EXPECT_EQ(status.segments, 0u);
  EXPECT_FALSE(status.last_commit);
  EXPECT_FALSE(status.segments_behind);
}

TEST_F(StatusTest, NamesRangesGapsAndWhatElseIsThere) {
  for (const std::uint64_t s : {3, 4, 7}) archive_segment(1, s);
  ASSERT_TRUE(archive().put(name_of(1, 8) + ".partial", repository::WalContent::Partial, kSegmentSize, Bytes(kSegmentSize), {}));
  archive_history(2, {{1, 8}});
  archive_segment(2, 8);
  archive_segment(3, 9);
  const auto status = ask();
  ASSERT_EQ(status.timelines.size(), 3u);
  EXPECT_EQ(status.segment_size, testing::kSize);
  EXPECT_EQ(status.segments, 5u);
  const auto& first = status.timelines[0];
  EXPECT_EQ(first.ranges, (std::vector<repository::WalRange>{{TimelineId(1), SegmentNumber(3), SegmentNumber(4)},
                                                             {TimelineId(1), SegmentNumber(7), SegmentNumber(7)}}));
  EXPECT_EQ(first.oldest, name_of(1, 3));
  EXPECT_EQ(first.newest, name_of(1, 7));
  EXPECT_EQ(first.partials, std::vector<std::string>{name_of(1, 8) + ".partial"});
  EXPECT_FALSE(first.history_missing);
  EXPECT_EQ(status.timelines[1].parent, TimelineId(1));
  EXPECT_EQ(status.timelines[1].begin, Lsn(8 * kSegmentSize + kSegmentSize / 2));
  EXPECT_FALSE(status.timelines[1].history_missing);
  EXPECT_TRUE(status.timelines[2].history_missing);
  ASSERT_EQ(status.gaps.size(), 1u);
  EXPECT_EQ(repository::describe(status.gaps[0], status.segment_size),
            name_of(1, 5) + " to " + name_of(1, 6) + " (2 segments)");
  EXPECT_GT(status.stored_bytes, 0u);
}

TEST_F(StatusTest, TheNewestCommitComesFromTheSummaries) {
  archive_with_commit(3, std::chrono::seconds(1000));
  archive_with_commit(4, std::chrono::seconds(2000));
  archive_segment(1, 5);  // nothing was committed in it
  const auto status = ask();
  ASSERT_TRUE(status.last_commit);
  EXPECT_EQ(status.last_commit->time, TimePoint(std::chrono::seconds(2000)));
}

TEST_F(StatusTest, TellsHowFarTheArchiveIsBehindTheServer) {
  archive_segment(1, 3);
  ServerWal server;
  server.timeline = TimelineId(1);
  server.current = Lsn(4 * kSegmentSize + 100);
  auto status = ask(server);
  EXPECT_EQ(status.segments_behind, 0u);
  EXPECT_EQ(status.bytes_behind, 100u);
  server.current = Lsn(7 * kSegmentSize + 100);
  status = ask(server);
  EXPECT_EQ(status.segments_behind, 3u);
  EXPECT_EQ(status.bytes_behind, 3 * kSegmentSize + 100u);
  server.timeline = TimelineId(2);  // nothing is known of it
  status = ask(server);
  EXPECT_FALSE(status.segments_behind);
}

TEST(ServerWal, FailsWhenTheNewestAttemptFailed) {
  ServerWal server;
  EXPECT_FALSE(server.failing());
  server.last_failed_time = TimePoint(std::chrono::seconds(10));
  EXPECT_TRUE(server.failing());
  server.last_archived_time = TimePoint(std::chrono::seconds(11));
  EXPECT_FALSE(server.failing());
}

}  // namespace
}  // namespace pgmint::wal

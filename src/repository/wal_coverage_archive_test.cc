// The part of wal_coverage.h that reads an archive.
#include <gtest/gtest.h>

#include "repository/testing_repository.h"
#include "repository/wal_coverage.h"

namespace pgmint::repository {
namespace {

using postgres::Lsn;
using postgres::SegmentNumber;
using postgres::TimelineHistory;
using postgres::TimelineId;

constexpr std::uint32_t kMiB = 1 << 20;
const auto kSize = *postgres::WalSegmentSize::of(kMiB);

Lsn at(double segments) { return Lsn(static_cast<std::uint64_t>(segments * kMiB)); }
TimePoint second(int s) { return TimePoint(std::chrono::seconds(s)); }

struct WalCoverageArchiveTest : ::testing::Test {
  storage::MemoryStore store;
  testing::TestRepository repo{store};
  WalIdentity identity{testing::TestRepository::kSystemId, Incarnation(1)};
  WalArchive archive{*repo.cluster, identity};
  const Bytes plain = Bytes(kMiB);

  /// With a commit at the middle of the segment, at `commit`; 0: a summary without commits.
  void put(std::uint32_t timeline, std::uint64_t segment, int commit = 0, bool with_summary = true) {
    postgres::WalSummary summary;
    summary.major = 15;
    summary.system_identifier = postgres::SystemIdentifier(identity.system_id);
    summary.timeline = TimelineId(timeline);
    summary.segment = SegmentNumber(segment);
    summary.segment_size = kSize;
    if (commit != 0) {
      summary.first_commit = summary.last_commit =
          postgres::CommitPoint{at(static_cast<double>(segment) + 0.5), postgres::TransactionId(7), second(commit)};
    }
    auto done = archive.put(postgres::segment_file_name(TimelineId(timeline), SegmentNumber(segment), kSize),
                            WalContent::Segment, kMiB, plain, with_summary ? postgres::encode_summary(summary) : Bytes{});
    ASSERT_TRUE(done) << done.failure().describe();
  }
  TimelineHistory put_history(std::uint32_t target, std::uint32_t parent, double left) {
    const auto text = fmt::format("{}\t{}\treason\n", parent, postgres::format(at(left)));
    EXPECT_TRUE(archive.put(postgres::history_file_name(TimelineId(target)), WalContent::History, 0, as_bytes(text), {}));
    return *TimelineHistory::parse(TimelineId(target), text);
  }
  RecoveryWindow window(const TimelineHistory& history, double start, double stop) {
    const auto inventory = load_wal_inventory(archive);
    EXPECT_TRUE(inventory) << inventory.failure().describe();
    auto found = recovery_window(archive, *inventory, history, at(start), at(stop));
    EXPECT_TRUE(found) << found.failure().describe();
    return *found;
  }
  const TimelineHistory first{TimelineId(1)};
};

TEST_F(WalCoverageArchiveTest, LoadsNamesSizesAndHistories) {
  put(1, 3);
  put(1, 4);
  put_history(2, 1, 4.5);
  ASSERT_TRUE(archive.put("00000003.history", WalContent::History, 0, as_bytes("nonsense"), {}));
  const auto inventory = load_wal_inventory(archive);
  ASSERT_TRUE(inventory) << inventory.failure().describe();
  EXPECT_EQ(inventory->segment_size(), kSize);
  EXPECT_EQ(inventory->segment_count(), 2u);
  EXPECT_TRUE(inventory->history_of(TimelineId(2)));
  EXPECT_TRUE(inventory->timelines().at(TimelineId(3)).history_damaged);
  EXPECT_EQ(inventory->timelines().at(TimelineId(2)).history->switch_point(TimelineId(1)), at(4.5));
}

TEST_F(WalCoverageArchiveTest, NamesTheSegmentsThatAStretchLacks) {
  for (const std::uint64_t s : {2, 3, 5, 9}) put(1, s);
  const auto missing = [&](double from, double to) { return *missing_segments(archive, TimelineId(1), at(from), at(to), kSize); };
  EXPECT_TRUE(missing(2, 4).empty());
  EXPECT_TRUE(missing(3.5, 3.5).empty());
  EXPECT_EQ(missing(2.5, 6.5), (std::vector<WalRange>{{TimelineId(1), SegmentNumber(4), SegmentNumber(4)},
                                                      {TimelineId(1), SegmentNumber(6), SegmentNumber(6)}}));
  EXPECT_EQ(missing(0.5, 2).size(), 1u);
  EXPECT_EQ(missing_segments(archive, TimelineId(2), at(2), at(3), kSize)->size(), 1u);
}

TEST_F(WalCoverageArchiveTest, WaitsUntilTheLastSegmentIsThere) {
  put(1, 3);
  WaitForWal wait;
  wait.timeline = TimelineId(1);
  wait.from = at(3);
  wait.to = at(4.5);
  wait.size = kSize;
  wait.progress = [&](const std::vector<WalRange>& missing) {
    EXPECT_EQ(missing, (std::vector<WalRange>{{TimelineId(1), SegmentNumber(4), SegmentNumber(4)}}));
    put(1, 4);
  };
  const auto before = repo.clock.now();
  EXPECT_TRUE(wait_for_wal(archive, wait, repo.clock));
  EXPECT_EQ(repo.clock.now() - before, wait.poll);
}

TEST_F(WalCoverageArchiveTest, GivesUpAfterItsLimitAndNamesWhatIsMissing) {
  put(1, 3);
  WaitForWal wait;
  wait.timeline = TimelineId(1);
  wait.from = at(3);
  wait.to = at(5.5);
  wait.size = kSize;
  const auto before = repo.clock.now();
  const auto waited = wait_for_wal(archive, wait, repo.clock);
  ASSERT_FALSE(waited);
  EXPECT_EQ(waited.failure().code(), Errc::Postgres);
  EXPECT_NE(waited.failure().message().find(postgres::segment_file_name(TimelineId(1), SegmentNumber(4), kSize)), std::string::npos);
  EXPECT_GE(repo.clock.now() - before, wait.limit);
  CancelToken cancel;
  cancel.cancel();
  wait.cancel = &cancel;
  EXPECT_EQ(wait_for_wal(archive, wait, repo.clock).failure().code(), Errc::Cancelled);
}

TEST_F(WalCoverageArchiveTest, TheWindowEndsWithTheLastCommitOfTheReachableWal) {
  put(1, 3, 100);
  put(1, 4, 200);
  put(1, 5);
  const auto found = window(first, 3.1, 3.2);
  EXPECT_TRUE(found.complete_to_from);
  EXPECT_EQ(found.end, at(6));
  EXPECT_FALSE(found.first_gap);
  ASSERT_TRUE(found.last_commit);
  EXPECT_EQ(found.last_commit->time, second(200));
  EXPECT_TRUE(found.last_commit_known);
  EXPECT_EQ(found.segments, (std::vector<WalRange>{{TimelineId(1), SegmentNumber(3), SegmentNumber(5)}}));
}

TEST_F(WalCoverageArchiveTest, CommitsBeforeTheBackupsEndAreNoTargets) {
  put(1, 3, 100);
  put(1, 4);
  const auto found = window(first, 3.1, 3.6);
  EXPECT_FALSE(found.last_commit);
  EXPECT_TRUE(found.last_commit_known);
}

TEST_F(WalCoverageArchiveTest, AGapEndsTheWindowAndIsNamed) {
  put(1, 3, 100);
  put(1, 4, 200);
  put(1, 6, 300);
  auto found = window(first, 3.1, 3.2);
  EXPECT_EQ(found.end, at(5));
  ASSERT_TRUE(found.first_gap);
  EXPECT_EQ(*found.first_gap, (WalRange{TimelineId(1), SegmentNumber(5), SegmentNumber(5)}));
  EXPECT_EQ(found.last_commit->time, second(200));
  // The backup itself cannot become consistent when WAL between its start and its stop is missing.
  found = window(first, 4.5, 5.5);
  EXPECT_FALSE(found.complete_to_from);
  ASSERT_TRUE(found.first_gap);
  EXPECT_EQ(found.first_gap->first, SegmentNumber(5));
  EXPECT_FALSE(found.last_commit);
}

TEST_F(WalCoverageArchiveTest, TheWindowFollowsATimeline) {
  put(1, 3, 100);
  put(1, 4, 200);
  put(1, 5, 999);  // timeline 1 went on after 2 had left it
  const auto second_timeline = put_history(2, 1, 4.7);
  put(2, 4, 210);
  put(2, 5, 300);
  auto found = window(second_timeline, 3.1, 3.2);
  EXPECT_EQ(found.end, at(6));
  EXPECT_EQ(found.last_commit->time, second(300));
  EXPECT_EQ(found.segments, (std::vector<WalRange>{{TimelineId(1), SegmentNumber(3), SegmentNumber(3)},
                                                   {TimelineId(2), SegmentNumber(4), SegmentNumber(5)}}));
  EXPECT_EQ(window(first, 3.1, 3.2).last_commit->time, second(999));
}

TEST_F(WalCoverageArchiveTest, WithoutASummaryTheLastCommitIsNotKnown) {
  put(1, 3, 100);
  put(1, 4, 0, false);
  const auto found = window(first, 3.1, 3.2);
  ASSERT_TRUE(found.last_commit);
  EXPECT_EQ(found.last_commit->time, second(100));
  EXPECT_FALSE(found.last_commit_known);
}

TEST_F(WalCoverageArchiveTest, VisitsEverySummaryInOrder) {
  put(1, 3, 100);
  put(1, 4, 0, false);
  put(1, 5, 300);
  std::vector<std::string> seen;
  const auto done = for_each_summary(archive, {{TimelineId(1), SegmentNumber(3), SegmentNumber(5)}}, kSize,
                                     [&](const WalRange& one, const postgres::WalSummary* summary) {
                                       seen.push_back(fmt::format("{}{}", one.first.value(), summary != nullptr ? "+" : "-"));
                                       return ok();
                                     });
  EXPECT_TRUE(done);
  EXPECT_EQ(seen, (std::vector<std::string>{"3+", "4-", "5+"}));
}

}  // namespace
}  // namespace pgmint::repository

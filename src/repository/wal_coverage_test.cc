#include "repository/wal_coverage.h"

#include <gtest/gtest.h>

namespace pgmint::repository {
namespace {

using postgres::Lsn;
using postgres::SegmentNumber;
using postgres::TimelineHistory;
using postgres::TimelineId;
using postgres::WalSegmentSize;

const auto kSize = WalSegmentSize::default_size();
constexpr std::uint64_t kSegment = 16u << 20;

Lsn at(double segments) { return Lsn(static_cast<std::uint64_t>(segments * static_cast<double>(kSegment))); }
WalRange range(std::uint32_t timeline, std::uint64_t first, std::uint64_t last) {
  return {TimelineId(timeline), SegmentNumber(first), SegmentNumber(last)};
}
void add(WalInventory& inventory, std::uint32_t timeline, std::uint64_t first, std::uint64_t last) {
  for (auto s = first; s <= last; ++s) {
    inventory.add(postgres::segment_file_name(TimelineId(timeline), SegmentNumber(s), kSize), 100);
  }
}
/// Each pair: timeline that was left, and where, in segments.
TimelineHistory history(std::uint32_t target, std::initializer_list<std::pair<std::uint32_t, double>> switches) {
  std::string text;
  for (const auto& [timeline, lsn] : switches) {
    text += fmt::format("{}\t{}\tno recovery target specified\n", timeline, postgres::format(at(lsn)));
  }
  auto parsed = TimelineHistory::parse(TimelineId(target), text);
  PGMINT_ASSERT(parsed.has_value());
  return *parsed;
}
using Ranges = std::vector<WalRange>;

TEST(WalCoverage, SortsNamesIntoTimelines) {
  WalInventory inventory(kSize);
  add(inventory, 1, 3, 5);
  add(inventory, 1, 9, 9);
  add(inventory, 2, 9, 10);
  inventory.add("000000010000000000000009.partial", 7);
  inventory.add("000000010000000000000003.00000028.backup", 7);
  inventory.add("00000002.history", 7);
  inventory.add("000000010000000000000100", 7);  // no segment of 16 MiB has this number
  EXPECT_EQ(inventory.ranges(), (Ranges{range(1, 3, 5), range(1, 9, 9), range(2, 9, 10)}));
  EXPECT_EQ(inventory.segment_count(), 6u);
  EXPECT_EQ(inventory.stored_bytes(), 621u);
  EXPECT_EQ(inventory.strange(), std::vector<std::string>{"000000010000000000000100"});
  EXPECT_EQ(inventory.timelines().at(TimelineId(1)).partials.size(), 1u);
  EXPECT_EQ(inventory.timelines().at(TimelineId(1)).backups.size(), 1u);
  EXPECT_TRUE(inventory.timelines().at(TimelineId(2)).has_history_file);
}

TEST(WalCoverage, NamesGapsWithinATimeline) {
  WalInventory inventory(kSize);
  add(inventory, 1, 3, 5);
  add(inventory, 1, 7, 7);
  add(inventory, 1, 10, 12);
  EXPECT_EQ(inventory.gaps(), (Ranges{range(1, 6, 6), range(1, 8, 9)}));
  EXPECT_EQ(inventory.gaps({{TimelineId(1), at(9.5)}}), (Ranges{range(1, 9, 9)}));
  EXPECT_EQ(describe(inventory.gaps()[1], kSize), "000000010000000000000008 to 000000010000000000000009 (2 segments)");
}

TEST(WalCoverage, AWholeTimelineHasNoGap) {
  WalInventory inventory(kSize);
  add(inventory, 1, 3, 5);
  EXPECT_TRUE(inventory.gaps().empty());
  EXPECT_TRUE(WalInventory(kSize).gaps().empty());
}

TEST(WalCoverage, NamesWhatIsMissingBeforeASwitch) {
  WalInventory inventory(kSize);
  add(inventory, 1, 3, 5);
  add(inventory, 2, 8, 9);
  inventory.add_history(TimelineId(2), history(2, {{1, 7.5}}));
  // 7 of timeline 1 is copied into 7 of timeline 2, which is what recovery reads.
  EXPECT_EQ(inventory.gaps(), (Ranges{range(1, 6, 6), range(2, 7, 7)}));
}

TEST(WalCoverage, ASwitchInMidSegmentNeedsOnlyTheChildsCopy) {
  WalInventory inventory(kSize);
  add(inventory, 1, 3, 6);
  add(inventory, 2, 7, 9);
  inventory.add("000000010000000000000007.partial", 1);
  inventory.add_history(TimelineId(2), history(2, {{1, 7.5}}));
  EXPECT_TRUE(inventory.gaps().empty());
  EXPECT_EQ(needed_segments(*inventory.history_of(TimelineId(2)), at(3.1), at(8.2), kSize),
            (Ranges{range(1, 3, 6), range(2, 7, 8)}));
}

TEST(WalCoverage, ASwitchAtABoundaryNeedsTheParentsLastSegment) {
  const auto second = history(2, {{1, 7}});
  EXPECT_EQ(needed_segments(second, at(6), at(8), kSize), (Ranges{range(1, 6, 6), range(2, 7, 7)}));
  EXPECT_EQ(needed_segments(second, at(6.1), at(6.2), kSize), (Ranges{range(1, 6, 6)}));
  EXPECT_EQ(needed_segments(second, at(6.1), at(7), kSize), (Ranges{range(1, 6, 6)}));
  EXPECT_TRUE(needed_segments(second, at(7), at(7), kSize).empty());
}

TEST(WalCoverage, ASiblingTimelineIsNoEvidenceOfAGap) {
  // 2 left 1 at 7.5, 3 left 1 at 5.5: each history asks only for what it uses.
  WalInventory inventory(kSize);
  add(inventory, 1, 3, 6);
  add(inventory, 2, 7, 7);
  add(inventory, 3, 5, 5);
  inventory.add_history(TimelineId(2), history(2, {{1, 7.5}}));
  inventory.add_history(TimelineId(3), history(3, {{1, 5.5}}));
  EXPECT_TRUE(inventory.gaps().empty());
}

TEST(WalCoverage, TimelinesFromBeforeTheArchiveAreNotMissed) {
  WalInventory inventory(kSize);
  add(inventory, 3, 20, 22);
  inventory.add_history(TimelineId(3), history(3, {{1, 7.5}, {2, 19.5}}));
  EXPECT_TRUE(inventory.gaps().empty());
  // Once the first is there, the way from it to the third must be whole.
  add(inventory, 1, 6, 6);
  EXPECT_EQ(inventory.gaps(), (Ranges{range(2, 7, 18), range(3, 19, 19)}));
}

TEST(WalCoverage, APromotionWithoutSegmentsYetStillNeedsItsParent) {
  WalInventory inventory(kSize);
  add(inventory, 1, 3, 4);
  inventory.add_history(TimelineId(2), history(2, {{1, 6.5}}));
  EXPECT_EQ(inventory.gaps(), (Ranges{range(1, 5, 5)}));
}

TEST(WalCoverage, RecoveryReachesUpToTheFirstHole) {
  WalInventory inventory(kSize);
  add(inventory, 1, 3, 6);
  add(inventory, 2, 7, 8);
  add(inventory, 2, 10, 11);
  const auto second = history(2, {{1, 7.5}});
  inventory.add_history(TimelineId(2), second);
  EXPECT_EQ(inventory.reachable_end(second, at(3.5)), at(9));
  EXPECT_EQ(inventory.reachable_end(second, at(7.2)), at(9));
  EXPECT_EQ(inventory.reachable_end(second, at(10)), at(12));
  EXPECT_EQ(inventory.reachable_end(second, at(9.5)), std::nullopt);
  EXPECT_EQ(inventory.reachable_end(TimelineHistory(TimelineId(1)), at(3)), at(7));
  EXPECT_EQ(inventory.missing(second, at(3), at(11.5)), (Ranges{range(2, 9, 9)}));
}

TEST(WalCoverage, FollowsTheNewestTimelineThatContainsTheBackup) {
  WalInventory inventory(kSize);
  inventory.add_history(TimelineId(2), history(2, {{1, 7.5}}));
  inventory.add_history(TimelineId(3), history(3, {{1, 5.5}}));
  inventory.add_history(TimelineId(4), history(4, {{1, 7.5}, {2, 9.5}}));
  inventory.add_history(TimelineId(5), std::nullopt);
  EXPECT_EQ(inventory.newest_descendant(TimelineId(1), at(4)), TimelineId(4));
  EXPECT_EQ(inventory.newest_descendant(TimelineId(1), at(6)), TimelineId(4));
  EXPECT_EQ(inventory.newest_descendant(TimelineId(1), at(8)), TimelineId(1));
  EXPECT_EQ(inventory.newest_descendant(TimelineId(3), at(6)), TimelineId(3));
  EXPECT_TRUE(inventory.timelines().at(TimelineId(5)).history_damaged);
  EXPECT_EQ(inventory.history_of(TimelineId(5)), std::nullopt);
}

}  // namespace
}  // namespace pgmint::repository

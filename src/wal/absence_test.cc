#include "wal/absence.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace pgmint::wal {
namespace {

using postgres::Lsn;
using postgres::SegmentNumber;
using postgres::TimelineHistory;
using postgres::TimelineId;
using repository::WalInventory;

const auto kSize = postgres::WalSegmentSize::default_size();
constexpr std::uint64_t kSegment = 16u << 20;

struct AbsenceTest : ::testing::Test {
  WalInventory inventory{kSize};
  repository::WalFloors floors;

  std::string segment_name(std::uint32_t timeline, std::uint64_t segment) {
    return postgres::segment_file_name(TimelineId(timeline), SegmentNumber(segment), kSize);
  }
  void add(std::uint32_t timeline, std::uint64_t first, std::uint64_t last) {
    for (auto s = first; s <= last; ++s) inventory.add(segment_name(timeline, s), 1);
  }
  /// Timeline `target` left `parent` in the middle of `segment`.
  void add_history(std::uint32_t target, std::uint32_t parent, std::uint64_t segment) {
    auto parsed = TimelineHistory::parse(
        TimelineId(target), fmt::format("{}\t{}\treason\n", parent, postgres::format(Lsn(segment * kSegment + kSegment / 2))));
    ASSERT_TRUE(parsed) << parsed.failure().describe();
    inventory.add_history(TimelineId(target), *parsed);
  }
  bool absent(const std::string& file_name) {
    const auto name = postgres::parse_wal_file_name(file_name, kSize);
    EXPECT_TRUE(name) << file_name;
    return !why_not_absent(*name, inventory, floors);
  }
  bool absent(std::uint32_t timeline, std::uint64_t segment) { return absent(segment_name(timeline, segment)); }
};

TEST_F(AbsenceTest, TheSegmentBehindTheLastIsAbsent) {
  add(1, 3, 5);
  EXPECT_TRUE(absent(1, 6));
  EXPECT_TRUE(absent(1, 100));
}

TEST_F(AbsenceTest, AnEmptyArchiveHasNoHoles) {
  EXPECT_TRUE(absent(1, 1));
  EXPECT_TRUE(absent("00000002.history"));
}

TEST_F(AbsenceTest, ASegmentBeforeALaterOneIsAHole) {
  add(1, 3, 5);
  add(1, 7, 7);
  EXPECT_FALSE(absent(1, 6));
  EXPECT_FALSE(absent(1, 2));
  EXPECT_TRUE(absent(1, 8));
}

TEST_F(AbsenceTest, APartialOrBackupFileBehindItMakesAHoleToo) {
  inventory.add(segment_name(1, 7) + ".partial", 1);
  EXPECT_FALSE(absent(1, 6));
  EXPECT_TRUE(absent(1, 7));  // the timeline ended in it
  inventory.add(segment_name(1, 9) + ".00000028.backup", 1);
  EXPECT_FALSE(absent(1, 8));
}

TEST_F(AbsenceTest, ASegmentBeforeTheSwitchToAChildIsAHole) {
  add(1, 3, 5);
  add_history(2, 1, 7);
  EXPECT_FALSE(absent(1, 6));
  // In and behind the segment of the switch the child tells nothing of its parent, which may have ended there.
  EXPECT_TRUE(absent(1, 7));
  EXPECT_TRUE(absent(1, 8));
}

TEST_F(AbsenceTest, AGrandchildCountsThroughItsHistory) {
  add(1, 3, 5);
  auto parsed = TimelineHistory::parse(TimelineId(3), fmt::format("1\t{}\tr\n2\t{}\tr\n", postgres::format(Lsn(7 * kSegment + 9)),
                                                                  postgres::format(Lsn(9 * kSegment + 9))));
  ASSERT_TRUE(parsed);
  inventory.add_history(TimelineId(3), *parsed);
  EXPECT_FALSE(absent(1, 6));
  EXPECT_FALSE(absent(2, 8));
  EXPECT_TRUE(absent(2, 9));
}

TEST_F(AbsenceTest, ASiblingThatLeftEarlierDoesNotCount) {
  add(1, 3, 9);
  add_history(2, 1, 5);
  add(2, 5, 20);
  EXPECT_TRUE(absent(1, 10));
}

TEST_F(AbsenceTest, AHigherTimelineOfUnknownDescentCounts) {
  add(1, 3, 5);
  add(2, 8, 8);
  EXPECT_FALSE(absent(1, 6));
  EXPECT_TRUE(absent(1, 8));
  WalInventory damaged(kSize);
  std::swap(inventory, damaged);
  add(2, 8, 8);
  inventory.add_history(TimelineId(2), std::nullopt);
  EXPECT_FALSE(absent(1, 6));
}

TEST_F(AbsenceTest, ALowerTimelineDoesNotCount) {
  add(1, 3, 20);
  add_history(2, 1, 7);
  add(2, 7, 9);
  EXPECT_TRUE(absent(2, 10));
}

TEST_F(AbsenceTest, BelowTheFloorNothingIsAbsent) {
  floors[TimelineId(1)] = Lsn(10 * kSegment);
  EXPECT_FALSE(absent(1, 9));
  EXPECT_TRUE(absent(1, 10));
  EXPECT_TRUE(absent(2, 3));
}

TEST_F(AbsenceTest, AHistoryFileIsAbsentWhenNoHigherTimelineExists) {
  add(1, 3, 5);
  EXPECT_TRUE(absent("00000002.history"));
  add_history(2, 1, 5);
  EXPECT_TRUE(absent("00000003.history"));
}

TEST_F(AbsenceTest, AHistoryFileOfATimelineWithWalIsMissing) {
  add(1, 3, 5);
  add(2, 5, 6);
  EXPECT_FALSE(absent("00000002.history"));
  add(4, 9, 9);
  EXPECT_FALSE(absent("00000003.history"));
}

TEST_F(AbsenceTest, HistoryFromBeforeTheArchiveIsAbsent) {
  // Archiving began on timeline 5: recovery of a backup of it must be able to start without the file.
  add(5, 30, 31);
  EXPECT_TRUE(absent("00000005.history"));
  EXPECT_TRUE(absent("00000003.history"));
  EXPECT_TRUE(absent("00000006.history"));
}

TEST_F(AbsenceTest, PartialAndBackupFilesAreSimplyAbsent) {
  add(1, 3, 9);
  EXPECT_TRUE(absent(segment_name(1, 4) + ".partial"));
  EXPECT_TRUE(absent(segment_name(1, 4) + ".00000028.backup"));
}

}  // namespace
}  // namespace pgmint::wal

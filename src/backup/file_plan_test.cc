#include "backup/file_plan.h"

#include <gtest/gtest.h>

namespace pgmint::backup {
namespace {

using postgres::Fork;
using postgres::Oid;
using repository::FileEntry;
using repository::FileKind;

constexpr std::uint32_t kBlock = 8192, kExtent = 256U << 10, kPerSegment = 131072;

struct FilePlanTest : ::testing::Test {
  postgres::DirectoryScan scan;
  ParentFiles parent;
  SharedRecords records;
  postgres::ChangeSet changes;
  bool know = true;
  std::int64_t parent_day = 20'000, day = 20'000;

  static postgres::RelationSegment relation(std::uint32_t oid, Fork fork = Fork::Main, std::uint32_t segment = 0) {
    return {{postgres::kDefaultTablespace, Oid(5), Oid(oid)}, fork, segment};
  }
  void scanned(const std::string& path, std::uint64_t size, std::optional<postgres::RelationSegment> of = {}) {
    postgres::DirectoryEntry entry;
    entry.path = path;
    entry.kind = of ? postgres::EntryKind::RelationSegment : postgres::EntryKind::Slru;
    entry.size = size;
    entry.relation = of;
    scan.entries.push_back(entry);
  }
  void had(const std::string& path, std::uint64_t size) {
    FileEntry entry;
    entry.path = path;
    entry.size = size;
    entry.kind = size == 0 ? FileKind::Empty : size < kExtent ? FileKind::Bundled : FileKind::Mapped;
    parent.add(entry, records);
  }
  void changed(std::uint32_t oid, std::vector<postgres::BlockNumber> blocks) {
    changes.blocks.push_back({{relation(oid).locator, Fork::Main}, std::move(blocks)});
  }
  void limited(std::uint32_t oid, postgres::BlockNumber limit) {
    changes.limits.push_back({{{postgres::kDefaultTablespace, Oid(5), Oid(oid)}, Fork::Main}, limit});
  }
  FilePlan only() {
    std::ranges::sort(changes.blocks, {}, &postgres::ForkBlocks::where);
    std::ranges::sort(changes.limits);
    const postgres::ChangeIndex index(changes, kPerSegment);
    return plan_incremental(scan, parent,
                            {.block_size = kBlock,
                             .extent_size = kExtent,
                             .blocks_per_segment = kPerSegment,
                             .changes = know ? &index : nullptr,
                             .parent_day = parent_day,
                             .day = day})
        .front();
  }
};

TEST_F(FilePlanTest, WhatTheWalDoesNotNameIsKept) {
  scanned("base/5/100", 64 * kBlock, relation(100));
  had("base/5/100", 64 * kBlock);
  changed(101, {1, 2});
  EXPECT_EQ(only().reading, Reading::Kept);
}

TEST_F(FilePlanTest, ListedBlocksAreReadAndWhatLiesBehindTheParentsEnd) {
  scanned("base/5/100", 70 * kBlock, relation(100));
  had("base/5/100", 64 * kBlock);
  changed(100, {3, 9, 64, 65, 69, 200});
  const auto plan = only();
  EXPECT_EQ(plan.reading, Reading::Listed);
  EXPECT_EQ(plan.blocks(), (std::vector<postgres::BlockNumber>{3, 9}));
  EXPECT_EQ(plan.own_from, 64U);
  EXPECT_TRUE(plan.lists(3));
  EXPECT_TRUE(plan.lists(66)) << "extension writes no WAL about pages that stay empty";
  EXPECT_FALSE(plan.lists(4));
}

TEST_F(FilePlanTest, ALimitMakesEverythingBehindItTheFilesOwn) {
  scanned("base/5/100", 64 * kBlock, relation(100));
  had("base/5/100", 64 * kBlock);
  changed(100, {3, 40});
  limited(100, 10);
  const auto plan = only();
  EXPECT_EQ(plan.own_from, 10U);
  EXPECT_EQ(plan.blocks(), (std::vector<postgres::BlockNumber>{3}));
}

TEST_F(FilePlanTest, ALimitOnTheDatabaseHoldsForItsRelations) {
  scanned("base/5/100", 64 * kBlock, relation(100));
  had("base/5/100", 64 * kBlock);
  limited(0, 0);
  EXPECT_EQ(only().own_from, 0U);
}

TEST_F(FilePlanTest, LimitsAndBlocksCountFromTheSegmentFile) {
  scanned("base/5/100.2", 64 * kBlock, relation(100, Fork::Main, 2));
  had("base/5/100.2", 64 * kBlock);
  changed(100, {3, 2 * kPerSegment + 7, 3 * kPerSegment});
  limited(100, 2 * kPerSegment + 20);
  auto plan = only();
  EXPECT_EQ(plan.blocks(), (std::vector<postgres::BlockNumber>{7}));
  EXPECT_EQ(plan.own_from, 20U);
  changes.limits.front().limit = kPerSegment;  // the segments behind it went as a whole
  EXPECT_EQ(only().own_from, 0U);
  changes.limits.front().limit = 3 * kPerSegment;
  EXPECT_EQ(only().own_from, 64U) << "a limit behind this file: the parent's length counts";
}

TEST_F(FilePlanTest, AShorterFileIsLookedAt) {
  scanned("base/5/100", 60 * kBlock, relation(100));
  had("base/5/100", 64 * kBlock);
  EXPECT_EQ(only().reading, Reading::Listed);
}

TEST_F(FilePlanTest, SmallFilesAreReadInOneGo) {
  scanned("base/5/100", 4 * kBlock, relation(100));
  had("base/5/100", 4 * kBlock);
  changed(100, {1});
  const auto plan = only();
  EXPECT_EQ(plan.reading, Reading::Compared);
  EXPECT_TRUE(plan.has_list);
}

TEST_F(FilePlanTest, WhatTheWalDoesNotTellIsComparedByContent) {
  scanned("base/5/100_vm", 64 * kBlock, relation(100, Fork::VisibilityMap));
  had("base/5/100_vm", 64 * kBlock);
  EXPECT_EQ(only().reading, Reading::Compared);
  EXPECT_FALSE(only().has_list);
  scan.entries.clear();
  scanned("pg_xact/0000", 64 * kBlock);
  had("pg_xact/0000", 64 * kBlock);
  EXPECT_EQ(only().reading, Reading::Compared);
}

TEST_F(FilePlanTest, WithoutAListEverythingIsCompared) {
  scanned("base/5/100", 64 * kBlock, relation(100));
  had("base/5/100", 64 * kBlock);
  know = false;
  EXPECT_EQ(only().reading, Reading::Compared);
  EXPECT_FALSE(only().has_list);
}

TEST_F(FilePlanTest, WhatTheParentLacksIsReadWhole) {
  scanned("base/5/100", 64 * kBlock, relation(100));
  EXPECT_EQ(only().reading, Reading::Whole);
  had("base/5/100", 0);
  EXPECT_EQ(only().reading, Reading::Whole);
}

TEST_F(FilePlanTest, EveryFileIsRefreshedOnceInFourWeeksWhateverTheRhythm) {
  for (const std::int64_t step : {1, 2, 3, 7, 13}) {
    for (const char* path : {"base/5/100", "base/5/101", "base/1/2619", "global/1262"}) {
      int turns = 0;
      for (std::int64_t at = 20'000; at < 20'000 + 28 * 91; at += step)
        if (refresh_is_due(path, at, at + step)) ++turns;
      EXPECT_EQ(turns, 91) << path << " every " << step << " days";
    }
  }
  EXPECT_FALSE(refresh_is_due("base/5/100", 20'000, 20'000)) << "several backups a day refresh once";
  EXPECT_TRUE(refresh_is_due("base/5/100", 20'000, 47'000)) << "a clock in 2099";
  EXPECT_FALSE(refresh_is_due("base/5/100", 20'000, 0)) << "a clock in 1970";
}

TEST_F(FilePlanTest, WhoseTurnItIsIsComparedWithItsList) {
  scanned("base/5/100", 64 * kBlock, relation(100));
  had("base/5/100", 64 * kBlock);
  day = parent_day + kRefreshDays;
  EXPECT_EQ(only().reading, Reading::Compared);
  EXPECT_TRUE(only().has_list);
}

}  // namespace
}  // namespace pgmint::backup

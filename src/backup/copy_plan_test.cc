#include "backup/copy_plan.h"

#include <gtest/gtest.h>

#include <map>

namespace pgmint::backup {
namespace {

using postgres::DirectoryEntry;
using postgres::EntryKind;

constexpr CopyPlanOptions kOptions{.extent_size = 256 << 10, .stretch = 16 << 20, .bundle_size = 512 << 10};

DirectoryEntry file(std::string path, std::uint64_t size, EntryKind kind = EntryKind::RelationSegment) {
  DirectoryEntry entry;
  entry.path = std::move(path);
  entry.kind = kind;
  entry.size = size;
  return entry;
}

std::vector<std::uint32_t> files_of(const CopyPlan& plan, std::size_t task) {
  const auto files = plan.files_of(plan.tasks[task]);
  return {files.begin(), files.end()};
}

TEST(CopyPlan, CutsALargeFileIntoStretchesThatTileIt) {
  postgres::DirectoryScan scan;
  scan.entries = {file("base/5/1", (40 << 20) + 8192)};
  const auto plan = plan_copy(scan, kOptions);
  ASSERT_EQ(plan.tasks.size(), 3U);
  std::uint64_t at = 0;
  for (const auto& task : plan.tasks) {
    EXPECT_EQ(task.first, at);
    EXPECT_FALSE(task.is_bundle());
    at = task.end;
  }
  EXPECT_EQ(at, scan.entries[0].size);
  EXPECT_TRUE(plan.tasks.back().last);
  EXPECT_FALSE(plan.tasks.front().last);
  EXPECT_EQ(plan.stretches, std::vector<std::uint32_t>{3});
}

TEST(CopyPlan, TakesLargestFilesFirstAndBundlesLast) {
  postgres::DirectoryScan scan;
  scan.entries = {file("a", 100), file("b", 1 << 20), file("c", 5 << 20), file("d", 200)};
  const auto plan = plan_copy(scan, kOptions);
  ASSERT_EQ(plan.tasks.size(), 3U);
  EXPECT_EQ(files_of(plan, 0), std::vector<std::uint32_t>{2});
  EXPECT_EQ(files_of(plan, 1), std::vector<std::uint32_t>{1});
  EXPECT_EQ(files_of(plan, 2), (std::vector<std::uint32_t>{0, 3}));
  EXPECT_TRUE(plan.tasks[2].is_bundle());
  EXPECT_EQ(plan.total_bytes, (6U << 20) + 300);
}

TEST(CopyPlan, StartsANewBundleWhenOneIsFull) {
  postgres::DirectoryScan scan;
  for (int i = 0; i < 5; ++i) scan.entries.push_back(file(std::string(1, static_cast<char>('a' + i)), 200 << 10));
  const auto plan = plan_copy(scan, kOptions);
  ASSERT_EQ(plan.tasks.size(), 3U);
  EXPECT_EQ(plan.files_of(plan.tasks[0]).size(), 2U);
  EXPECT_EQ(plan.files_of(plan.tasks[2]).size(), 1U);
}

TEST(CopyPlan, KeepsRelationsApartFromOtherSmallFiles) {
  postgres::DirectoryScan scan;
  for (const char* path : {"base/5/1", "PG_VERSION", "base/5/2", "postgresql.conf"}) {
    const auto relation = postgres::relation_of_path(path);
    const bool empty = std::string_view(path) == "PG_VERSION";  // opens a bundle as well
    scan.entries.push_back(file(path, empty ? 0 : 8192, relation ? EntryKind::RelationSegment : EntryKind::Other));
    scan.entries.back().relation = relation;
  }
  ASSERT_TRUE(scan.entries[0].relation && !scan.entries[1].relation);
  const auto plan = plan_copy(scan, kOptions);
  ASSERT_EQ(plan.tasks.size(), 2U);
  EXPECT_EQ(files_of(plan, 0), (std::vector<std::uint32_t>{0, 2}));
  EXPECT_EQ(files_of(plan, 1), (std::vector<std::uint32_t>{1, 3}));
  EXPECT_TRUE(plan.tasks[0].is_bundle() && plan.tasks[1].is_bundle());
}

TEST(CopyPlan, LeavesOutWhatHasNoContentAndPgControl) {
  postgres::DirectoryScan scan;
  scan.entries = {file("", 0, EntryKind::Directory), file("base/5/7", 0),
                  file("global/pg_control", 8192, EntryKind::ControlFile), file("pg_wal", 0, EntryKind::Symlink),
                  file("conf", 0, EntryKind::Other)};
  const auto plan = plan_copy(scan, kOptions);
  ASSERT_EQ(plan.tasks.size(), 1U);
  EXPECT_EQ(files_of(plan, 0), std::vector<std::uint32_t>{4})
      << "an empty file that is no relation may have been replaced";
}

}  // namespace
}  // namespace pgmint::backup

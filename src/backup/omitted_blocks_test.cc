// Summaries that omit one block that changed: the guard sees it, or the file's next turn to be compared.
#include <fmt/format.h>

#include "backup/file_plan.h"
#include "backup/testing_incremental.h"

namespace pgmint::backup {
namespace {

using postgres::BlockNumber;

/// One cluster whose WAL omits one block.
struct Omission : testing::IncrementalTest {
  static constexpr const char* kSmall = "base/5/16385";  // read in one go, when it is read
  static constexpr const char* kQuiet = "base/5/16386";  // one block of it changes, so that all of it may look unchanged
  using Changed = std::map<std::string, std::vector<BlockNumber>>;

  Omission() {
    made.file(kSmall, testing::make_pages(random, 9));
    made.file(kQuiet, testing::make_pages(random, 70));
  }
  void TestBody() override {}

  Bytes stored(const BackupReport& report, const std::string& path) {
    return content(entries(report).at({testing::FileArea::Data, path}));
  }

  /// Days until a backup holds what the file holds; 0: the first one already does.
  int days_until_whole(const Changed& changed, const std::string& path, BlockNumber omitted) {
    full();
    std::vector<postgres::ForkBlocks> summary;
    for (auto [file, blocks] : changed) {
      if (file == path) std::erase(blocks, omitted);
      if (!blocks.empty()) summary.push_back(named(file, std::move(blocks)));
    }
    advance_naming(std::move(summary));
    for (const auto& [file, blocks] : changed)
      for (const auto block : blocks) change(block, file);
    const auto first = run_well();
    if (first.refuted) {
      EXPECT_EQ(first.type, testing::BackupType::Full);
      EXPECT_EQ(first.exit_code(), 8);
      expect_whole(first);
      return 0;
    }
    EXPECT_EQ(first.type, testing::BackupType::Incremental);
    EXPECT_NE(stored(first, path), made.contents().at(path)) << "nobody saw it, and yet it is right";
    for (int day = 1; day <= kRefreshDays; ++day) {
      advance({});
      clock.sleep(std::chrono::hours(24) - std::chrono::minutes(10));
      const auto next = run_well();
      if (stored(next, path) != made.contents().at(path)) continue;
      EXPECT_EQ(next.exit_code(), 8) << "a page that changed without WAL is told";
      const auto root = root_of(next);
      EXPECT_TRUE(std::ranges::any_of(root.bad_pages, [&](const auto& page) { return page.path == path && page.block == omitted; }));
      return day;
    }
    ADD_FAILURE() << "never seen";
    return kRefreshDays + 1;
  }
};

TEST(OmittedBlocks, EachIsSeenAtOnceOrWithinFourWeeks) {
  // Of the first extent (32 pages) more than a third changes, so that it is read whole, and so is a small file: there the guard sees
  // every block. Of what is far from all others nobody sees anything until the file's turn.
  const Omission::Changed changed = {{Omission::kTable, {0, 1, 2, 3, 4, 5, 6, 7, 8, 20, 29, 30, 31, 40, 41, 299}},
                                     {Omission::kSmall, {0, 4, 8}},
                                     {Omission::kQuiet, {33}}};
  int at_once = 0, later = 0;
  for (const auto& [path, blocks] : changed)
    for (const auto block : blocks) {
      SCOPED_TRACE(fmt::format("{} block {}", path, block));
      Omission one;
      const int days = one.days_until_whole(changed, path, block);
      (days == 0 ? at_once : later) += 1;
    }
  EXPECT_EQ(at_once, 13 + 3);
  EXPECT_EQ(later, 3 + 1);
}

}  // namespace
}  // namespace pgmint::backup

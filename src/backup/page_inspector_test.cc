#include "backup/page_inspector.h"

#include <gtest/gtest.h>

#include "backup/testing_cluster.h"
#include "base/test_seed.h"

namespace pgmint::backup {
namespace {

using postgres::Lsn;

/// Gives what is queued, then the last of it again and again.
class ScriptedRange final : public SourceRange {
 public:
  explicit ScriptedRange(std::vector<Bytes> reads) : reads_(std::move(reads)) {}
  Result<std::size_t> read(MutableByteView out, std::uint64_t offset) override {
    offsets.push_back(offset);
    const auto& bytes = reads_[std::min(next_++, reads_.size() - 1)];
    std::memcpy(out.data(), bytes.data(), std::min(out.size(), bytes.size()));
    return std::min(out.size(), bytes.size());
  }
  std::vector<std::uint64_t> offsets;

 private:
  std::vector<Bytes> reads_;
  std::size_t next_ = 0;
};

struct PageInspectorTest : ::testing::Test {
  SeededRandom random{7};
  ManualClock clock{TimePoint{}};
  PageFindings findings;
  Lsn insert{0x5000100};
  int asked = 0;
  postgres::DirectoryEntry file;

  PageInspectorTest() {
    file.path = "base/5/16384.2";
    file.kind = postgres::EntryKind::RelationSegment;
    file.relation = postgres::RelationSegment{
        {postgres::kDefaultTablespace, postgres::Oid(5), postgres::Oid(16384)}, postgres::Fork::Main, 2};
  }
  static constexpr std::uint32_t kFirst = 2 * 131072;  ///< block number of segment 2's first page

  Status inspect(Bytes& data, ScriptedRange& range, bool checksums = true) {
    PageInspector inspector(
        {.checksums_enabled = checksums, .block_size = testing::kBlock, .backup_start = testing::kBackupStart}, 131072,
        [this]() -> Result<Lsn> {
          ++asked;
          return insert;
        },
        clock, findings);
    return inspector.inspect(file, 0, data, range);
  }
};

TEST_F(PageInspectorTest, SoundPagesCostNoQuestionAndNoSecondRead) {
  auto data = testing::make_pages(random, 5, kFirst);
  ScriptedRange range({Bytes(testing::kBlock)});
  ASSERT_TRUE(inspect(data, range));
  EXPECT_EQ(asked, 0);
  EXPECT_TRUE(range.offsets.empty());
  EXPECT_EQ(findings.checked, 5U);
  EXPECT_EQ(findings.bad, 0U);
}

TEST_F(PageInspectorTest, TornPageIsReadAgainInItsPlace) {
  auto data = testing::make_pages(random, 3, kFirst);
  const auto good = data;
  std::memset(data.data() + testing::kBlock + 4096, 0x5A, 4096);
  ScriptedRange range({Bytes(good.begin() + testing::kBlock, good.begin() + 2 * testing::kBlock)});
  ASSERT_TRUE(inspect(data, range));
  EXPECT_EQ(data, good);
  EXPECT_EQ(range.offsets, std::vector<std::uint64_t>{testing::kBlock});
  EXPECT_EQ(findings.reread, 1U);
  EXPECT_EQ(findings.bad, 0U);
}

TEST_F(PageInspectorTest, PageThatStaysDamagedIsNamedWithItsBlockInTheFork) {
  auto data = testing::make_pages(random, 2, kFirst);
  data[testing::kBlock + 5000] ^= std::byte{1};
  ScriptedRange range({Bytes(data.begin() + testing::kBlock, data.end())});
  const auto before = data;
  ASSERT_TRUE(inspect(data, range));
  EXPECT_EQ(data, before) << "stored as it is";
  ASSERT_EQ(findings.bad, 1U);
  EXPECT_EQ(findings.named()[0].path, file.path);
  EXPECT_EQ(findings.named()[0].block, kFirst + 1);
  EXPECT_EQ(findings.named()[0].reason, kBadChecksum);
  EXPECT_GE(clock.now().time_since_epoch(), std::chrono::milliseconds(50)) << "a writer must have time to finish";
}

TEST_F(PageInspectorTest, PageWrittenSinceTheStartIsSoundWhateverItsChecksum) {
  Bytes data = testing::make_page(random, kFirst, Lsn(0x5000080));
  data[5000] ^= std::byte{1};
  ScriptedRange range({Bytes(testing::kBlock)});
  ASSERT_TRUE(inspect(data, range));
  EXPECT_EQ(asked, 1);
  EXPECT_TRUE(range.offsets.empty());
  EXPECT_EQ(findings.bad, 0U);
}

TEST_F(PageInspectorTest, PageFromTheFutureIsNotExplained) {
  Bytes data = testing::make_page(random, kFirst, Lsn(0x9000000));
  data[5000] ^= std::byte{1};
  ScriptedRange range({data});
  ASSERT_TRUE(inspect(data, range));
  EXPECT_EQ(findings.bad, 1U);
}

TEST_F(PageInspectorTest, BlockNumberOfAnotherSegmentDoesNotFit) {
  auto data = testing::make_pages(random, 1, 0);
  ScriptedRange range({data});
  ASSERT_TRUE(inspect(data, range));
  EXPECT_EQ(findings.bad, 1U) << "a page of segment 0 in segment 2's place";
}

TEST_F(PageInspectorTest, BytesBehindTheLastWholePageAreNotJudged) {
  auto data = testing::make_pages(random, 1, kFirst);
  data.resize(data.size() + 100, std::byte{0xEE});
  ScriptedRange range({Bytes(1)});
  ASSERT_TRUE(inspect(data, range));
  EXPECT_EQ(findings.checked, 1U);
  EXPECT_EQ(findings.bad, 0U);
}

TEST_F(PageInspectorTest, PageCutOffDuringTheSecondReadIsLetPass) {
  auto data = testing::make_pages(random, 1, kFirst);
  data[5000] ^= std::byte{1};
  const auto before = data;
  ScriptedRange range({Bytes(100)});
  ASSERT_TRUE(inspect(data, range));
  EXPECT_EQ(data, before);
  EXPECT_EQ(findings.bad, 0U);
}

TEST_F(PageInspectorTest, WithoutChecksumsOnlyAnImpossibleHeaderIsDamage) {
  auto data = testing::make_pages(random, 2, kFirst);
  data[5000] ^= std::byte{1};
  testing::put_u16(data, testing::kBlock + 12, 0xFFFF);
  ScriptedRange range({Bytes(data.begin() + testing::kBlock, data.end())});
  ASSERT_TRUE(inspect(data, range, false));
  ASSERT_EQ(findings.bad, 1U);
  EXPECT_EQ(findings.named()[0].reason, kBadHeader);
}

TEST_F(PageInspectorTest, AFileFullOfDamageDoesNotTakeForEver) {
  Bytes data(std::size_t{1000} * testing::kBlock, std::byte{0x11});
  ScriptedRange range({Bytes(testing::kBlock, std::byte{0x11})});
  ASSERT_TRUE(inspect(data, range));
  EXPECT_EQ(findings.bad, 1000U);
  EXPECT_LT(clock.now().time_since_epoch(), std::chrono::seconds(20));
}

TEST_F(PageInspectorTest, ALostServerEndsTheInspection) {
  auto data = testing::make_pages(random, 1, kFirst);
  data[5000] ^= std::byte{1};
  ScriptedRange range({data});
  PageInspector inspector(
      {.checksums_enabled = true, .block_size = testing::kBlock, .backup_start = testing::kBackupStart}, 131072,
      []() -> Result<Lsn> { return Error(Errc::Postgres, "gone"); }, clock, findings);
  auto status = inspector.inspect(file, 0, data, range);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.failure().code(), Errc::Postgres);
}

}  // namespace
}  // namespace pgmint::backup

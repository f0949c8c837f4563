#include "postgres/incremental_file.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/random.h"
#include "base/test_seed.h"

namespace pgmint::postgres {
namespace {

constexpr IncrementalShape kShape{8192, 131072};

/// @param count  what the header says, where that is not how many there are
Bytes header_of(const std::vector<BlockNumber>& blocks, BlockNumber truncation, std::optional<std::uint32_t> count = std::nullopt) {
  Bytes header;
  const auto put = [&](std::uint32_t value) {
    for (int shift = 0; shift < 32; shift += 8) header.push_back(static_cast<std::byte>(value >> shift & 0xffU));
  };
  put(0xd3ae1f0d);
  put(count.value_or(static_cast<std::uint32_t>(blocks.size())));
  put(truncation);
  for (const auto block : blocks) put(block);
  if (!blocks.empty()) header.resize((header.size() + kShape.block_size - 1) / kShape.block_size * kShape.block_size);
  return header;
}

Result<IncrementalFile> parsed(const Bytes& header, std::uint64_t pages) {
  const auto size = TRY(incremental_header_size(ByteView(header).first(std::min(kIncrementalFront, header.size())), header.size() + pages * kShape.block_size, kShape));
  EXPECT_EQ(size, header.size());
  return parse_incremental_header(header, kShape);
}

TEST(IncrementalFile, GivesBlocksAndLength) {
  const auto file = parsed(header_of({3, 17, 131071}, 40), 3).value();
  EXPECT_EQ(file.blocks, (std::vector<BlockNumber>{3, 17, 131071}));
  EXPECT_EQ(file.truncation, 40U);
  EXPECT_EQ(file.length(), 131072U);
  EXPECT_EQ(parsed(header_of({3, 17}, 40), 2)->length(), 40U);
  EXPECT_EQ(parsed(header_of({39}, 40), 1)->length(), 40U);
  EXPECT_EQ(parsed(header_of({40}, 40), 1)->length(), 41U);
}

TEST(IncrementalFile, WithoutBlocksThereIsNoPadding) {
  EXPECT_EQ(header_of({}, 5).size(), kIncrementalFront);
  const auto file = parsed(header_of({}, 5), 0).value();
  EXPECT_TRUE(file.blocks.empty());
  EXPECT_EQ(file.length(), 5U);
}

TEST(IncrementalFile, AHeaderThatFillsItsPagesIsNotPaddedByOneMore) {
  // 12 + 4 * 2045 is one page, and one block more makes it two.
  for (const std::size_t count : {2044U, 2045U, 2046U}) {
    std::vector<BlockNumber> blocks;
    for (BlockNumber block = 0; block < count; ++block) blocks.push_back(2 * block);
    const auto header = header_of(blocks, 5000);
    EXPECT_EQ(header.size(), count <= 2045 ? 8192U : 16384U);
    EXPECT_EQ(parsed(header, count)->blocks, blocks);
  }
}

TEST(IncrementalFile, NoSegmentIsLongerThanItCanBe) {
  EXPECT_EQ(parsed(header_of({3}, 131072), 1)->truncation, 131072U);
  EXPECT_EQ(parsed(header_of({3}, 131073), 1)->truncation, 131072U);
  EXPECT_EQ(parsed(header_of({3}, 0xffffffff), 1)->length(), 131072U);
}

TEST(IncrementalFile, RefusesWhatCannotBe) {
  const auto refused = [](const Bytes& header, std::uint64_t pages) {
    const auto file = parsed(header, pages);
    ASSERT_FALSE(file);
    EXPECT_EQ(file.failure().code(), Errc::Corruption);
  };
  auto swapped = header_of({3}, 5);
  std::reverse(swapped.begin(), swapped.begin() + 4);
  refused(swapped, 1);
  refused(Bytes(8192), 1);
  refused(header_of({3}, 5), 0);                 // fewer pages than blocks
  refused(header_of({3}, 5), 2);                 // more
  refused(header_of({}, 5), 1);
  refused(header_of({3, 4}, 5, 131073), 2);      // more than a segment has
  refused(header_of({3, 4}, 5, 0xffffffff), 2);
  refused(header_of({4, 3}, 5), 2);
  refused(header_of({3, 3}, 5), 2);
  refused(header_of({131072}, 5), 1);
  refused(header_of({0xffffffff}, 5), 1);
  const auto whole = header_of({}, 5);
  for (std::size_t size = 0; size < kIncrementalFront; ++size) refused(to_bytes(ByteView(whole).first(size)), 0);
}

TEST(IncrementalFile, AnyBytesAreAFileOrCorrupt) {
  const auto seed = test_seed();
  SCOPED_TRACE(fmt::format("PGMINT_TEST_SEED={}", seed));
  SeededRandom random(seed);
  std::size_t good = 0;
  for (int round = 0; round < 20'000; ++round) {
    std::vector<BlockNumber> blocks;
    for (BlockNumber block = 0; blocks.size() < random.u64() % 6; ++block)
      if (random.u64() % 2 == 0) blocks.push_back(block);
    auto header = header_of(blocks, static_cast<BlockNumber>(random.u64() % 10));
    for (auto flips = random.u64() % 3; flips > 0; --flips) header[random.u64() % std::min<std::size_t>(header.size(), 40)] ^= static_cast<std::byte>(1U << random.u64() % 8);
    if (random.u64() % 8 == 0) header.resize(random.u64() % (header.size() + 1));
    const auto size = incremental_header_size(ByteView(header).first(std::min(kIncrementalFront, header.size())), header.size() + blocks.size() * kShape.block_size, kShape);
    if (!size) {
      ASSERT_EQ(size.failure().code(), Errc::Corruption);
      continue;
    }
    const auto file = parse_incremental_header(header, kShape);
    if (!file) {
      ASSERT_EQ(file.failure().code(), Errc::Corruption);
      continue;
    }
    ++good;
    ASSERT_LE(file->length(), kShape.blocks_per_segment);
    ASSERT_TRUE(std::ranges::adjacent_find(file->blocks, std::greater_equal()) == file->blocks.end());
  }
  EXPECT_GT(good, 1000U);
}

TEST(IncrementalFile, NamesOfRelationsOnly) {
  EXPECT_EQ(incremental_path("base/5/INCREMENTAL.16384"), "base/5/16384");
  EXPECT_EQ(incremental_path("base/5/INCREMENTAL.16384.1"), "base/5/16384.1");
  EXPECT_EQ(incremental_path("global/INCREMENTAL.1260"), "global/1260");
  EXPECT_EQ(incremental_path("pg_tblspc/16400/PG_17_202406281/5/INCREMENTAL.16384"), "pg_tblspc/16400/PG_17_202406281/5/16384");
  for (const auto* name : {"base/5/16384", "base/5/INCREMENTAL.", "base/5/INCREMENTAL.PG_VERSION", "INCREMENTAL.16384", "pg_xact/INCREMENTAL.0000", "base/INCREMENTAL.5/16384",
                           "base/5/INCREMENTAL.INCREMENTAL.16384", "global/INCREMENTAL.pg_control", ""})
    EXPECT_EQ(incremental_path(name), std::nullopt) << name;
}

}  // namespace
}  // namespace pgmint::postgres

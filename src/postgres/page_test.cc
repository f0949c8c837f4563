#include "postgres/page.h"

#include <gtest/gtest.h>

#include "base/file.h"
#include "base/random.h"

namespace pgmint::postgres {
namespace {

constexpr std::size_t kSize = 8192;

/// Pages 0 to 3 of pg_class in a database of PostgreSQL 13, checksums on.
Bytes real_pages() {
  return read_file("tests/golden/postgres/pages.13", 1 << 20).value();
}
ByteView real_page(const Bytes& pages, std::size_t n) {
  return ByteView(pages).subspan(n * kSize, kSize);
}

void set_lsn(Bytes& page, Lsn lsn) {
  auto high = static_cast<std::uint32_t>(lsn.value() >> 32), low = static_cast<std::uint32_t>(lsn.value());
  std::memcpy(page.data(), &high, 4);
  std::memcpy(page.data() + 4, &low, 4);
}

void set_checksum(Bytes& page, BlockNumber block) {
  auto sum = page_checksum(page, block);
  std::memcpy(page.data() + 8, &sum, 2);
}

const PageCheck kChecked{.checksums_enabled = true, .block_size = kSize, .backup_start = Lsn(1000)};
const PageCheck kUnchecked{.checksums_enabled = false, .block_size = kSize, .backup_start = Lsn(1000)};

TEST(PageChecksum, FitsRealPages) {
  Bytes pages = real_pages();
  ASSERT_EQ(pages.size(), 4 * kSize);
  for (std::size_t n = 0; n < 4; ++n) {
    auto page = real_page(pages, n);
    EXPECT_EQ(page_checksum(page, static_cast<BlockNumber>(n)), page_header(page).checksum) << "page " << n;
    EXPECT_NE(page_checksum(page, static_cast<BlockNumber>(n + 1)), page_header(page).checksum) << "moved page " << n;
  }
}

/// The algorithm once more, one lane at a time, against every size and alignment the fast one may see.
std::uint16_t slow_checksum(Bytes page, BlockNumber block) {
  static constexpr std::array<std::uint32_t, 32> start{
      0x5B1F36E9, 0xB8525960, 0x02AB50AA, 0x1DE66D2A, 0x79FF467A, 0x9BB9F8A3, 0x217E7CD2, 0x83E13D2C,
      0xF8D4474F, 0xE39EB970, 0x42C6AE16, 0x993216FA, 0x7B093B5D, 0x98DAFF3C, 0xF718902A, 0x0B1C9CDB,
      0xE58F764B, 0x187636BC, 0x5D7B3BB1, 0xE73DE7DE, 0x92BEC979, 0xCCA6C0B2, 0x304A0979, 0x85AA43D4,
      0x783125BB, 0x6CA8EAA2, 0xE407EAC6, 0x4B5CFC3E, 0x9FBF8C76, 0x15CA20BE, 0xF2CA9FD3, 0x959BD756};
  page[8] = page[9] = std::byte{0};
  std::uint32_t result = 0;
  for (std::size_t lane = 0; lane < 32; ++lane) {
    std::uint32_t sum = start[lane];
    auto step = [&sum](std::uint32_t value) {
      std::uint32_t t = sum ^ value;
      sum = t * 16777619U ^ (t >> 17);
    };
    for (std::size_t row = 0; row * 128 < page.size(); ++row) {
      std::uint32_t value;
      std::memcpy(&value, page.data() + row * 128 + lane * 4, 4);
      step(value);
    }
    step(0);
    step(0);
    result ^= sum;
  }
  return static_cast<std::uint16_t>((result ^ block) % 65535 + 1);
}

TEST(PageChecksum, AgreesWithTheDefinitionAtAnySizeAndAlignment) {
  SeededRandom random(7);
  for (std::size_t size = kBlockSizeMin; size <= kBlockSizeMax; size *= 2) {
    for (std::size_t shift : {0U, 1U, 3U, 8U}) {
      Bytes buffer(size + shift);
      random.fill(buffer);
      ByteView page = ByteView(buffer).subspan(shift);
      auto block = static_cast<BlockNumber>(random.next());
      EXPECT_EQ(page_checksum(page, block), slow_checksum(to_bytes(page), block)) << size << " +" << shift;
    }
  }
}

TEST(CheckPage, RealPagesAreSound) {
  Bytes pages = real_pages();
  for (std::size_t n = 0; n < 4; ++n) {
    EXPECT_EQ(check_page(real_page(pages, n), static_cast<BlockNumber>(n), kChecked, std::nullopt), PageVerdict::Sound);
    EXPECT_EQ(check_page(real_page(pages, n), 99, kUnchecked, std::nullopt), PageVerdict::Sound);
  }
}

TEST(CheckPage, AllZeroPageIsSoundAtAnyBlock) {
  Bytes zero(kSize);
  EXPECT_EQ(check_page(zero, 17, kChecked, std::nullopt), PageVerdict::Sound);
  EXPECT_EQ(check_page(zero, 17, kUnchecked, Lsn(2000)), PageVerdict::Sound);
}

TEST(CheckPage, ZeroUpperNeedsAnAllZeroPageEvenWithAnLsnInRange) {
  for (std::size_t at : {std::size_t{1}, std::size_t{100}, kSize - 1}) {
    Bytes page(kSize);
    page[at] = std::byte{1};
    EXPECT_EQ(check_page(page, 0, kChecked, std::nullopt), PageVerdict::NotYetDecided) << at;
    set_lsn(page, Lsn(1500));
    EXPECT_EQ(check_page(page, 0, kChecked, Lsn(2000)), PageVerdict::Bad) << at;
    EXPECT_EQ(check_page(page, 0, kUnchecked, Lsn(2000)), PageVerdict::Bad) << at;
  }
}

TEST(CheckPage, WrongChecksumIsExcusedOnlyByAnLsnThatReplayWillReach) {
  Bytes pages = real_pages();
  auto broken_with_lsn = [&](std::uint64_t lsn) {
    Bytes page = to_bytes(real_page(pages, 1));
    set_lsn(page, Lsn(lsn));
    set_checksum(page, 1);
    page[kSize - 5] ^= std::byte{0x40};
    return page;
  };
  // 1000 is the backup's start, 2000 the insert position asked after the read.
  EXPECT_EQ(check_page(broken_with_lsn(999), 1, kChecked, std::nullopt), PageVerdict::NotYetDecided);
  EXPECT_EQ(check_page(broken_with_lsn(999), 1, kChecked, Lsn(2000)), PageVerdict::Bad);
  EXPECT_EQ(check_page(broken_with_lsn(1000), 1, kChecked, std::nullopt), PageVerdict::NotYetDecided);
  EXPECT_EQ(check_page(broken_with_lsn(1000), 1, kChecked, Lsn(2000)), PageVerdict::Sound);
  EXPECT_EQ(check_page(broken_with_lsn(2000), 1, kChecked, Lsn(2000)), PageVerdict::Sound);
  EXPECT_EQ(check_page(broken_with_lsn(2001), 1, kChecked, Lsn(2000)), PageVerdict::Bad);
}

TEST(CheckPage, EveryFlippedBitOfAnOldPageIsFound) {
  Bytes pages = real_pages();
  Bytes page = to_bytes(real_page(pages, 2));
  ASSERT_GT(page_header(page).lsn, Lsn(1000));
  PageCheck later = kChecked;
  later.backup_start = Lsn(std::uint64_t{1} << 60);
  for (std::size_t bit = 0; bit < kSize * 8; bit += 7) {
    page[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
    EXPECT_NE(check_page(page, 2, later, std::nullopt), PageVerdict::Sound) << "bit " << bit;
    page[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
  }
}

TEST(CheckPage, WithoutChecksumsOnlyAnImpossibleHeaderIsBad) {
  Bytes pages = real_pages();
  Bytes page = to_bytes(real_page(pages, 0));
  page[kSize - 1] ^= std::byte{1};
  EXPECT_EQ(check_page(page, 0, kUnchecked, std::nullopt), PageVerdict::Sound);
  for (std::size_t at : {11U, 13U, 15U, 17U}) {  // flags, lower, upper, special: high bytes
    Bytes broken = page;
    broken[at] = std::byte{0xEE};
    set_lsn(broken, Lsn(1));
    EXPECT_EQ(check_page(broken, 0, kUnchecked, Lsn(2000)), PageVerdict::Bad) << at;
  }
}

TEST(CheckPage, TornPageIsToldByItsDescription) {
  Bytes pages = real_pages();
  Bytes page = to_bytes(real_page(pages, 0));
  page[4000] ^= std::byte{1};
  EXPECT_NE(describe_bad_page(page, 0, kChecked).find(fmt::format("{:04X}", page_header(page).checksum)),
            std::string::npos);
}

TEST(PageChecksum, DISABLED_Throughput) {
  Bytes data(64 << 20);
  SeededRandom(1).fill(data);
  auto start = std::chrono::steady_clock::now();
  unsigned sum = 0;
  for (int round = 0; round < 8; ++round)
    for (std::size_t at = 0; at < data.size(); at += kSize)
      sum += page_checksum(ByteView(data).subspan(at, kSize), static_cast<BlockNumber>(at));
  std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  fmt::print("{:.1f} GB/s ({})\n", 8 * static_cast<double>(data.size()) / took.count() / 1e9, sum & 1);
}

}  // namespace
}  // namespace pgmint::postgres

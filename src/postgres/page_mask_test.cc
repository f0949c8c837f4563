#include "postgres/page_mask.h"

#include <gtest/gtest.h>

#include <cstring>

#include "base/random.h"

namespace pgmint::postgres {
namespace {

constexpr std::size_t kSize = 8192;

template <class T>
void put(Bytes& page, std::size_t at, T value) {
  std::memcpy(page.data() + at, &value, sizeof value);
}

/// One item of 64 bytes at the page's end.
Bytes make_page(std::uint16_t special_size) {
  Bytes page(kSize);
  SeededRandom random(7);
  const auto special = static_cast<std::uint16_t>(kSize - special_size);
  const auto upper = static_cast<std::uint16_t>(special - 64);
  random.fill(MutableByteView(page).subspan(upper));
  put<std::uint32_t>(page, 4, 0x1000028);
  put<std::uint16_t>(page, 12, 28);
  put<std::uint16_t>(page, 14, upper);
  put<std::uint16_t>(page, 16, special);
  put<std::uint16_t>(page, 18, kSize | 4);
  put<std::uint32_t>(page, 24, upper | 1U << 15 | 64U << 17);
  return page;
}

TEST(PageMask, HintsAreNoDifference) {
  const auto page = make_page(0);
  auto other = page;
  put<std::uint64_t>(other, 0, 77);         // LSN
  put<std::uint16_t>(other, 8, 0xABCD);     // checksum
  put<std::uint16_t>(other, 10, 0x0002);    // PD_PAGE_FULL
  put<std::uint32_t>(other, 20, 1234);      // prune xid
  put<std::uint16_t>(other, 4000, 1);       // the hole
  std::uint16_t infomask = 0;
  std::memcpy(&infomask, other.data() + kSize - 64 + 20, 2);
  put<std::uint16_t>(other, kSize - 64 + 20, infomask ^ 0x0500);
  EXPECT_TRUE(same_but_for_hints(page, other));
}

TEST(PageMask, EveryOtherByteOfAHeapPageIsADifference) {
  const auto page = make_page(0);
  for (std::size_t at = 0; at < kSize; ++at) {
    auto other = page;
    other[at] ^= std::byte{0x10};
    const bool hint = at < 10 || (at >= 20 && at < 24) || (at >= 28 && at < kSize - 64);
    EXPECT_EQ(same_but_for_hints(page, other), hint) << at;
  }
}

TEST(PageMask, AnIndexPageMayMarkItemsDeadAndHintInItsSpecialArea) {
  const auto page = make_page(16);
  auto other = page;
  put<std::uint32_t>(other, 24, static_cast<std::uint32_t>(kSize - 80) | 3U << 15 | 64U << 17);
  put<std::uint16_t>(other, kSize - 4, 0x40);
  EXPECT_TRUE(same_but_for_hints(page, other));
  other = page;
  other[kSize - 16] ^= std::byte{1};  // the left sibling
  EXPECT_FALSE(same_but_for_hints(page, other));
  other = page;
  other[kSize - 60] ^= std::byte{4};  // within the item, where a heap tuple has its hint bits
  EXPECT_FALSE(same_but_for_hints(page, other));
}

TEST(PageMask, WhatIsNoPageIsComparedByteByByte) {
  const Bytes zeros(kSize), page = make_page(0);
  EXPECT_FALSE(same_but_for_hints(zeros, page));
  EXPECT_TRUE(same_but_for_hints(zeros, zeros));
  SeededRandom random(3);
  Bytes noise(kSize);
  random.fill(noise);
  auto other = noise;
  other[5000] ^= std::byte{1};
  EXPECT_FALSE(same_but_for_hints(noise, other));
}

}  // namespace
}  // namespace pgmint::postgres

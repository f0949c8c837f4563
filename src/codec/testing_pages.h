// Pages as PostgreSQL might leave them, from a seed, and damage done to them where a page keeps its structure. Included by tests only.
#pragma once

#include <algorithm>

#include "base/test_seed.h"
#include "codec/page_layout.h"

namespace pgmint::codec {

class PageMaker {
 public:
  explicit PageMaker(SeededRandom& random) : random_(random) {}

  /// A group of one relation's pages, a few of them of other kinds.
  Bytes group(std::uint32_t pages) {
    Bytes bytes;
    block_ = static_cast<std::uint32_t>(random_.below(1 << 20));
    const auto habit = random_.below(5);
    xmin_ = static_cast<std::uint32_t>(random_.below(1U << 30));
    width_ = static_cast<std::uint32_t>(random_.below(120));
    for (std::uint32_t i = 0; i < pages; ++i, ++block_) append(bytes, page(random_.below(8) == 0 ? random_.below(5) : habit));
    return bytes;
  }

  Bytes page(std::uint64_t kind) {
    switch (kind) {
      case 0:
        return Bytes(kPageSize);
      case 1:
        return random_bytes(random_, kPageSize);
      case 2:
        return tuples(kPageSize, random_.below(2) == 0);
      case 3:
        return tuples(kPageSize - 16, false);
      default:
        return tuples(kPageSize - (random_.below(2) == 0 ? 16 : 8), random_.below(2) == 0);
    }
  }

  /// Changes a few bytes where it matters: headers, line pointers, tuple headers, the hole, the special space; or anywhere.
  void damage(MutableByteView pages) {
    const auto page = pages.subspan(random_.below(pages.size() / kPageSize) * kPageSize, kPageSize);
    const std::uint32_t lower = std::clamp(load16(as_u8(page) + kLowerAt), kPageHeaderSize + 4, kPageSize);
    const auto items = (lower - kPageHeaderSize) / 4;
    std::size_t at = random_.below(kPageSize);
    switch (random_.below(7)) {
      case 0:
        at = random_.below(kPageHeaderSize);
        break;
      case 1:
        at = kPageHeaderSize + random_.below(4 * items);
        break;
      case 2:
        at = kPageSize - 1 - random_.below(16);
        break;
      case 3:
        at = std::min<std::size_t>(kPageSize - 1, line_pointer(as_u8(page), static_cast<std::uint32_t>(random_.below(items))).offset() + random_.below(32));
        break;
      case 4:
        at = std::min<std::size_t>(kPageSize - 1, lower + random_.below(8));
        break;
      case 5: {  // two line pointers change places
        const auto a = kPageHeaderSize + 4 * random_.below(items), b = kPageHeaderSize + 4 * random_.below(items);
        if (a != b) std::swap_ranges(page.begin() + static_cast<std::ptrdiff_t>(a), page.begin() + static_cast<std::ptrdiff_t>(a) + 4, page.begin() + static_cast<std::ptrdiff_t>(b));
        return;
      }
      default:
        break;
    }
    page[at] = random_.below(2) == 0 ? static_cast<std::byte>(random_.below(256)) : page[at] ^ static_cast<std::byte>(1U << random_.below(8));
  }

 private:
  struct Slot {
    std::uint32_t offset = 0, length = 0, state = LinePointer::kNormal;
  };

  Bytes tuples(std::uint32_t special, bool shuffled) {
    Bytes bytes(kPageSize);
    unsigned char* page = as_u8(MutableByteView(bytes));
    const bool heap = special == kPageSize;
    std::vector<Slot> slots;
    const auto fixed = random_.below(2) == 0 ? size_of_tuple(heap) : 0;
    const auto fill = random_.below(kPageSize);
    std::uint32_t upper = special;
    for (;;) {
      if (shuffled && random_.below(12) == 0) slots.push_back({0, 0, static_cast<std::uint32_t>(random_.below(4))});
      const std::uint32_t length = fixed != 0 ? fixed : size_of_tuple(heap);
      const auto used = kPageHeaderSize + 4 * (slots.size() + 2) + (special - upper);
      if (used + align8(length) > kPageSize - (kPageSize - special) || used > fill) break;
      upper -= align8(length);
      slots.push_back({upper, length, shuffled && random_.below(20) == 0 ? static_cast<std::uint32_t>(random_.below(4)) : LinePointer::kNormal});
    }
    if (shuffled)
      for (std::size_t i = slots.size(); i > 1; --i) std::swap(slots[i - 1], slots[random_.below(i)]);
    else if (!heap && slots.size() > 2 && random_.below(2) == 0)
      std::rotate(slots.rbegin(), slots.rbegin() + 1, slots.rend());  // the high key first
    put_header(page, static_cast<std::uint32_t>(kPageHeaderSize + 4 * slots.size()), upper, special);
    for (std::size_t i = 0; i < slots.size(); ++i) {
      store32(page + kPageHeaderSize + 4 * i, slots[i].offset | slots[i].state << 15 | slots[i].length << 17);
      if (slots[i].length == 0) continue;
      if (heap)
        put_heap_tuple(page + slots[i].offset, slots[i].length, static_cast<std::uint32_t>(i + 1));
      else
        put_index_tuple(page + slots[i].offset, slots[i].length);
    }
    if (random_.below(10) == 0 && upper > kPageHeaderSize + 4 * slots.size()) page[upper - 1] = 7;  // a hole that is not empty
    return bytes;
  }

  std::uint32_t size_of_tuple(bool heap) {
    if (heap) return 24 + static_cast<std::uint32_t>(random_.below(random_.below(20) == 0 ? 3000 : 1 + width_));
    return 8 + 8 * static_cast<std::uint32_t>(random_.below(random_.below(6) == 0 ? 100 : 4));
  }

  void put_header(unsigned char* page, std::uint32_t lower, std::uint32_t upper, std::uint32_t special) {
    store32(page, 1);
    store32(page + 4, static_cast<std::uint32_t>(random_.below(1U << 31)));
    store16(page + 8, static_cast<std::uint32_t>(random_.below(1 << 16)));
    store16(page + 10, static_cast<std::uint32_t>(random_.below(8)));
    store16(page + kLowerAt, lower);
    store16(page + kUpperAt, upper);
    store16(page + kSpecialAt, special);
    store16(page + 18, kPageSize | 4);
    store32(page + 20, random_.below(3) == 0 ? xmin_ : 0);
    for (std::uint32_t at = special; at < kPageSize; at += 4) store32(page + at, random_.below(2) == 0 ? 0 : block_ + 1);
  }

  void put_heap_tuple(unsigned char* tuple, std::uint32_t length, std::uint32_t item) {
    fill_data(tuple + kHeapHeaderSize, length - kHeapHeaderSize);
    if (random_.below(4) == 0) xmin_ += static_cast<std::uint32_t>(random_.below(50));
    store32(tuple, xmin_);
    store32(tuple + 4, random_.below(5) == 0 ? xmin_ + 9 : 0);
    store32(tuple + 8, static_cast<std::uint32_t>(random_.below(random_.below(5) == 0 ? 100 : 1)));
    const bool moved = random_.below(8) == 0;
    store_block(tuple + 12, moved ? block_ + static_cast<std::uint32_t>(random_.below(100)) : block_);
    store16(tuple + 16, moved ? static_cast<std::uint32_t>(random_.below(200)) : item);
    store16(tuple + 18, 9);
    store16(tuple + 20, random_.below(6) == 0 ? static_cast<std::uint32_t>(random_.below(1 << 16)) : 0x0902);
    tuple[kHoffAt] = static_cast<unsigned char>(random_.below(10) == 0 ? random_.below(256) : random_.below(3) == 0 ? 32 : 24);
    tuple[23] = static_cast<unsigned char>(random_.below(4));
    if ((length & 7) != 0 && random_.below(40) == 0) tuple[length] = 5;  // padding that is not empty
  }

  void put_index_tuple(unsigned char* tuple, std::uint32_t length) {
    fill_data(tuple + kIndexHeaderSize, length - kIndexHeaderSize);
    store16(tuple + 6, length | (random_.below(8) == 0 ? 0x4000U : 0U));
    const std::uint32_t room = length - kIndexHeaderSize;
    if (room >= 24 && random_.below(2) == 0) {  // a posting list behind a key of eight bytes
      const std::uint32_t count = static_cast<std::uint32_t>(random_.below((room - 8) / 6 + 2));
      store_block(tuple, 16);
      store16(tuple + 4, 0x2000 | count);
      store16(tuple + 6, length | 0x2000);
    } else {
      store_block(tuple, block_ * 40 + static_cast<std::uint32_t>(random_.below(40)));
      store16(tuple + 4, 1 + static_cast<std::uint32_t>(random_.below(200)));
    }
  }

  void fill_data(unsigned char* data, std::uint32_t size) {
    for (std::uint32_t i = 0; i < size; ++i) data[i] = static_cast<unsigned char>(i % 8 < 3 ? random_.below(256) : i % 8 == 3 ? serial_ : 'x');
    if (size >= 8) store32(data + 4, size >= 12 && random_.below(2) == 0 ? load32(data) : serial_ += 3);
  }

  SeededRandom& random_;
  std::uint32_t block_ = 0, xmin_ = 0, width_ = 0, serial_ = 0;
};

}  // namespace pgmint::codec

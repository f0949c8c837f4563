// Where the bytes of a page go that is put together: into the page, or against a page that is there. One decoder serves both, so that what checks an
// encoding is what reads it.
#pragma once

#include "codec/short_copy.h"
#include "codec/tuple_words.h"

namespace pgmint::codec {

/// From kLanes - n on: n bytes of ones, then zeros.
inline constexpr auto kFirstBytes = [] {
  std::array<unsigned char, std::size_t{2} * kLanes> mask{};
  for (std::size_t i = 0; i < kLanes; ++i) mask[i] = 0xFF;
  return mask;
}();

/// From 4 - n on: n words of ones, then zeros.
inline constexpr std::array<std::uint32_t, 8> kFirstWords{~0U, ~0U, ~0U, ~0U, 0, 0, 0, 0};

/// Written ... Loops have a target of their own, which stays in a register. put_row(): the first n words of four.
struct Writing {
  static constexpr bool kCompares = false;
  using Page = unsigned char*;
  PGMINT_INLINE void put16(Page at, std::uint32_t v) { store16(at, v); }
  PGMINT_INLINE void put32(Page at, std::uint32_t v) { store32(at, v); }
  PGMINT_INLINE void put64(Page at, std::uint64_t v) { store64(at, v); }
  PGMINT_INLINE void put_block(Page at, std::uint32_t block) { store_block(at, block); }
  PGMINT_INLINE void put_words4(Page at, Words4 v) { store_words4(at, v); }
  PGMINT_INLINE void put_row(Page at, Words4 v, std::uint32_t n) {
    if (n == 4) return store_words4(at, v);
    const auto halves = std::bit_cast<std::array<std::uint64_t, 2>>(v);
    if (n == 1) return store32(at, static_cast<std::uint32_t>(halves[0]));
    store64(at, halves[0]);
    if (n == 3) store32(at + 8, static_cast<std::uint32_t>(halves[1]));
  }
  PGMINT_INLINE void copy(Page to, PagePointer from, std::uint32_t n) { copy_exactly(to, from, n); }
  PGMINT_INLINE void copy_within(Page to, PagePointer from, std::uint32_t n) { copy_exactly(to, from, n); }
  PGMINT_INLINE void zero(Page at, std::uint32_t n) { std::memset(at, 0, n); }
  bool same() const { return true; }
  void add(const Writing&) {}
};

/// ... or held against pages that are there, without a copy of them. It is up to the caller to know that every byte was asked about.
struct Comparing {
  static constexpr bool kCompares = true;
  using Page = PagePointer;
  PagePointer group_end = nullptr, remainder_end = nullptr;
  std::uint64_t differing = 0;
  Lanes differing_lanes{};
  Words4 differing_words{};
  PGMINT_INLINE void put16(Page at, std::uint32_t v) { differing |= load16(at) ^ (v & 0xFFFF); }
  PGMINT_INLINE void put32(Page at, std::uint32_t v) { differing |= load32(at) ^ v; }
  PGMINT_INLINE void put64(Page at, std::uint64_t v) { differing |= load64(at) ^ v; }
  PGMINT_INLINE void put_block(Page at, std::uint32_t block) { differing |= load_block(at) ^ block; }
  PGMINT_INLINE void put_words4(Page at, Words4 v) { differing_words |= load_words4(at) ^ v; }
  PGMINT_INLINE void put_row(Page at, Words4 v, std::uint32_t n) { differing_words |= (load_words4(at) ^ v) & load_words4(kFirstWords.data() + 4 - n); }
  PGMINT_INLINE void compare_lanes(PagePointer a, PagePointer b) {
    Lanes x, y;
    std::memcpy(&x, a, sizeof x);
    std::memcpy(&y, b, sizeof y);
    differing_lanes |= x ^ y;
  }
  /// n of the kLanes bytes that are there.
  PGMINT_INLINE void compare_first(PagePointer a, PagePointer b, std::uint32_t n) {
    Lanes x, y, mask;
    std::memcpy(&x, a, sizeof x);
    std::memcpy(&y, b, sizeof y);
    std::memcpy(&mask, kFirstBytes.data() + kLanes - n, sizeof mask);
    differing_lanes |= (x ^ y) & mask;
  }
  /// Most are short, of any length: 32 bytes at once need no branch that guesses it.
  PGMINT_INLINE void copy_within(Page to, PagePointer from, std::uint32_t n) {
    for (; n > kLanes; n -= kLanes, to += kLanes, from += kLanes) compare_lanes(to, from);
    compare_first(to, from, n);
  }
  /// The same where the ends are near.
  PGMINT_INLINE void copy(Page to, PagePointer from, std::uint32_t n) {
    if (n >= kLanes) {
      for (std::uint32_t i = 0; i + kLanes < n; i += kLanes) compare_lanes(to + i, from + i);
      compare_lanes(to + n - kLanes, from + n - kLanes);
    } else if (std::min(group_end - to, remainder_end - from) >= kLanes) {
      compare_first(to, from, n);
    } else {
      for (std::uint32_t i = 0; i < n; ++i) differing |= static_cast<std::uint64_t>(to[i] ^ from[i]);
    }
  }
  PGMINT_INLINE void zero(Page at, std::uint32_t n) { differing |= all_zero(at, n) ? 0 : 1; }
  bool same() const {
    const auto words = std::bit_cast<std::array<std::uint64_t, 2>>(differing_words);
    return (differing | words[0] | words[1] | differing_lanes[0] | differing_lanes[1] | differing_lanes[2] | differing_lanes[3]) == 0;
  }
  void add(const Comparing& other) {
    differing |= other.differing, differing_lanes |= other.differing_lanes, differing_words |= other.differing_words;
  }
};

}  // namespace pgmint::codec

// What a PostgreSQL page looks like to the page codec: where its fields are, and the two models that it may fit. Layouts:
// bufpage.h, itemid.h, htup_details.h, itup.h, nbtree.h; the same from 13 to 18. The codec is about bytes, not meaning: a page that
// fits no model is kept as it is, and nothing here is trusted.
#pragma once

#include <bit>
#include <cstring>

#include "base/bytes.h"

namespace pgmint::codec {

static_assert(std::endian::native == std::endian::little, "page fields are read as they stand in memory");

inline constexpr std::uint32_t kPageSize = 8192;
inline constexpr std::uint32_t kGroupPagesMax = 32;  ///< pages that are transformed together
inline constexpr std::uint32_t kGroupSize = kPageSize * kGroupPagesMax;
inline constexpr std::uint32_t kPageHeaderSize = 24;
inline constexpr std::uint32_t kHeapHeaderSize = 24;  ///< the 23 bytes of HeapTupleHeader and what follows, null bits or padding
inline constexpr std::uint32_t kIndexHeaderSize = 8;
inline constexpr std::uint32_t kTwoWordTuple = 16;  ///< an index tuple whose data is two words: one integer, date or timestamp
inline constexpr std::uint32_t kLinePointersMax = (kPageSize - kPageHeaderSize) / 4;

/// Offsets in the page header, in 32-bit words: pd_lsn (high, low), pd_checksum and pd_flags, pd_lower and pd_upper, pd_special and
/// pd_pagesize_version, pd_prune_xid.
inline constexpr std::uint32_t kHeaderWords = 6;
inline constexpr std::uint32_t kLowerAt = 12, kUpperAt = 14, kSpecialAt = 16;
inline constexpr std::uint32_t kSpecialWordsMax = 4;
inline constexpr std::uint32_t kHoffAt = 22;  ///< t_hoff in a heap tuple

using PagePointer = const unsigned char*;

inline std::uint32_t load16(PagePointer p) {
  std::uint16_t v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
inline std::uint32_t load32(PagePointer p) {
  std::uint32_t v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
inline std::uint64_t load64(PagePointer p) {
  std::uint64_t v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
inline void store16(unsigned char* p, std::uint32_t v) {
  const auto low = static_cast<std::uint16_t>(v);
  std::memcpy(p, &low, sizeof low);
}
inline void store32(unsigned char* p, std::uint32_t v) { std::memcpy(p, &v, sizeof v); }
inline void store64(unsigned char* p, std::uint64_t v) { std::memcpy(p, &v, sizeof v); }

/// MAXALIGN.
inline constexpr std::uint32_t align8(std::uint32_t n) { return (n + 7) & ~7U; }

/// ItemIdData: 15 bits of offset, 2 of state, 15 of length.
struct LinePointer {
  std::uint32_t bits;
  std::uint32_t offset() const { return bits & 0x7FFF; }
  std::uint32_t length() const { return bits >> 17; }
  std::uint32_t place() const { return bits & 0x1FFFF; }  ///< offset and state
  bool normal() const { return (bits >> 15 & 3) == kNormal; }
  static constexpr std::uint32_t kNormal = 1;
};
inline LinePointer line_pointer(PagePointer page, std::uint32_t i) { return {load32(page + kPageHeaderSize + 4 * i)}; }

/// ItemPointerData: the block in two halves, the high one first.
inline std::uint32_t load_block(PagePointer p) { return std::rotl(load32(p), 16); }
inline void store_block(unsigned char* p, std::uint32_t block) { store32(p, std::rotl(block, 16)); }

/// The posting list of a deduplicated btree tuple (nbtree.h, BTreeTupleIsPosting): how many heap TIDs stand `offset` bytes into the
/// tuple; 0 where it has none, or none that fits into the tuple. `offset` and `status` are the two parts of t_tid, `info` is t_info.
inline std::uint32_t posting_count(std::uint32_t offset, std::uint32_t status, std::uint32_t info, std::uint32_t length) {
  constexpr std::uint32_t kAlternativeTid = 0x2000, kIsPosting = 0x2000;
  if ((info & kAlternativeTid) == 0 || (status & 0xF000) != kIsPosting) return 0;
  const std::uint32_t count = status & 0x0FFF;
  return offset >= kIndexHeaderSize && offset <= length && count * 6 <= length - offset ? count : 0;
}

/// Where a heap tuple's data begins: t_hoff, where it is possible; the words between the header and there are its null bits.
inline std::uint32_t heap_data_offset(std::uint32_t hoff, std::uint32_t length) {
  return hoff >= kHeapHeaderSize && hoff <= length && (hoff & 3) == 0 ? hoff : kHeapHeaderSize;
}

enum class PageModel : std::uint8_t {
  Raw = 0,   ///< fits no model
  Zero = 1,  ///< all zero
  Heap = 2,  ///< line pointers to heap tuples
  Index = 3  ///< line pointers to index tuples whose lengths are multiples of eight
};

/// How a page fits its model.
struct PageShape {
  PageModel model = PageModel::Raw;
  bool canonical = false;       ///< tuples follow each other from the end in the order of their line pointers, all of them normal
  bool hole = false;            ///< bytes between line pointers and tuples that are not zero
  bool padding = false;         ///< bytes between tuples that are not zero
  bool fixed_length = false;    ///< canonical, and all tuples of one length
  bool high_key_first = false;  ///< canonical but for the first line pointer, whose tuple comes last, as btree builds leave it
  std::uint32_t lower = 0, upper = 0, special = 0;
  std::uint32_t items() const { return (lower - kPageHeaderSize) / 4; }
};

/// From the page header alone: a candidate, to be held against the whole page by PageInspector.
inline PageShape guess_shape(PagePointer page) {
  PageShape shape;
  shape.lower = load16(page + kLowerAt);
  shape.upper = load16(page + kUpperAt);
  shape.special = load16(page + kSpecialAt);
  if (shape.lower < kPageHeaderSize || shape.lower > shape.upper || shape.upper > shape.special || shape.special > kPageSize ||
      (shape.lower & 3) != 0 || (shape.upper & 7) != 0 || (shape.special & 7) != 0)
    return shape;
  if (shape.special == kPageSize) shape.model = PageModel::Heap;
  if (shape.special == kPageSize - 16 || shape.special == kPageSize - 8) shape.model = PageModel::Index;
  return shape;
}

inline bool all_zero(PagePointer p, std::uint32_t n) {
  std::uint64_t seen = 0;
  std::uint32_t i = 0;
  for (; i + 8 <= n; i += 8) seen |= load64(p + i);
  for (; i < n; ++i) seen |= p[i];
  return seen == 0;
}

}  // namespace pgmint::codec

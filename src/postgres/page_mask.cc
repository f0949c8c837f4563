#include "postgres/page_mask.h"

#include <algorithm>
#include <cstring>

#include "postgres/load.h"
#include "postgres/page.h"

namespace pgmint::postgres {
namespace {

constexpr std::size_t kChecksumAt = 8, kFlagsAt = 10, kPruneXidAt = 20;
constexpr std::uint16_t kHintFlags = 0x0007;  // PD_HAS_FREE_LINES, PD_PAGE_FULL, PD_ALL_VISIBLE
constexpr std::size_t kItemIdSize = 4;
constexpr std::uint32_t kItemNormal = 1, kItemDead = 3;
constexpr std::size_t kInfomaskAt = 20, kTupleHeaderMin = 23;
constexpr std::uint16_t kHintBits = 0x0F00;  // HEAP_XMIN_COMMITTED to HEAP_XMAX_INVALID
/// Flags and cycle id of btree, flags and page id of hash and GiST: the last four bytes of sixteen.
constexpr std::size_t kIndexSpecial = 16, kIndexHints = 4;

void put_zero(MutableByteView page, std::size_t at, std::size_t size) {
  std::ranges::fill(page.subspan(at, size), std::byte{0});
}

void clear_bits(MutableByteView page, std::size_t at, std::uint16_t bits) {
  const auto value = static_cast<std::uint16_t>(load<std::uint16_t>(page, at) & ~bits);
  std::memcpy(page.data() + at, &value, sizeof value);
}

bool looks_like_page(const PageHeader& header, std::size_t size) {
  return header.page_size == size && header.layout_version == 4 && header.lower >= kPageHeaderSize &&
         header.lower <= header.upper && header.upper <= header.special && header.special <= size;
}

/// Line pointers say "normal" where they say "dead" and have storage; heap tuples lose their hint bits.
void mask_items(MutableByteView page, const PageHeader& header) {
  const bool heap = header.special == page.size();
  for (std::size_t at = kPageHeaderSize; at + kItemIdSize <= header.lower; at += kItemIdSize) {
    auto item = load<std::uint32_t>(page, at);
    const auto offset = item & 0x7FFF, state = item >> 15 & 3, length = item >> 17;
    if (state == kItemDead && length != 0) {
      item = (item & ~(3U << 15)) | kItemNormal << 15;
      std::memcpy(page.data() + at, &item, sizeof item);
    }
    if (heap && state == kItemNormal && length >= kTupleHeaderMin && std::size_t{offset} + length <= page.size())
      clear_bits(page, offset + kInfomaskAt, kHintBits);
  }
}

/// What stays of a page when hints are no part of it.
void mask(MutableByteView page) {
  const auto header = page_header(page);
  put_zero(page, 0, kChecksumAt + 2);
  if (!looks_like_page(header, page.size())) return;
  clear_bits(page, kFlagsAt, kHintFlags);
  put_zero(page, kPruneXidAt, 4);
  mask_items(page, header);
  put_zero(page, header.lower, header.upper - std::size_t{header.lower});
  if (page.size() - header.special == kIndexSpecial) put_zero(page, page.size() - kIndexHints, kIndexHints);
}

}  // namespace

bool same_but_for_hints(ByteView a, ByteView b) {
  PGMINT_ASSERT(a.size() == b.size() && a.size() >= kPageHeaderSize && a.size() <= kBlockSizeMax);
  if (page_header(a).upper == 0 || page_header(b).upper == 0) return std::ranges::equal(a, b);
  Bytes x = to_bytes(a), y = to_bytes(b);
  mask(x);
  mask(y);
  return x == y;
}

}  // namespace pgmint::postgres

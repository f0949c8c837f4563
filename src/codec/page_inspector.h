// Holds a page against its model, byte by byte: what passes here can be taken apart without looking at bounds again.
#pragma once

#include <algorithm>

#include "codec/cpu_dispatch.h"
#include "codec/page_layout.h"

namespace pgmint::codec {

class ShapeInspector {
 public:
  /// Heap and Index shapes promise: every line pointer with a length lies in whole between upper and special, begins at a multiple of
  /// eight, is as long as its header, overlaps no other; and together they leave nothing between upper and special uncovered.
  PGMINT_INLINE PageShape inspect(PagePointer page) {
    PageShape shape = guess_shape(page);
    if (shape.model == PageModel::Raw) {
      if (shape.lower == 0 && all_zero(page, kPageSize)) shape.model = PageModel::Zero;
      return shape;
    }
    const bool index = shape.model == PageModel::Index;
    const std::uint32_t length_min = index ? kIndexHeaderSize : kHeapHeaderSize;
    if (!(is_canonical(page, shape, index, length_min) || is_tiled(page, shape, index, length_min)))
      shape.model = PageModel::Raw;
    else
      shape.hole = !all_zero(page + shape.lower, shape.upper - shape.lower);
    return shape;
  }

 private:
  /// The bytes between a tuple's end and the next multiple of eight; 0 when there are none.
  PGMINT_INLINE static std::uint64_t padding_of(PagePointer page, std::uint32_t offset, std::uint32_t length) {
    return (length & 7) == 0 ? 0 : load64(page + offset + align8(length) - 8) >> (8 * (length & 7));
  }

  PGMINT_INLINE static bool is_canonical(PagePointer page, PageShape& shape, bool index, std::uint32_t length_min) {
    const std::uint32_t items = shape.items();
    if (items == 0) {
      shape.canonical = shape.upper == shape.special;
      return shape.canonical;
    }
    const LinePointer first = line_pointer(page, 0);
    const std::uint32_t rotate = index && first.offset() + align8(first.length()) != shape.special ? 1 : 0;
    std::uint32_t previous = shape.special, differing = 0, lengths = 0, shortest = first.length();
    std::uint64_t padding = 0;
    for (std::uint32_t j = rotate; j < items + rotate; ++j) {
      const LinePointer item = line_pointer(page, j < items ? j : 0);
      const std::uint32_t length = item.length();
      previous -= align8(length);
      if (item.place() != (previous | LinePointer::kNormal << 15)) return false;  // and so where it has become negative
      differing |= length ^ first.length();
      lengths |= length;
      shortest = std::min(shortest, length);
      padding |= padding_of(page, previous, length);
    }
    if (previous != shape.upper || shortest < length_min || (index && (lengths & 7) != 0)) return false;
    shape.canonical = true;
    shape.high_key_first = rotate != 0;
    shape.fixed_length = differing == 0;
    shape.padding = padding != 0;
    return true;
  }

  /// In any order: where each tuple ends another one begins, or the tuples end; one begins where they begin; and together they are as many bytes as
  /// there are. Then those on the way from there to the end are all of them.
  PGMINT_INLINE bool is_tiled(PagePointer page, PageShape& shape, bool index, std::uint32_t length_min) {
    if (++mark_ == 0) begins_.fill(0), mark_ = 1;
    begins_[shape.special / 8] = mark_;
    const std::uint32_t items = shape.items();
    std::uint64_t padding = 0;
    std::uint32_t covered = 0;
    for (std::uint32_t i = 0; i < items; ++i) {
      const LinePointer item = line_pointer(page, i);
      const std::uint32_t offset = item.offset(), length = item.length();
      if (length == 0) continue;
      if (length < length_min || (offset & 7) != 0 || offset < shape.upper || offset + align8(length) > shape.special ||
          (index && (length & 7) != 0) || begins_[offset / 8] == mark_)
        return false;
      begins_[offset / 8] = mark_;
      covered += align8(length);
      padding |= padding_of(page, offset, length);
    }
    bool follows = begins_[shape.upper / 8] == mark_;
    for (std::uint32_t i = 0; i < items; ++i) {
      const LinePointer item = line_pointer(page, i);
      follows &= item.length() == 0 || begins_[(item.offset() + align8(item.length())) / 8] == mark_;
    }
    shape.padding = padding != 0;
    return follows && covered == shape.special - shape.upper;
  }

  std::array<std::uint8_t, kPageSize / 8 + 1> begins_{};  ///< by eights: mark_ where a tuple of this page begins, and where the last one ends
  std::uint8_t mark_ = 0;
};

}  // namespace pgmint::codec

// Columns of words as byte planes: byte 0 of all words, then byte 1, and so on. Constant planes are left out, planes that look random
// are kept apart, since no compressor gains on them.
#pragma once

#include "base/error.h"
#include "codec/cpu_dispatch.h"
#include "codec/page_columns.h"

namespace pgmint::codec {

/// Bytes of planes that a group may have, of either sort. More than that is no use: the group is kept plain.
inline constexpr std::size_t kPlanesMax = std::size_t{4} * kGroupSize;
/// Bytes of all column descriptors: count in three bytes, tag, twin, first word, constants, mask.
inline constexpr std::size_t kDescriptorsMax = kColumnCount * 14;

/// Where planes go. The buffers belong to the caller: kDescriptorsMax bytes, and twice kPlanesMax.
struct PlaneSink {
  unsigned char* descriptors;
  unsigned char* planes;
  unsigned char* raw;
  std::size_t descriptor_bytes = 0, plane_bytes = 0, raw_bytes = 0;
};
/// Uses `scratch`, twice kColumnCapacity words. False when the planes would exceed kPlanesMax: nothing useful was written.
bool split_columns(const Columns& columns, std::uint32_t* scratch, PlaneSink& sink, CpuPath path);

/// Where planes come from: bytes from outside. What was read is taken off the front.
struct PlaneSource {
  ByteView packed;  ///< descriptors, then planes
  ByteView raw;
};
/// Fills all columns. @errors Corruption
Status merge_columns(PlaneSource& source, Columns& columns, CpuPath path);
/// Whether merge_columns() would yield `columns`. @errors Corruption
Result<bool> columns_match(PlaneSource& source, const Columns& columns, CpuPath path);

/// The same for any columns, whose sizes, none of them 0, both sides know: descriptors without counts, and no twins.
struct WordColumn {
  const std::uint32_t* words;
  std::uint32_t count;
};
struct MutableWordColumn {
  std::uint32_t* words;
  std::uint32_t count;
};
/// Uses `scratch`, as many words as the longest column. `sink` needs kWordDescriptorMax bytes a column for descriptors.
void split_word_columns(std::span<const WordColumn> columns, std::uint32_t* scratch, PlaneSink& sink, CpuPath path);
inline constexpr std::size_t kWordDescriptorMax = 10;
/// @errors Corruption
Status merge_word_columns(PlaneSource& source, std::span<const MutableWordColumn> columns, CpuPath path);

}  // namespace pgmint::codec

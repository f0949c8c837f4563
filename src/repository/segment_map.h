// Where each block of one file is. Format: docs/format/manifest.md, "Segment map".
#pragma once

#include <optional>
#include <vector>

#include "repository/record.h"

namespace pgmint::repository {

/// One extent of a file; without a location all its bytes are zero.
struct MapExtent {
  std::optional<RecordLocation> location;  ///< type Extent
  ByteArray<16> fingerprint{};
};

/// Changed pages of one file in one record.
struct MapDelta {
  RecordLocation location;  ///< type Delta
  ByteArray<16> fingerprint{};
  std::vector<std::uint32_t> blocks;  ///< of the file, ascending: where each page of the record belongs
  /// As `blocks`: pages that something newer stands for, or that lie behind the file's end. Empty: none.
  std::vector<bool> dead{};

  bool is_live(std::size_t position) const { return dead.empty() || !dead[position]; }
  std::size_t live_count() const;
};

struct SegmentMap {
  std::uint32_t page_size = 0;  ///< 0: not a file of pages
  std::uint32_t extent_size = 0;
  std::uint64_t file_length = 0;
  std::vector<MapExtent> extents;
  std::vector<MapDelta> deltas;  ///< no block is live in two of them, so that their order means nothing

  std::uint64_t extent_count() const { return extent_size == 0 ? 0 : (file_length + extent_size - 1) / extent_size; }
  /// Bytes of extent i: extent_size but for the last.
  std::uint32_t extent_length(std::uint64_t i) const;
};

Bytes encode_segment_map(const SegmentMap& map);
/// Never reserves more than the input could hold. @errors Corruption
Result<SegmentMap> parse_segment_map(ByteView data);

}  // namespace pgmint::repository

// What a change set says of one segment file.
#pragma once

#include <limits>

#include "postgres/wal_summary.h"

namespace pgmint::postgres {

struct SegmentChanges {
  static constexpr BlockNumber kNoLimit = std::numeric_limits<BlockNumber>::max();
  /// Of this file, ascending, all below `limit`.
  std::vector<BlockNumber> blocks;
  /// Blocks of this file from here on are not what they were, whatever `blocks` says: its storage was created, truncated or
  /// dropped meanwhile (POSTGRES 11).
  BlockNumber limit = kNoLimit;
  /// The relation was cut off behind this file's end: the file was a whole segment then, whatever it is now.
  bool cut_behind = false;
};

/// Borrows the change set, which must not be void.
class ChangeIndex {
 public:
  ChangeIndex(const ChangeSet& changes, std::uint32_t blocks_per_segment)
      : changes_(changes), blocks_per_segment_(blocks_per_segment) {}
  SegmentChanges of(const RelationSegment& file) const;

 private:
  std::optional<BlockNumber> limit_of(const RelationFork& fork) const;

  const ChangeSet& changes_;
  std::uint32_t blocks_per_segment_;
};

}  // namespace pgmint::postgres

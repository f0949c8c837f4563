// The live delta pages of part of a file, fetched and opened, to be laid over its extents.
#pragma once

#include <vector>

#include "repository/segment_map.h"
#include "storage/blob_store.h"

namespace pgmint::repository {

/// A value. Memory: the delta records that have a live page in the part.
class DeltaPages {
 public:
  DeltaPages() = default;
  /// Reads every record of map.deltas that has a live page in the extents [first, last). Records that lie side by side in one
  /// pack are read with one request. @errors NotFound (a pack is missing), Corruption, Storage, Key
  static Result<DeltaPages> load(storage::BlobStore& store, const RecordContext& context, RecordOpener& opener,
                                 const SegmentMap& map, std::uint64_t first, std::uint64_t last);

  /// Lays the live pages of extent `i` over `data`, its extent_length(i) bytes. @return whether there was any
  bool apply(const SegmentMap& map, std::uint64_t i, MutableByteView data) const;
  /// Whether apply() would do anything.
  bool touches(const SegmentMap& map, std::uint64_t i) const;
  /// Whether it has block `block` of the file.
  bool has(std::uint64_t block) const;
  /// Whether extent `i` was in the part that was loaded.
  bool covers(std::uint64_t i) const { return i >= first_ && i < last_; }
  /// Fetched from the store.
  std::uint64_t read_bytes() const { return read_bytes_; }

 private:
  struct Page {
    std::uint32_t block;
    std::uint32_t record;    ///< in records_
    std::uint32_t position;  ///< in the record
  };
  std::vector<Page>::const_iterator first_at(std::uint64_t block) const;

  std::uint64_t first_ = 0, last_ = 0;
  std::vector<Bytes> records_;
  std::vector<Page> pages_;  ///< by block
  std::uint64_t read_bytes_ = 0;
};

}  // namespace pgmint::repository

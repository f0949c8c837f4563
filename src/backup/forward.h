// Compaction: records that are still alive move out of packs that are mostly dead, sealed as they are.
#pragma once

#include <mutex>
#include <set>

#include "repository/pack_stream.h"
#include "repository/pack_use.h"
#include "repository/repository.h"

namespace pgmint::backup {

/// Packs of which less than half is in use, emptiest first until `budget` bytes would have to be moved; none while what would be
/// won is little beside what is alive: finding every reference means reading every map.
/// @param packs  what the parent refers to, with their sizes
std::set<repository::PackId> packs_to_empty(const repository::PackSet& packs,
                                            const repository::PackUse& use, std::uint64_t budget);

/// Thread-safe. Borrows all.
class Forward {
 public:
  /// @param into  used under this object's lock
  Forward(storage::BlobStore& store, const repository::RecordContext& context, const repository::ClusterKeys& keys,
          repository::PackStream& into, std::set<repository::PackId> packs)
      : store_(store), context_(context), into_(into), packs_(std::move(packs)), opener_(context, keys) {}

  bool active() const { return !packs_.empty(); }
  bool leaves(const repository::RecordLocation& record) const { return packs_.contains(record.pack); }
  const std::set<repository::PackId>& packs() const { return packs_; }

  /// Where the record stands from now on; the same place for the same record. What is not to move stays. It is opened on the way:
  /// a damaged record must not get into a pack whose sum is right. @errors NotFound, Corruption, Storage, Key, the stream's
  Result<repository::RecordLocation> move(const repository::RecordLocation& record);
  /// All that a map refers to. @return whether anything moved
  Result<bool> move(repository::SegmentMap& map);
  std::uint64_t moved_bytes() const { return moved_bytes_; }

 private:
  storage::BlobStore& store_;
  const repository::RecordContext context_;
  repository::PackStream& into_;
  const std::set<repository::PackId> packs_;
  std::mutex mutex_;
  repository::RecordOpener opener_;
  std::map<std::pair<repository::PackId, std::uint64_t>, repository::RecordLocation> moved_;
  std::uint64_t moved_bytes_ = 0;
};

}  // namespace pgmint::backup

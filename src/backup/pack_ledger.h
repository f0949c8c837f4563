// The account of what a backup refers to, kept while it is written: its parent's, less what it drops, and what it adds.
#pragma once

#include <set>

#include "backup/parent.h"
#include "base/guarded.h"
#include "repository/pack_use.h"

namespace pgmint::backup {

/// Thread-safe but for what takes the parent's files.
class PackLedger {
 public:
  /// Of a full: nothing is referred to yet.
  PackLedger() = default;
  explicit PackLedger(repository::PackUse parent);

  /// A map of this backup was stored.
  void stored(const repository::RecordLocation& where, const repository::SegmentMap& map);
  /// A map of the parent has no place in this backup.
  void dropped(const repository::RecordLocation& where, const repository::SegmentMap& map);

  /// After the last entry and node: bundles and nodes, and the parent's maps of files that nobody has looked at.
  /// @param read_map  of the parent; damage is passed over. @errors as it
  Result<repository::PackUse> settle(
      const ParentFiles* parent, const std::vector<repository::RecordLocation>& bundles,
      const std::vector<repository::RecordLocation>& maps, const std::vector<repository::RecordLocation>& nodes,
      const std::function<Result<repository::SegmentMap>(const repository::RecordLocation&)>& read_map);

 private:
  using Place = std::pair<repository::PackId, std::uint64_t>;
  static Place place_of(const repository::RecordLocation& record) { return {record.pack, record.offset}; }

  struct State {
    repository::PackUse use;
    std::set<Place> dropped;
  };
  Guarded<State> state_;
};

}  // namespace pgmint::backup

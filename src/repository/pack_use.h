// How much of each pack a backup refers to: what tells which packs it no longer needs, and which are worth emptying.
#pragma once

#include <map>
#include <vector>

#include "repository/segment_map.h"

namespace pgmint::repository {

/// Stored bytes of records by pack. A value, not thread-safe.
class PackUse {
 public:
  void add(const RecordLocation& record) { change(record, 1); }
  void remove(const RecordLocation& record) { change(record, -1); }
  /// The records that the map refers to, not the map's own.
  void add(const SegmentMap& map) { change(map, 1); }
  void remove(const SegmentMap& map) { change(map, -1); }
  void add(const PackUse& other);
  void set(const PackId& pack, std::uint64_t bytes);

  /// 0 for a pack that nothing refers to.
  std::uint64_t of(const PackId& pack) const;
  /// False: more was removed than there was, so that this is no account of anything.
  bool is_sound() const;
  /// Whether no pack has more in use by `other` than by this.
  bool covers(const PackUse& other) const;
  /// Packs with something in use.
  std::map<PackId, std::uint64_t> packs() const;
  bool operator==(const PackUse& other) const { return packs() == other.packs(); }

 private:
  void change(const RecordLocation& record, std::int64_t sign);
  void change(const SegmentMap& map, std::int64_t sign);

  std::map<PackId, std::int64_t> bytes_;
};

/// Records that may be referred to more than once, each to be counted once: 16 bytes a reference until they are settled.
class DistinctRecords {
 public:
  void add(const RecordLocation& record);
  PackUse settle() &&;

 private:
  struct Reference {
    std::uint32_t pack = 0;  ///< into packs_
    std::uint32_t stored_length = 0;
    std::uint64_t offset = 0;
    auto operator<=>(const Reference&) const = default;
  };
  std::map<PackId, std::uint32_t> index_;
  std::vector<PackId> packs_;
  std::vector<Reference> references_;
};

}  // namespace pgmint::repository

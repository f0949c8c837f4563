// Places of records as maps write them down: packs by their index in a table, offsets as small differences.
#pragma once

#include <map>
#include <vector>

#include "codec/binary.h"
#include "repository/record.h"

namespace pgmint::repository {

/// Packs by first use, and the end of the last record in each.
class PlaceTable {
 public:
  std::size_t index_of(const PackId& pack);
  const std::vector<PackId>& packs() const { return packs_; }
  std::uint64_t& end(std::size_t index) { return ends_[index]; }

  void encode(codec::BinaryWriter& out) const;
  /// @errors Corruption
  static Result<PlaceTable> parse(codec::BinaryReader& in);

 private:
  void add(const PackId& pack);

  std::map<PackId, std::size_t> index_;
  std::vector<PackId> packs_;
  std::vector<std::uint64_t> ends_;
};

/// pack index | offset difference | stored length
void encode_place(codec::BinaryWriter& out, PlaceTable& table, const RecordLocation& location);
/// Of a data record. @errors Corruption
Status parse_place(codec::BinaryReader& in, PlaceTable& table, RecordLocation& location);

/// codec | epoch | nonce
void encode_seal(codec::BinaryWriter& out, const RecordLocation& location);
/// Place and raw length are known. @errors Corruption
Status parse_seal(codec::BinaryReader& in, RecordLocation& location);

}  // namespace pgmint::repository

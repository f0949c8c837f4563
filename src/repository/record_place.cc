#include "repository/record_place.h"

namespace pgmint::repository {

std::size_t PlaceTable::index_of(const PackId& pack) {
  const auto [it, added] = index_.try_emplace(pack, packs_.size());
  if (added) add(pack);
  return it->second;
}

void PlaceTable::add(const PackId& pack) {
  packs_.push_back(pack);
  ends_.push_back(0);
}

void PlaceTable::encode(codec::BinaryWriter& out) const {
  out.varint(packs_.size());
  for (const auto& pack : packs_) {
    out.raw(pack.session.bytes);
    out.varint(pack.number);
  }
}

Result<PlaceTable> PlaceTable::parse(codec::BinaryReader& in) {
  PlaceTable table;
  const auto count = TRY(in.count(17));
  for (std::size_t i = 0; i < count; ++i) {
    PackId pack;
    pack.session.bytes = TRY(in.array<16>());
    const auto number = TRY(in.varint());
    if (number > UINT32_MAX) return in.corrupt("pack number out of range");
    pack.number = static_cast<std::uint32_t>(number);
    table.add(pack);
  }
  return table;
}

void encode_place(codec::BinaryWriter& out, PlaceTable& table, const RecordLocation& l) {
  const auto index = table.index_of(l.pack);
  out.varint(index);
  out.signed_varint(static_cast<std::int64_t>(l.offset) - static_cast<std::int64_t>(table.end(index)));
  out.varint(l.stored_length);
  table.end(index) = l.offset + l.stored_length;
}

void encode_seal(codec::BinaryWriter& out, const RecordLocation& l) {
  out.u8(static_cast<std::uint8_t>(l.codec));
  out.varint(l.epoch.value());
  out.raw(l.nonce);
}

Status parse_place(codec::BinaryReader& in, PlaceTable& table, RecordLocation& l) {
  const auto index = TRY(in.varint());
  if (index >= table.packs().size()) return in.corrupt("pack index out of range");
  l.pack = table.packs()[index];
  const auto step = TRY(in.signed_varint());
  const auto stored = TRY(in.varint());
  constexpr std::int64_t kFar = std::int64_t{1} << 40;
  if (step > kFar || step < -kFar || stored > kDataRecordMax + crypto::kSealOverhead || stored < crypto::kSealOverhead)
    return in.corrupt("record place out of range");
  const auto offset = static_cast<std::int64_t>(table.end(index)) + step;
  if (offset < 0 || offset > kFar) return in.corrupt("record place out of range");
  l.offset = static_cast<std::uint64_t>(offset);
  l.stored_length = static_cast<std::uint32_t>(stored);
  table.end(index) = l.offset + stored;
  return ok();
}

Status parse_seal(codec::BinaryReader& in, RecordLocation& l) {
  l.codec = static_cast<codec::CodecId>(TRY(in.u8()));
  const auto epoch = TRY(in.varint());
  if (epoch > UINT32_MAX) return in.corrupt("epoch out of range");
  l.epoch = Epoch(static_cast<std::uint32_t>(epoch));
  l.nonce = TRY(in.array<24>());
  if (l.stored_length > l.raw_length + crypto::kSealOverhead) return in.corrupt("impossible record length");
  return ok();
}

}  // namespace pgmint::repository

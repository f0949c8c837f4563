#include "repository/pack.h"

#include <fmt/format.h>

#include <cstring>

#include "codec/crc32c.h"
#include "repository/layout.h"
#include "repository/object_header.h"

namespace pgmint::repository {
namespace {

constexpr std::string_view kTrailerMagic = "PGMPACK\n";

std::uint32_t trailer_crc(ByteView length_field) {
  return codec::crc32c(as_bytes(kTrailerMagic), codec::crc32c(length_field));
}

Bytes pack_header(const RecordContext& context, PackId id, PackKind kind, Epoch epoch) {
  codec::BinaryWriter out;
  out.raw(encode_header({ObjectKind::Pack, epoch, context.repository, context.cluster, id.session}));
  out.u32(id.number);
  out.u8(static_cast<std::uint8_t>(kind));
  out.raw(ByteArray<3>{});
  PGMINT_ASSERT(out.size() == kPackHeaderSize);
  return out.take();
}

}  // namespace

PackWriter::PackWriter(RecordContext context, PackId id, PackKind kind, Epoch epoch, RecordSealer& sealer,
                       const crypto::Key256& maintenance_key, RandomSource& random, DirectBuffer recycled)
    : context_(context),
      id_(id),
      sealer_(sealer),
      maintenance_key_(maintenance_key),
      random_(random),
      data_(std::move(recycled)) {
  data_.clear();
  data_.reserve(kPackTarget + (2u << 20));  // one allocation: growing a vector of 32 MiB would copy it
  data_.append(pack_header(context_, id_, kind, epoch));
}

Result<RecordLocation> PackWriter::append(RecordType type, ByteView plain) {
  const std::size_t offset = data_.size();
  auto location = TRY(sealer_.seal(type, plain, data_));
  location.pack = id_;
  location.offset = offset;
  lines_.push_back({type, location.codec, location.epoch, location.raw_length, location.stored_length});
  return location;
}

RecordLocation PackWriter::append_sealed(const RecordLocation& from, ByteView stored) {
  PGMINT_ASSERT(stored.size() == from.stored_length);
  RecordLocation location = from;
  location.pack = id_;
  location.offset = data_.size();
  data_.append(stored);
  lines_.push_back({location.type, location.codec, location.epoch, location.raw_length, location.stored_length});
  return location;
}

Bytes encode_pack_footer(const std::vector<PackFooterLine>& lines) {
  codec::BinaryWriter footer;
  footer.varint(lines.size());
  for (const auto& line : lines) {
    footer.u8(static_cast<std::uint8_t>(line.type));
    footer.u8(static_cast<std::uint8_t>(line.codec));
    footer.varint(line.epoch.value());
    footer.varint(line.raw_length);
    footer.varint(line.stored_length);
  }
  return footer.take();
}

Result<std::vector<PackFooterLine>> parse_pack_footer(ByteView plain, std::uint64_t records_end) {
  codec::BinaryReader footer(plain, "pack footer");
  std::vector<PackFooterLine> lines(TRY(footer.count(5)));
  std::uint64_t at = kPackHeaderSize;
  for (auto& line : lines) {
    auto type = TRY(footer.u8());
    if (type < 1 || type > static_cast<std::uint8_t>(kRecordTypeLast)) return footer.corrupt("unknown record type");
    line.type = static_cast<RecordType>(type);
    line.codec = static_cast<codec::CodecId>(TRY(footer.u8()));
    const auto epoch = TRY(footer.varint());
    const auto raw = TRY(footer.varint());
    const auto stored = TRY(footer.varint());
    if (epoch > UINT32_MAX || raw > record_limit(line.type) || stored < crypto::kSealOverhead || stored > kPackMax)
      return footer.corrupt("impossible record");
    line.epoch = Epoch(static_cast<std::uint32_t>(epoch));
    line.raw_length = static_cast<std::uint32_t>(raw);
    line.stored_length = static_cast<std::uint32_t>(stored);
    at += stored;
  }
  TRY(footer.expect_end());
  if (at != records_end) return footer.corrupt("the records do not fill the pack exactly");
  return lines;
}

FinishedPack PackWriter::finish() && {
  crypto::Aead aead(maintenance_key_);
  const Bytes sealed = aead.seal_with_random_nonce(random_, ByteView(data_).first(kPackHeaderSize), encode_pack_footer(lines_));
  data_.append(sealed);
  codec::BinaryWriter trailer;
  trailer.u32(static_cast<std::uint32_t>(sealed.size()));
  trailer.u32(trailer_crc(trailer.view()));
  trailer.raw(as_bytes(kTrailerMagic));
  data_.append(trailer.view());
  return {id_, std::move(data_)};
}

namespace {

Error corrupt_pack(const PackId& id, std::string_view why) {
  return Error(Errc::Corruption, fmt::format("pack {}-{:08x}: {}", id.session.hex(), id.number, why),
               Hint{"pgmint verify --read-data names what is affected"});
}

}  // namespace

Result<std::uint64_t> pack_tail_size(ByteView last, std::uint64_t pack_size, const PackId& expected) {
  if (pack_size < kPackHeaderSize + crypto::kSealOverhead + kPackTrailerSize || last.size() < kPackTrailerSize)
    return corrupt_pack(expected, "it is too short");
  const ByteView trailer = last.last(kPackTrailerSize);
  codec::BinaryReader in(trailer, "pack trailer");
  const std::uint32_t footer_length = TRY(in.u32());
  const std::uint32_t crc = TRY(in.u32());
  if (as_text(trailer.last(8)) != kTrailerMagic || crc != trailer_crc(trailer.first(4)))
    return corrupt_pack(expected, "its trailer is damaged or cut off");
  if (footer_length > pack_size - kPackHeaderSize - kPackTrailerSize)
    return corrupt_pack(expected, "its footer overlaps the header");
  return std::uint64_t{footer_length} + kPackTrailerSize;
}

Result<std::vector<PackFooterLine>> parse_pack_ends(ByteView header, ByteView tail, std::uint64_t pack_size,
                                                    const RecordContext& context, const PackId& expected,
                                                    const crypto::Key256& maintenance_key) {
  PGMINT_ASSERT(header.size() == kPackHeaderSize && tail.size() >= kPackTrailerSize && tail.size() <= pack_size);
  const auto said = TRY(expect_header(header, ObjectKind::Pack, context.repository, context.cluster));
  codec::BinaryReader fixed(header.subspan(kHeaderSize, 8), "pack header");
  if (said.object != expected.session || TRY(fixed.u32()) != expected.number)
    return corrupt_pack(expected, "another pack stands under this name");
  crypto::Aead aead(maintenance_key);
  const auto plain = aead.open_with_nonce(header, tail.first(tail.size() - kPackTrailerSize));
  if (!plain) return corrupt_pack(expected, "its footer is not authentic");
  return TRY(parse_pack_footer(*plain, pack_size - tail.size())
                 .context(fmt::format("pack {}-{:08x}", expected.session.hex(), expected.number)));
}

Result<std::vector<PackFooterLine>> parse_pack(ByteView pack, const RecordContext& context, const PackId& expected,
                                               const crypto::Key256& maintenance_key) {
  const auto tail_size = TRY(pack_tail_size(pack, pack.size(), expected));
  return parse_pack_ends(pack.first(kPackHeaderSize), pack.last(tail_size), pack.size(), context, expected, maintenance_key);
}

Result<Bytes> read_record(storage::BlobStore& store, const RecordContext& context, RecordOpener& opener,
                          const RecordLocation& location) {
  Bytes stored(location.stored_length);
  TRY(store.read_range(pack_name(context.cluster, location.pack), location.offset, stored));
  Bytes plain(location.raw_length);
  TRY(opener.open(location, stored, plain)
          .context(fmt::format("record at {} of pack {}-{:08x}", location.offset, location.pack.session.hex(), location.pack.number)));
  return plain;
}

}  // namespace pgmint::repository

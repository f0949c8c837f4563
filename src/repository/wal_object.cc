#include "repository/wal_object.h"

#include <fmt/format.h>

#include <charconv>

#include "codec/binary.h"
#include "postgres/wal_name.h"
#include "repository/object_header.h"

namespace pgmint::repository {

namespace {

constexpr std::string_view kWhat = "WAL object";
constexpr std::size_t kRecordMiddle = 1 + 1 + 4 + 4;

void put_u32(std::byte* at, std::uint32_t value) {
  for (std::size_t i = 0; i < 4; ++i) at[i] = static_cast<std::byte>(value >> (8 * i));
}

}  // namespace

std::optional<WalContent> wal_content_of(std::string_view file_name) {
  if (!postgres::looks_like_wal_file_name(file_name)) return std::nullopt;
  if (file_name.ends_with(".history")) return WalContent::History;
  if (file_name.ends_with(".backup")) return WalContent::Backup;
  if (file_name.ends_with(".partial")) return WalContent::Partial;
  return WalContent::Segment;
}

ByteArray<kWalPrefixSize> encode_wal_prefix(const RecordContext& context, const WalPrefix& prefix) {
  const WalObjectInfo& info = prefix.info;
  codec::BinaryWriter out;
  out.raw(encode_header({ObjectKind::Wal, info.epoch, context.repository, context.cluster, {}}));
  out.u64(info.identity.system_id);
  out.u32(info.identity.incarnation.value());
  out.u32(info.timeline);
  out.u32(info.wal_segment_size);
  out.u8(static_cast<std::uint8_t>(info.content));
  out.raw(ByteArray<3>{});
  out.u64(info.raw_length);
  PGMINT_ASSERT(out.size() == kWalMacOffset);
  out.raw(info.mac);
  out.u32(prefix.index_length);
  out.u32(prefix.summary_length);
  ByteArray<kWalPrefixSize> bytes;
  PGMINT_ASSERT(out.size() == bytes.size());
  std::ranges::copy(out.view(), bytes.begin());
  return bytes;
}

Result<WalPrefix> parse_wal_prefix(ByteView object, const RecordContext& context, const WalIdentity& identity,
                                   std::string_view file_name) {
  const auto header = TRY(expect_header(object, ObjectKind::Wal, context.repository, context.cluster));
  codec::BinaryReader in(object, kWhat);
  TRY(in.raw(kHeaderSize));
  WalPrefix prefix;
  WalObjectInfo& info = prefix.info;
  info.epoch = header.epoch;
  info.identity.system_id = TRY(in.u64());
  info.identity.incarnation = Incarnation(TRY(in.u32()));
  info.timeline = TRY(in.u32());
  info.wal_segment_size = TRY(in.u32());
  const auto content = TRY(in.u8());
  const auto zeros = TRY(in.array<3>());
  info.raw_length = TRY(in.u64());
  info.mac = TRY(in.array<32>());
  prefix.index_length = TRY(in.u32());
  prefix.summary_length = TRY(in.u32());

  if (!header.object.is_zero() || zeros != ByteArray<3>{}) return in.corrupt("reserved bytes are not zero");
  if (content < 1 || content > 4) return in.corrupt(fmt::format("its content has the unknown kind {}", content));
  info.content = static_cast<WalContent>(content);
  if (wal_content_of(file_name) != info.content) return in.corrupt("its content does not fit its name");
  if (info.identity.system_id != identity.system_id || info.identity.incarnation != identity.incarnation) {
    return in.corrupt(fmt::format("it belongs to system identifier {}, incarnation {}", info.identity.system_id,
                                  info.identity.incarnation.value()));
  }
  std::uint32_t timeline = 0;
  const auto digits = file_name.substr(0, 8);
  std::from_chars(digits.data(), digits.data() + digits.size(), timeline, 16);
  if (info.timeline != timeline) return in.corrupt(fmt::format("it belongs to timeline {}", info.timeline));
  if (info.raw_length > kWalPlainMax) return in.corrupt("its length is beyond the limit");
  const bool of_segment = info.content == WalContent::Segment || info.content == WalContent::Partial;
  if (of_segment != (info.wal_segment_size != 0)) return in.corrupt("its segment size does not fit its kind");
  if (of_segment) {
    TRY(postgres::WalSegmentSize::of(info.wal_segment_size));
    if (info.content == WalContent::Segment && info.raw_length != info.wal_segment_size) {
      return in.corrupt("a segment that is not as long as its segment size");
    }
  }
  if (prefix.index_length < crypto::kSealOverhead || prefix.index_length > kWalIndexMax) {
    return in.corrupt("the length of its index is impossible");
  }
  if (prefix.summary_length > kWalSummaryMax ||
      (prefix.summary_length != 0 && prefix.summary_length < crypto::kSealOverhead)) {
    return in.corrupt("the length of its summary is impossible");
  }
  return prefix;
}

std::uint64_t WalIndex::stored_bytes() const {
  std::uint64_t sum = 0;
  for (const auto& line : records) sum += line.stored_length;
  return sum;
}

Bytes encode_wal_index(const WalIndex& index) {
  codec::BinaryWriter out;
  out.varint(index.record_size);
  out.varint(index.records.size());
  for (const auto& line : index.records) {
    out.u8(static_cast<std::uint8_t>(line.codec));
    out.varint(line.stored_length);
  }
  return out.take();
}

Result<WalIndex> parse_wal_index(ByteView plain, std::uint64_t raw_length) {
  codec::BinaryReader in(plain, "WAL object's index");
  WalIndex index;
  const auto record_size = TRY(in.varint());
  if (record_size < 1 || record_size > kDataRecordMax) return in.corrupt("its record size is impossible");
  index.record_size = static_cast<std::uint32_t>(record_size);
  const auto count = TRY(in.count(2));
  if (count != (raw_length + record_size - 1) / record_size) return in.corrupt("it has another number of records");
  index.records.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    const auto codec = TRY(in.u8());
    if (!codec::is_wal_codec(codec)) return in.corrupt("a record has an unknown codec");
    const auto stored = TRY(in.varint());
    const std::uint64_t raw = std::min<std::uint64_t>(record_size, raw_length - i * record_size);
    const std::uint64_t whole = raw + crypto::kSealOverhead;
    const bool as_it_is = codec == static_cast<std::uint8_t>(codec::CodecId::None);
    if (as_it_is ? stored != whole : (stored <= crypto::kSealOverhead || stored >= whole)) {
      return in.corrupt("a record's length is impossible");
    }
    index.records.push_back({static_cast<codec::CodecId>(codec), static_cast<std::uint32_t>(stored)});
  }
  TRY(in.expect_end());
  return index;
}

std::size_t wal_index_bound(std::size_t records) {
  return crypto::kSealOverhead + 2 * 10 + records * (1 + 5);
}

Bytes wal_part_aad(ByteView prefix, char part, std::string_view object_name) {
  Bytes aad = to_bytes(prefix.first(kWalPrefixSize));
  append(aad, as_bytes(std::string_view(&part, 1)));
  append(aad, as_bytes(object_name));
  return aad;
}

WalRecordAad::WalRecordAad(ByteView prefix, std::string_view object_name)
    : bytes_(to_bytes(prefix.first(kWalMacOffset))) {
  bytes_.resize(kWalMacOffset + kRecordMiddle);
  append(bytes_, as_bytes(object_name));
}

ByteView WalRecordAad::of(codec::CodecId codec, bool last, std::uint32_t raw_length, std::uint32_t index) {
  std::byte* middle = bytes_.data() + kWalMacOffset;
  middle[0] = static_cast<std::byte>(codec);
  middle[1] = last ? std::byte{1} : std::byte{0};
  put_u32(middle + 2, raw_length);
  put_u32(middle + 6, index);
  return bytes_;
}

}  // namespace pgmint::repository

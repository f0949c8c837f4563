#include "repository/stream_map.h"

#include "crypto/hash.h"
#include "repository/pack.h"
#include "repository/record_place.h"

namespace pgmint::repository {
namespace {

constexpr std::uint8_t kVersion = 1;
constexpr std::size_t kPartChunksMax = 4096;
constexpr unsigned kPartEndsOneIn = 512;
constexpr std::uint64_t kStreamMax = std::uint64_t{1} << 50;
/// The least that a chunk takes: number of bases, length, sum, anchor, place (3), codec, epoch, nonce.
constexpr std::size_t kChunkMin = 1 + 1 + 16 + 8 + 3 + 1 + 1 + 24;
/// Likewise a part: a location, lengths, GMAC.
constexpr std::size_t kPartMin = 16 + 4 + 3 + 24 + 2 + 16;

/// place | raw length | seal
void encode_record(codec::BinaryWriter& out, PlaceTable& table, const RecordLocation& l) {
  encode_place(out, table, l);
  out.varint(l.raw_length);
  encode_seal(out, l);
}

Result<RecordLocation> parse_record(codec::BinaryReader& in, PlaceTable& table, RecordType type) {
  RecordLocation l;
  l.type = type;
  TRY(parse_place(in, table, l));
  const auto raw = TRY(in.varint());
  if (raw == 0 || raw > kDataRecordMax) return in.corrupt("record length out of range");
  l.raw_length = static_cast<std::uint32_t>(raw);
  TRY(parse_seal(in, l));
  return l;
}

}  // namespace

Bytes encode_stream_part(const std::vector<StreamChunk>& chunks) {
  PlaceTable table;
  codec::BinaryWriter body;
  body.varint(chunks.size());
  for (const auto& chunk : chunks) {
    PGMINT_ASSERT(chunk.bases.size() <= kChunkBasesMax);
    body.u8(static_cast<std::uint8_t>(chunk.bases.size()));
    body.varint(chunk.length);
    body.raw(chunk.sum);
    body.u64(chunk.anchor);
    if (chunk.bases.empty()) {
      PGMINT_ASSERT(chunk.record.raw_length == chunk.length);
      encode_place(body, table, chunk.record);
      encode_seal(body, chunk.record);
      continue;
    }
    encode_record(body, table, chunk.record);
    for (const auto& base : chunk.bases) encode_record(body, table, base);
  }
  codec::BinaryWriter out;
  out.u8(kVersion);
  table.encode(out);
  out.raw(body.view());
  return out.take();
}

Result<std::vector<StreamChunk>> parse_stream_part(ByteView data) {
  codec::BinaryReader in(data, "part of a stream");
  if (TRY(in.u8()) != kVersion) return in.corrupt("unknown version");
  auto table = TRY(PlaceTable::parse(in));
  std::vector<StreamChunk> chunks(TRY(in.count(kChunkMin)));
  if (chunks.empty() || chunks.size() > kPartChunksMax) return in.corrupt("chunk count out of range");
  for (auto& chunk : chunks) {
    const auto bases = TRY(in.u8());
    if (bases > kChunkBasesMax) return in.corrupt("too many bases");
    const auto length = TRY(in.varint());
    if (length == 0 || length > kDataRecordMax) return in.corrupt("chunk length out of range");
    chunk.length = static_cast<std::uint32_t>(length);
    chunk.sum = TRY(in.array<16>());
    chunk.anchor = TRY(in.u64());
    if (bases != 0) {
      chunk.record = TRY(parse_record(in, table, RecordType::StreamDelta));
      chunk.bases.resize(bases);
      for (auto& base : chunk.bases) base = TRY(parse_record(in, table, RecordType::StreamChunk));
      continue;
    }
    chunk.record.type = RecordType::StreamChunk;
    chunk.record.raw_length = chunk.length;
    TRY(parse_place(in, table, chunk.record));
    TRY(parse_seal(in, chunk.record));
  }
  TRY(in.expect_end());
  return chunks;
}

Bytes encode_stream_index(const StreamIndex& index) {
  codec::BinaryWriter out;
  out.u8(kVersion);
  out.varint(index.length);
  out.varint(index.chunk_count);
  out.varint(index.parts.size());
  for (const auto& part : index.parts) {
    encode_location(out, part.location);
    out.varint(part.length);
    out.varint(part.chunk_count);
    out.raw(part.fingerprint);
  }
  return out.take();
}

Result<StreamIndex> parse_stream_index(ByteView data) {
  codec::BinaryReader in(data, "index of a stream");
  if (TRY(in.u8()) != kVersion) return in.corrupt("unknown version");
  StreamIndex index;
  index.length = TRY(in.varint());
  index.chunk_count = TRY(in.varint());
  if (index.length > kStreamMax || index.chunk_count > index.length) return in.corrupt("lengths out of range");
  index.parts.resize(TRY(in.count(kPartMin)));
  std::uint64_t length = 0, chunks = 0;
  for (auto& part : index.parts) {
    part.location = TRY(parse_location(in));
    part.length = TRY(in.varint());
    part.chunk_count = TRY(in.varint());
    part.fingerprint = TRY(in.array<16>());
    if (part.location.type != RecordType::StreamPart) return in.corrupt("a part is no part");
    if (part.chunk_count == 0 || part.chunk_count > kPartChunksMax || part.length < part.chunk_count ||
        part.length > part.chunk_count * kDataRecordMax)
      return in.corrupt("lengths of a part out of range");
    length += part.length;
    chunks += part.chunk_count;
  }
  TRY(in.expect_end());
  if (length != index.length || chunks != index.chunk_count) return in.corrupt("its parts do not add up");
  return index;
}

bool ends_stream_part(const ChunkSum& sum, std::size_t chunks_in_part) {
  const unsigned low = std::to_integer<unsigned>(sum[0]) | std::to_integer<unsigned>(sum[1]) << 8;
  return low % kPartEndsOneIn == 0 || chunks_in_part >= kPartChunksMax;
}

ChunkSummer::ChunkSummer(const crypto::Key256& mac_key) : key_(crypto::derive_key(mac_key, "pgmint stream chunk v1")) {}

ChunkSum ChunkSummer::sum(ByteView chunk) const {
  const auto whole = crypto::hmac_sha256(key_, chunk);
  ChunkSum sum;
  std::memcpy(sum.data(), whole.data(), sum.size());
  return sum;
}

Result<StreamIndex> read_stream_index(storage::BlobStore& store, const RecordContext& context, RecordOpener& opener, const RecordLocation& location) {
  return parse_stream_index(TRY(read_record(store, context, opener, location)));
}

Status walk_stream(storage::BlobStore& store, const RecordContext& context, RecordOpener& opener, const StreamIndex& index,
                   const std::function<Status(const StreamPart&)>& visit_part, const std::function<Status(const StreamChunk&)>& visit) {
  for (const auto& part : index.parts) {
    TRY(visit_part(part));
    const auto chunks = TRY(parse_stream_part(TRY(read_record(store, context, opener, part.location))));
    std::uint64_t length = 0;
    for (const auto& chunk : chunks) length += chunk.length;
    if (chunks.size() != part.chunk_count || length != part.length)
      return Error(Errc::Corruption, "a part of the stream has another length than its index says");
    for (const auto& chunk : chunks) TRY(visit(chunk));
  }
  return ok();
}

Status note_stream(storage::BlobStore& store, const RecordContext& context, RecordOpener& opener, const StreamIndex& index, DistinctRecords& records) {
  return walk_stream(
      store, context, opener, index,
      [&](const StreamPart& part) -> Status {
        records.add(part.location);
        return ok();
      },
      [&](const StreamChunk& chunk) -> Status {
        records.add(chunk.record);
        for (const auto& base : chunk.bases) records.add(base);
        return ok();
      });
}

}  // namespace pgmint::repository

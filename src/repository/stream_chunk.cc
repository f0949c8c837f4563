#include "repository/stream_chunk.h"

#include <algorithm>
#include <array>

#include "crypto/hash.h"
#include "repository/pack.h"

namespace pgmint::repository {
namespace {

using Gear = std::array<std::uint64_t, 256>;

constexpr std::size_t kBasesRemembered = 4;  ///< more than a chunk may have
constexpr std::size_t kWindow = 64;  ///< bytes that the rolling hash depends on: older ones have been shifted out
constexpr std::uint64_t kRareMask = ~std::uint64_t{0} << 44;   ///< one byte in 1 Mi, while a chunk is short
constexpr std::uint64_t kUsualMask = ~std::uint64_t{0} << 48;  ///< one in 64 Ki

Gear make_gear() {
  Gear gear;
  for (unsigned i = 0; i < 256; ++i) {
    Bytes seed = to_bytes(as_bytes("pgmint gear v1"));
    seed.push_back(static_cast<std::byte>(i));
    const auto digest = crypto::sha256(seed);
    gear[i] = 0;
    for (unsigned b = 0; b < 8; ++b) gear[i] |= std::to_integer<std::uint64_t>(digest[b]) << (8 * b);
  }
  return gear;
}

const Gear& gear() {
  static const auto table = make_gear();
  return table;
}

std::uint64_t step(const Gear& table, std::uint64_t hash, std::byte byte) { return (hash << 1) + table[std::to_integer<std::uint8_t>(byte)]; }

}  // namespace

bool ChunkCutter::take(ByteView& data) {
  const auto& table = gear();  // looked up once: the loops below see every byte
  std::size_t at = 0;
  // Too short to end: of these bytes only the last matter to the hash.
  if (length_ < kChunkMin) {
    const std::size_t end = std::min(data.size(), kChunkMin - length_);
    for (at = end > kWindow ? end - kWindow : 0; at < end; ++at) hash_ = step(table, hash_, data[at]);
    length_ += end;
  }
  bool ends = false;
  while (!ends && at < data.size()) {
    const std::size_t phase_end = length_ < kChunkUsual ? kChunkUsual : kChunkMax;
    const std::uint64_t mask = length_ < kChunkUsual ? kRareMask : kUsualMask;
    const std::size_t end = std::min(data.size(), at + (phase_end - length_));
    const std::size_t start = at;
    std::uint64_t hash = hash_;
    while (at < end && !ends) {
      hash = step(table, hash, data[at++]);
      ends = (hash & mask) == 0;
    }
    hash_ = hash;
    length_ += at - start;
    ends = ends || length_ == kChunkMax;
  }
  data = data.subspan(at);
  if (ends) length_ = 0;
  return ends;
}

StreamChunkReader::StreamChunkReader(storage::BlobStore& store, RecordContext context, const ClusterKeys& keys)
    : store_(store), context_(context), opener_(context, keys), summer_(keys.mac_key) {}

Result<ByteView> StreamChunkReader::read_bases(const std::vector<RecordLocation>& bases) {
  prefix_.clear();
  for (const auto& base : bases) {
    auto found = std::ranges::find(bases_, base, &Remembered::location);
    if (found == bases_.end()) {
      if (bases_.size() == kBasesRemembered) bases_.pop_front();
      bases_.push_back({base, TRY(read_record(store_, context_, opener_, base))});
    } else if (found + 1 != bases_.end()) {
      std::rotate(found, found + 1, bases_.end());
    }
    append(prefix_, bases_.back().bytes);
  }
  return ByteView(prefix_);
}

Result<ByteView> StreamChunkReader::read(const StreamChunk& chunk) {
  if (chunk.bases.empty()) {
    chunk_ = TRY(read_record(store_, context_, opener_, chunk.record));
  } else {
    const auto prefix = TRY(read_bases(chunk.bases));
    const auto frame = TRY(read_record(store_, context_, opener_, chunk.record));
    chunk_.resize(chunk.length);
    TRY(decompressor_.decompress_against(prefix, frame, chunk_));
  }
  if (summer_.sum(chunk_) != chunk.sum) return Error(Errc::Corruption, "a chunk of the stream is not what its sum says");
  return ByteView(chunk_);
}

}  // namespace pgmint::repository

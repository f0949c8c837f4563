#include "repository/record.h"

#include <fmt/format.h>

#include <cstring>

#include "crypto/hash.h"
#include "repository/object_header.h"

namespace pgmint::repository {
namespace {

constexpr std::string_view kRecordDomain = "PGMINT-RECORD-01";
constexpr std::size_t kAadSize = 64;

ByteArray<kAadSize> record_aad(const RecordContext& context, RecordType type, codec::CodecId codec, Epoch epoch,
                               std::uint32_t raw_length) {
  ByteArray<kAadSize> aad{};
  auto put = [&, at = std::size_t{0}](ByteView part) mutable {
    std::memcpy(aad.data() + at, part.data(), part.size());
    at += part.size();
  };
  put(as_bytes(kRecordDomain));
  const ByteArray<4> kinds{std::byte{kSuite1}, static_cast<std::byte>(type), static_cast<std::byte>(codec), std::byte{0}};
  put(kinds);
  ByteArray<12> numbers{};
  for (std::size_t i = 0; i < 4; ++i) numbers[i] = static_cast<std::byte>(epoch.value() >> (8 * i));
  for (std::size_t i = 0; i < 4; ++i) numbers[4 + i] = static_cast<std::byte>(raw_length >> (8 * i));
  put(numbers);
  put(context.repository.bytes);
  put(context.cluster.bytes);
  return aad;
}

Result<const crypto::Key256*> key_for(const ClusterKeys& keys, RecordType type, Epoch epoch) {
  if (!is_map_type(type)) return keys.data_key(epoch);
  if (keys.map_key.is_zero())
    return Error(Errc::Key, "this key slot may not read backup contents",
                 Hint{"use a slot with the role root or host; `pgmint key list` shows the roles"});
  return &keys.map_key;
}

/// AEADs by key, made when first needed. Index 0 is the map key's, since data epochs start at 1.
class AeadCache {
 public:
  explicit AeadCache(const ClusterKeys& keys) : keys_(keys) {}
  Result<crypto::Aead*> get(RecordType type, Epoch epoch) {
    const Epoch index = is_map_type(type) ? Epoch(0) : epoch;
    auto it = cache_.find(index);
    if (it == cache_.end()) it = cache_.emplace(index, crypto::Aead(*TRY(key_for(keys_, type, epoch)))).first;
    return &it->second;
  }

 private:
  const ClusterKeys& keys_;
  std::map<Epoch, crypto::Aead> cache_;
};

/// The fingerprint key follows from the MAC key; a role without it cannot compare contents.
crypto::Gmac make_fingerprinter(const ClusterKeys& keys) {
  return crypto::Gmac(crypto::derive_key(keys.mac_key, "pgmint content gmac v1"));
}

}  // namespace

bool is_map_type(RecordType type) {
  return type == RecordType::SegmentMap || type == RecordType::ManifestNode || type == RecordType::StreamPart || type == RecordType::StreamIndex;
}

std::size_t record_limit(RecordType type) { return is_map_type(type) ? kMapRecordMax : kDataRecordMax; }

void encode_location(codec::BinaryWriter& out, const RecordLocation& l) {
  out.raw(l.pack.session.bytes);
  out.varint(l.pack.number);
  out.varint(l.offset);
  out.varint(l.stored_length);
  out.varint(l.raw_length);
  out.u8(static_cast<std::uint8_t>(l.type));
  out.u8(static_cast<std::uint8_t>(l.codec));
  out.varint(l.epoch.value());
  out.raw(l.nonce);
}

Result<RecordLocation> parse_location(codec::BinaryReader& in) {
  RecordLocation l;
  l.pack.session.bytes = TRY(in.array<16>());
  auto number = TRY(in.varint());
  l.offset = TRY(in.varint());
  auto stored = TRY(in.varint());
  auto raw = TRY(in.varint());
  auto type = TRY(in.u8());
  if (type < 1 || type > static_cast<std::uint8_t>(kRecordTypeLast)) return in.corrupt("unknown record type");
  l.type = static_cast<RecordType>(type);
  l.codec = static_cast<codec::CodecId>(TRY(in.u8()));
  auto epoch = TRY(in.varint());
  l.nonce = TRY(in.array<24>());
  if (number > UINT32_MAX || epoch > UINT32_MAX || l.offset > (std::uint64_t{1} << 40)) return in.corrupt("location out of range");
  const auto limit = record_limit(l.type);
  if (raw > limit || stored < crypto::kSealOverhead || stored > raw + crypto::kSealOverhead) return in.corrupt("impossible record length");
  l.pack.number = static_cast<std::uint32_t>(number);
  l.stored_length = static_cast<std::uint32_t>(stored);
  l.raw_length = static_cast<std::uint32_t>(raw);
  l.epoch = Epoch(static_cast<std::uint32_t>(epoch));
  return l;
}

struct RecordSealer::State {
  RecordContext context;
  const ClusterKeys& keys;
  codec::Compressor compressor;
  RandomSource& random;
  AeadCache aeads;
  std::optional<crypto::Gmac> gmac;
  Bytes scratch;
};

RecordSealer::RecordSealer(RecordContext context, const ClusterKeys& keys, codec::CodecChoice codec, RandomSource& random)
    : state_(new State{context, keys, codec::Compressor(codec), random, AeadCache(keys), std::nullopt, {}}) {}
RecordSealer::RecordSealer(RecordSealer&&) noexcept = default;
RecordSealer::~RecordSealer() = default;

Result<RecordLocation> RecordSealer::seal(RecordType type, ByteView plain, DirectBuffer& out) {
  if (plain.size() > record_limit(type))
    return Error(Errc::ResourceLimit, fmt::format("a record of {} bytes is longer than its type allows", plain.size()));
  RecordLocation l;
  l.type = type;
  l.epoch = is_map_type(type) ? Epoch(0) : state_->keys.newest_epoch();
  l.raw_length = static_cast<std::uint32_t>(plain.size());
  auto* aead = TRY(state_->aeads.get(type, l.epoch));

  // Compressed in memory that stays in the core's cache, and sealed from there to where it is kept: no copy.
  auto& scratch = state_->scratch;
  if (const auto room = codec::Compressor::bound(plain.size()); scratch.size() < room) scratch.resize(room);
  const bool is_compressed = type == RecordType::StreamDelta;
  const auto packed = is_compressed ? codec::Compressor::Output{codec::CodecId::None, 0} : state_->compressor.compress(plain, scratch);
  l.codec = packed.codec;
  const ByteView body = packed.codec == codec::CodecId::None ? plain : ByteView(scratch).first(packed.size);
  l.stored_length = static_cast<std::uint32_t>(body.size() + crypto::kSealOverhead);
  state_->random.fill(l.nonce);
  const auto place = out.extend(l.stored_length);
  std::memcpy(place.data(), l.nonce.data(), l.nonce.size());
  aead->seal(l.nonce, record_aad(state_->context, type, l.codec, l.epoch, l.raw_length), body, place.subspan(crypto::kNonceSize));
  return l;
}

ByteArray<16> RecordSealer::fingerprint(const crypto::Nonce& nonce, ByteView plain) {
  if (!state_->gmac) state_->gmac = make_fingerprinter(state_->keys);
  return state_->gmac->compute(nonce, plain);
}

struct RecordOpener::State {
  RecordContext context;
  const ClusterKeys& keys;
  AeadCache aeads;
  codec::Decompressor decompressor;
  std::optional<crypto::Gmac> gmac;
};

RecordOpener::RecordOpener(RecordContext context, const ClusterKeys& keys)
    : state_(new State{context, keys, AeadCache(keys), codec::Decompressor(), std::nullopt}) {}
RecordOpener::RecordOpener(RecordOpener&&) noexcept = default;
RecordOpener::~RecordOpener() = default;

namespace {

/// @returns where the ciphertext stands in `stored`, with its tag
Result<MutableByteView> sealed_part(const RecordLocation& l, MutableByteView stored) {
  PGMINT_ASSERT(stored.size() == l.stored_length);
  if (stored.size() < crypto::kSealOverhead) return Error(Errc::Corruption, "record is too short");
  if (std::memcmp(stored.data(), l.nonce.data(), l.nonce.size()) != 0)
    return Error(Errc::Corruption, "another record stands in this place");
  const auto sealed = stored.subspan(crypto::kNonceSize);
  if (l.codec == codec::CodecId::None && sealed.size() - crypto::kTagSize != l.raw_length)
    return Error(Errc::Corruption, "stored record has another length than its location");
  return sealed;
}

}  // namespace

Status RecordOpener::open(const RecordLocation& l, MutableByteView stored, MutableByteView out) {
  PGMINT_ASSERT(out.size() == l.raw_length);
  const auto sealed = TRY(sealed_part(l, stored));
  auto* aead = TRY(state_->aeads.get(l.type, l.epoch));
  const auto plain = sealed.first(sealed.size() - crypto::kTagSize);
  const auto aad = record_aad(state_->context, l.type, l.codec, l.epoch, l.raw_length);
  if (l.codec == codec::CodecId::None) return aead->open(l.nonce, aad, sealed, out);
  TRY(aead->open(l.nonce, aad, sealed, plain));
  return state_->decompressor.decompress(l.codec, plain, out);
}

Status RecordOpener::unseal(const RecordLocation& l, MutableByteView stored) {
  const auto sealed = TRY(sealed_part(l, stored));
  if (l.codec > codec::kPackCodecIdLast) return Error(Errc::Corruption, "record has an unknown codec");
  auto* aead = TRY(state_->aeads.get(l.type, l.epoch));
  return aead->open(l.nonce, record_aad(state_->context, l.type, l.codec, l.epoch, l.raw_length), sealed,
                    sealed.first(sealed.size() - crypto::kTagSize));
}

ByteArray<16> RecordOpener::fingerprint(const crypto::Nonce& nonce, ByteView plain) {
  if (!state_->gmac) state_->gmac = make_fingerprinter(state_->keys);
  return state_->gmac->compute(nonce, plain);
}

crypto::Nonce bundle_member_nonce(const crypto::Nonce& bundle, std::uint64_t offset) {
  crypto::Nonce nonce = bundle;
  std::uint64_t tail = 0;
  for (std::size_t i = 0; i < 8; ++i) tail |= std::to_integer<std::uint64_t>(nonce[16 + i]) << (8 * i);
  tail += offset;
  for (std::size_t i = 0; i < 8; ++i) nonce[16 + i] = static_cast<std::byte>(tail >> (8 * i));
  return nonce;
}

}  // namespace pgmint::repository

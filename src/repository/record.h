// One sealed piece of a pack: types, additional data, locations. Format: docs/format/pack.md, "Records".
#pragma once

#include <map>
#include <memory>

#include "base/direct_io.h"
#include "codec/binary.h"
#include "codec/compression.h"
#include "crypto/aead.h"
#include "repository/ids.h"
#include "repository/key_material.h"

namespace pgmint::repository {

enum class RecordType : std::uint8_t {
  Extent = 1,
  Delta = 2,
  Bundle = 3,
  SegmentMap = 4,
  ManifestNode = 5,
  StreamChunk = 6,
  StreamDelta = 7,
  StreamPart = 8,
  StreamIndex = 9
};
inline constexpr RecordType kRecordTypeLast = RecordType::StreamIndex;
/// What says where data is, and is sealed with the map key; everything else is data.
bool is_map_type(RecordType type);
inline constexpr std::size_t kDataRecordMax = 1 << 20;   ///< raw bytes of data
inline constexpr std::size_t kMapRecordMax = 16 << 20;   ///< raw bytes of maps
std::size_t record_limit(RecordType type);

/// Where a record is and which one is meant.
struct RecordLocation {
  PackId pack;
  std::uint64_t offset = 0;
  std::uint32_t stored_length = 0;  ///< nonce, ciphertext and tag
  std::uint32_t raw_length = 0;
  RecordType type = RecordType::Extent;
  codec::CodecId codec = codec::CodecId::None;
  Epoch epoch{};
  crypto::Nonce nonce{};
  bool operator==(const RecordLocation&) const = default;
};
void encode_location(codec::BinaryWriter& out, const RecordLocation& location);
/// Checks limits and that lengths are possible. @errors Corruption
Result<RecordLocation> parse_location(codec::BinaryReader& in);

/// What additional data binds beside the record's own description.
struct RecordContext {
  RepositoryId repository;
  ClusterId cluster;
};

/// Compresses and seals records. Not thread-safe: one per worker.
class RecordSealer {
 public:
  /// Borrows `keys` and `random`, which outlive it. Data records use the newest epoch.
  RecordSealer(RecordContext context, const ClusterKeys& keys, codec::CodecChoice codec, RandomSource& random);
  RecordSealer(RecordSealer&&) noexcept;
  ~RecordSealer();

  /// Appends the record to `out` and describes it (pack and offset stay for the caller to fill).
  /// @errors Key (role without that key), ResourceLimit (longer than the type allows)
  Result<RecordLocation> seal(RecordType type, ByteView plain, DirectBuffer& out);
  /// GMAC of a record's plaintext under its nonce (manifest.md).
  ByteArray<16> fingerprint(const crypto::Nonce& nonce, ByteView plain);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Opens and decompresses records. Not thread-safe: one per worker.
class RecordOpener {
 public:
  RecordOpener(RecordContext context, const ClusterKeys& keys);
  RecordOpener(RecordOpener&&) noexcept;
  ~RecordOpener();

  /// `stored` is the whole record of location.stored_length bytes; it is used as scratch and left undefined. `out` takes
  /// exactly location.raw_length bytes. @errors Corruption (not authentic, another nonce, malformed), Key (no key for it)
  Status open(const RecordLocation& location, MutableByteView stored, MutableByteView out);
  /// Opens `stored` in place and leaves it compressed, so that open() can fail on it only by what was compressed.
  /// @errors as open
  Status unseal(const RecordLocation& location, MutableByteView stored);
  ByteArray<16> fingerprint(const crypto::Nonce& nonce, ByteView plain);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// The fingerprint nonce of a file inside a bundle: the bundle's with `offset` added to its last eight bytes.
crypto::Nonce bundle_member_nonce(const crypto::Nonce& bundle, std::uint64_t offset);

}  // namespace pgmint::repository

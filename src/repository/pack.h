// Packs: many records in one immutable object. Format: docs/format/pack.md. Writer and reader side by side.
#pragma once

#include <functional>
#include <vector>

#include "base/direct_io.h"
#include "crypto/hash.h"
#include "repository/record.h"
#include "storage/blob_store.h"

namespace pgmint::repository {

enum class PackKind : std::uint8_t { Base = 1, Delta = 2, Map = 3, Stream = 4 };
inline constexpr std::size_t kPackTarget = 32 << 20;
inline constexpr std::uint64_t kPackMax = 512ull << 20;

/// Where the first record of a pack starts.
inline constexpr std::size_t kPackHeaderSize = 72;
inline constexpr std::size_t kPackTrailerSize = 16;

struct PackFooterLine {
  RecordType type{};
  codec::CodecId codec{};
  Epoch epoch{};
  std::uint32_t raw_length = 0;
  std::uint32_t stored_length = 0;
};

/// What the log says about a pack.
struct PackSummary {
  PackId id;
  std::uint64_t size = 0;
  crypto::Digest sha256{};
  bool operator==(const PackSummary&) const = default;
};

/// A pack that is complete and waits for its put, in memory that a store can write past the page cache.
struct FinishedPack {
  PackId id;
  DirectBuffer data;
};

/// Collects sealed records in memory and closes them into a pack. Does not touch the store.
///
/// Not thread-safe: one per worker. Destroying an unfinished writer discards the pack.
class PackWriter {
 public:
  /// Borrows `sealer`; `maintenance_key` seals the footer. `recycled`: memory of a pack that was put, to be used again.
  PackWriter(RecordContext context, PackId id, PackKind kind, Epoch epoch, RecordSealer& sealer,
             const crypto::Key256& maintenance_key, RandomSource& random, DirectBuffer recycled = {});

  /// Seals `plain` as the next record. @errors Key, ResourceLimit
  Result<RecordLocation> append(RecordType type, ByteView plain);
  /// Copies a sealed record as it is (compaction); returns where it stands now.
  RecordLocation append_sealed(const RecordLocation& from, ByteView stored);

  std::size_t size() const { return data_.size(); }
  bool empty() const { return lines_.empty(); }
  const PackId& id() const { return id_; }
  FinishedPack finish() &&;

 private:
  RecordContext context_;
  PackId id_;
  RecordSealer& sealer_;
  const crypto::Key256& maintenance_key_;
  RandomSource& random_;
  DirectBuffer data_;
  std::vector<PackFooterLine> lines_;
};

/// The opened footer. `records_end`: where the pack's records end, counted from its first byte. @errors Corruption
Bytes encode_pack_footer(const std::vector<PackFooterLine>& lines);
Result<std::vector<PackFooterLine>> parse_pack_footer(ByteView plain, std::uint64_t records_end);

/// Parses a whole pack's frame: header, trailer, footer; checks that the footer's records tile it exactly.
/// Needs only the maintenance key. @errors Corruption
Result<std::vector<PackFooterLine>> parse_pack(ByteView pack, const RecordContext& context, const PackId& expected,
                                               const crypto::Key256& maintenance_key);

/// How many bytes footer and trailer take. @param last  the pack's last bytes, at least kPackTrailerSize. @errors Corruption
Result<std::uint64_t> pack_tail_size(ByteView last, std::uint64_t pack_size, const PackId& expected);
/// parse_pack() for a reader that has only the two ends in memory: `header` of kPackHeaderSize, `tail` of pack_tail_size().
Result<std::vector<PackFooterLine>> parse_pack_ends(ByteView header, ByteView tail, std::uint64_t pack_size,
                                                    const RecordContext& context, const PackId& expected,
                                                    const crypto::Key256& maintenance_key);

/// Errors that mean "this object is bad", and become findings; all others end a verification.
inline bool is_damage(const Error& error) {
  return error.code() == Errc::Corruption || error.code() == Errc::NotFound || error.code() == Errc::ResourceLimit;
}

/// Reads and opens one record by location. @errors NotFound (the pack is missing), Corruption, Storage, Key
Result<Bytes> read_record(storage::BlobStore& store, const RecordContext& context, RecordOpener& opener,
                          const RecordLocation& location);

}  // namespace pgmint::repository

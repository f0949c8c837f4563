// The bytes of a WAL object: prefix, index, additional data. Format: docs/format/wal.md. Private to wal_archive.cc and tests.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "codec/compression.h"
#include "crypto/aead.h"
#include "repository/record.h"
#include "repository/wal_archive.h"

namespace pgmint::repository {

inline constexpr std::size_t kWalPrefixSize = 136;      ///< common header and fixed part
inline constexpr std::size_t kWalMacOffset = 96;        ///< what comes before it is under the MAC, and in the records' AAD
inline constexpr std::uint32_t kWalRecordSize = 256 << 10;
inline constexpr std::uint64_t kWalPlainMax = std::uint64_t{1} << 30;
inline constexpr std::uint64_t kWalObjectMax = kWalPlainMax + (std::uint64_t{64} << 20);
inline constexpr std::uint32_t kWalIndexMax = 1 << 20;
inline constexpr std::uint32_t kWalSummaryMax = 32 << 20;

struct WalPrefix {
  WalObjectInfo info;
  std::uint32_t index_length = 0;    ///< sealed
  std::uint32_t summary_length = 0;  ///< sealed; 0: none
};
ByteArray<kWalPrefixSize> encode_wal_prefix(const RecordContext& context, const WalPrefix& prefix);
/// Checks everything that can be checked without keys: that it is this repository's, cluster's and identity's object, and
/// that its fields fit `file_name`. @errors Corruption, Precondition (newer format)
Result<WalPrefix> parse_wal_prefix(ByteView object, const RecordContext& context, const WalIdentity& identity,
                                   std::string_view file_name);

struct WalIndexLine {
  codec::CodecId codec = codec::CodecId::None;
  std::uint32_t stored_length = 0;  ///< nonce, ciphertext and tag
};
struct WalIndex {
  std::uint32_t record_size = kWalRecordSize;
  std::vector<WalIndexLine> records;
  std::uint64_t stored_bytes() const;
};
Bytes encode_wal_index(const WalIndex& index);
/// @errors Corruption: not exactly the records that `raw_length` bytes need
Result<WalIndex> parse_wal_index(ByteView plain, std::uint64_t raw_length);

/// Most bytes that the sealed index of `records` records can take.
std::size_t wal_index_bound(std::size_t records);

/// AAD of index ("I") and summary ("S").
Bytes wal_part_aad(ByteView prefix, char part, std::string_view object_name);

/// AAD of the records of one object; only the middle changes from record to record.
class WalRecordAad {
 public:
  WalRecordAad(ByteView prefix, std::string_view object_name);
  /// Borrowed until the next call.
  ByteView of(codec::CodecId codec, bool last, std::uint32_t raw_length, std::uint32_t index);

 private:
  Bytes bytes_;
};

}  // namespace pgmint::repository

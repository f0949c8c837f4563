// The formats inside a WAL segment: page headers, record headers, block references.
// Source: src/include/access/xlog_internal.h, xlogrecord.h, 13 to 18; what differs is in version_table.h.
#pragma once

#include <vector>

#include "base/bytes.h"
#include "postgres/load.h"
#include "postgres/relation.h"
#include "postgres/version_table.h"
#include "postgres/wal_name.h"

namespace pgmint::postgres {

inline constexpr std::size_t kWalShortHeaderSize = 24;
inline constexpr std::size_t kWalLongHeaderSize = 40;
inline constexpr std::size_t kRecordHeaderSize = 24;
inline constexpr std::uint32_t kRecordLengthMax = 1020U << 20;  ///< XLogRecordMaxSize
/// Block headers and lengths that may follow the record header: 33 blocks of at most 31 bytes, origin, top-level xid,
/// data.
inline constexpr std::size_t kRecordHeadersMax = 2048;

struct WalPageHeader {
  std::uint16_t magic = 0;
  bool first_is_continuation = false;  ///< XLP_FIRST_IS_CONTRECORD
  bool long_header = false;
  bool overwrites_continuation = false;  ///< XLP_FIRST_IS_OVERWRITE_CONTRECORD
  TimelineId timeline;
  Lsn address;
  std::uint32_t remaining = 0;  ///< bytes of the continued record from here on
};
/// @errors Corruption: too short, unknown magic or flags
Result<WalPageHeader> parse_wal_page_header(ByteView page);

/// The first page of every segment says whose it is.
struct WalSegmentHeader {
  const VersionEntry* version = nullptr;
  SystemIdentifier system_identifier;
  TimelineId timeline;  ///< of the first page; at most the timeline in the segment's name
  Lsn address;          ///< where the segment starts
  WalSegmentSize segment_size = WalSegmentSize::default_size();
  std::uint32_t block_size = 0;  ///< of WAL pages, bytes
};
/// @param bytes  at least kWalLongHeaderSize bytes from the start of a segment
/// @errors Corruption: not the start of a WAL segment; Precondition: WAL of a version that pgmint does not know
Result<WalSegmentHeader> wal_segment_header(ByteView bytes);
/// That a segment is what its name says. @errors Corruption (address or size disagree with the name), Precondition
/// (another cluster's system identifier)
Status check_segment_identity(const WalSegmentHeader& header, const WalFileName& name, WalSegmentSize size,
                              std::optional<SystemIdentifier> expected);

enum class Rmgr : std::uint8_t { Xlog = 0, Xact = 1, Smgr = 2, Dbase = 4 };

struct WalRecordHeader {
  std::uint32_t total_length = 0;
  TransactionId xid;
  Lsn previous;
  std::uint8_t info = 0;
  std::uint8_t rmgr = 0;
  std::uint32_t crc = 0;
};
/// Here, so that its fields go straight to where they are wanted.
/// @param bytes  at least kRecordHeaderSize
inline WalRecordHeader parse_record_header(ByteView bytes) {
  PGMINT_ASSERT(bytes.size() >= kRecordHeaderSize);  // once for all fields
  return {.total_length = load<std::uint32_t>(bytes, 0),
          .xid = TransactionId(load<std::uint32_t>(bytes, 4)),
          .previous = Lsn(load<std::uint64_t>(bytes, 8)),
          .info = load<std::uint8_t>(bytes, 16),
          .rmgr = load<std::uint8_t>(bytes, 17),
          .crc = load<std::uint32_t>(bytes, 20)};
}

inline constexpr std::uint32_t kPageSizeMax = 32768;

struct BlockReference {
  RelationFork where;
  BlockNumber block = 0;
  bool has_image = false;
  auto operator<=>(const BlockReference&) const = default;
};

/// What the headers behind a record header say.
struct RecordLayout {
  std::vector<BlockReference> blocks;
  std::uint64_t main_data_offset = 0;  ///< from the start of the record
  std::uint32_t main_data_length = 0;
  std::optional<TransactionId> top_level_xid;
};
/// @param head          the record from its first byte; its first kRecordHeaderSize + kRecordHeadersMax bytes, or all
/// of it
/// @param total_length  of the record
/// @errors Corruption: headers that contradict each other or run past the record
Result<RecordLayout> parse_record_layout(ByteView head, std::uint32_t total_length, const VersionEntry& version,
                                         std::uint32_t page_size_max = kPageSizeMax);
/// As above, for a hundred thousand records a segment: into `layout`, whose memory it reuses.
/// @return what is wrong, or nullptr; `layout` is then undefined
const char* read_record_layout(ByteView head, std::uint32_t total_length, const VersionEntry& version,
                               std::uint32_t page_size_max, RecordLayout& layout);

}  // namespace pgmint::postgres

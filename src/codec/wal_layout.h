// What a piece of WAL looks like to the WAL codec: where the fields of page and record headers are. Layouts: xlog_internal.h,
// xlogrecord.h; the same from 13 to 18 but for the bits of a compressed image. As in the page codec nothing here is trusted: what is
// not as expected is kept as it is.
#pragma once

#include "codec/page_layout.h"

namespace pgmint::codec {

inline constexpr std::uint32_t kWalPageSize = 8192;       ///< XLOG_BLCKSZ; other sizes are left to the plain codecs
inline constexpr std::uint32_t kWalPieceMax = 256 << 10;  ///< pieces that are transformed
inline constexpr std::uint32_t kWalPagesMax = kWalPieceMax / kWalPageSize;

// XLogPageHeaderData: xlp_magic, xlp_info, xlp_tli, xlp_pageaddr, xlp_rem_len, padding; a segment's first page has 16 bytes more.
inline constexpr std::uint32_t kWalPageHeader = 24, kWalLongPageHeader = 40;
inline constexpr std::uint32_t kXlpInfoAt = 2, kXlpTimelineAt = 4, kXlpAddressAt = 8, kXlpRemainingAt = 16, kXlpPaddingAt = 20;
inline constexpr std::uint32_t kXlpContinues = 1, kXlpLong = 2;  // XLP_FIRST_IS_CONTRECORD, XLP_LONG_HEADER
/// Record bytes of a page that is not a segment's first.
inline constexpr std::uint32_t kWalPageRoom = kWalPageSize - kWalPageHeader;

// XLogRecord.
inline constexpr std::uint32_t kXlHeader = 24;
inline constexpr std::uint32_t kXlXidAt = 4, kXlPreviousAt = 8, kXlInfoAt = 16, kXlPaddingAt = 18, kXlCrcAt = 20;

// XLogRecordBlockHeader and what follows it.
inline constexpr std::uint32_t kXlBlockIdMax = 32;
inline constexpr std::uint32_t kXlIdTopLevelXid = 252, kXlIdOrigin = 253, kXlIdDataLong = 254, kXlIdDataShort = 255;
inline constexpr std::uint32_t kXlForkFlagsAt = 1, kXlDataLengthAt = 2;
inline constexpr std::uint32_t kXlHasImage = 0x10, kXlHasData = 0x20, kXlSameRelation = 0x80;
inline constexpr std::uint32_t kXlImageHasHole = 0x01;

/// One block reference of a record; offsets are from the record's first byte.
struct WalBlock {
  std::uint16_t data_length_at = 0;
  std::uint16_t image_at = 0;  ///< its length, the offset of its hole, its flags; 0: no image
  std::uint16_t number_at = 0;
  bool has_data = false;
  bool has_hole = false;
  bool odd_image = false;  ///< compressed
};
/// Headers never take as much: 33 blocks of at most 27 bytes each, main data, origin, top-level transaction.
inline constexpr std::uint32_t kXlHeadersMax = 2048;
inline constexpr std::uint32_t kWalBlocksMax = kXlBlockIdMax + 1;

/// A record's headers, read.
struct WalHeaders {
  std::uint32_t length = 0;  ///< of all headers, XLogRecord's included
  std::uint32_t main_length = 0;
  std::uint32_t block_count = 0;
  std::array<WalBlock, kWalBlocksMax> blocks;
};

/// Reads the headers of a record of `total` bytes. Never reads past `end`. @return false where they contradict each other
/// @param compressed_bits  flags of an image, any of which says that it is compressed
bool read_wal_headers(PagePointer record, PagePointer end, std::uint32_t total, std::uint32_t compressed_bits, WalHeaders& headers);
/// The same of headers alone, `length` bytes with XLogRecord's, whose lengths of data and images mean nothing.
bool read_wal_template(PagePointer header, std::uint32_t length, std::uint32_t compressed_bits, WalHeaders& headers);

}  // namespace pgmint::codec

// Records of one kind: the same resource manager and operation on blocks of the same relation, so that their headers differ in few
// fields, and their data is laid out alike. What stands between encoder and decoder of the WAL codec, beside columns and remainder.
#pragma once

#include <algorithm>

#include "codec/page_planes.h"
#include "codec/wal_layout.h"

namespace pgmint::codec {

inline constexpr std::uint32_t kWalKindsMax = 128;
inline constexpr std::uint32_t kWalKindHeaderMax = 120;  ///< longer headers are kept as they are
inline constexpr std::uint32_t kWalKindBlocksMax = 4;
inline constexpr std::uint32_t kWalPrefixMax = 15, kWalSuffixMax = 15;
inline constexpr std::uint32_t kWalImagesMax = 64;        ///< full-page images taken out of a piece
inline constexpr std::uint32_t kWalWordsMax = 192 << 10;  ///< words of all columns of a piece
inline constexpr std::uint32_t kWalRecordsMax = kWalPieceMax / kXlHeader;
inline constexpr std::uint32_t kWalColumnsMax = 8192;

/// Bytes of a piece's control stream.
inline constexpr std::size_t kWalControlMax = 64 + kWalPagesMax * (kWalPageHeader + 1) + kWalKindsMax * (kWalKindHeaderMax + 16) +
                                              kWalColumnsMax * kWordDescriptorMax + 4 * kWalWordsMax;

/// Values of the Kind column: kept as it is; as it is but for its images; above, a kind.
inline constexpr std::uint32_t kWalKeptWhole = 0, kWalKeptButImages = 1, kWalFirstKind = 2;

/// Which bytes of a section, a block's data or the main data, are words of columns; the rest is in the remainder.
struct WalSection {
  std::uint8_t first = 0;   ///< bytes at the start, 0 to 3, that make one word
  std::uint8_t prefix = 0;  ///< words behind them
  std::uint8_t suffix = 0;  ///< words before the last bytes, from the end backwards
  std::uint8_t last = 0;    ///< bytes at the end, 0 to 3, that make one word
  std::uint32_t bytes() const { return first + 4U * (prefix + suffix) + last; }
  std::uint32_t words() const { return (first != 0 ? 1U : 0U) + prefix + suffix + (last != 0 ? 1U : 0U); }
};

/// Bit of a section's first byte: the data is rows.
inline constexpr std::uint32_t kWalSectionOfRows = 0x80;

struct WalKind {
  std::array<unsigned char, kWalKindHeaderMax + 8> header{};  ///< fields that differ from record to record are zero
  WalHeaders parts;
  std::array<WalSection, kWalKindBlocksMax + 1> sections{};  ///< of the blocks' data; last, of the main data
  std::uint32_t count = 0;                                   ///< records
  std::uint32_t rows = 0;                                    ///< of all data of block 0, if it is rows (WalRows)
  std::uint32_t* words = nullptr;                            ///< of its columns, one behind the other, `count` each; then the rows'

  const WalSection& main_section() const { return sections[kWalKindBlocksMax]; }
  WalSection& main_section() { return sections[kWalKindBlocksMax]; }
  /// Columns of a word for each record.
  std::uint32_t columns() const {
    std::uint32_t n = parts.main_length != 0 ? main_section().words() : 0;
    for (std::uint32_t b = 0; b < parts.block_count; ++b)
      n += 1 + (parts.blocks[b].has_data ? 1 + (b == 0 && rows != 0 ? 0 : sections[b].words()) : 0);
    return n;
  }
  /// Columns of a word for each row.
  std::uint32_t row_columns() const { return rows != 0 ? sections[0].words() : 0; }
};

/// The rows of a multi-insert (xl_multi_insert_tuple): each begins with its length, less 7, in 16 bits, and at an even place.
class WalRows {
 public:
  static constexpr std::uint32_t kHeader = 7;
  /// Bytes of a row up to the next one. @param left  bytes of the section from the row on; 0: it does not fit there
  static std::uint32_t span(std::uint32_t length, std::uint32_t left) {
    const std::uint32_t size = kHeader + (length & 0xFFFF);
    return size > left ? 0 : std::min(size + (size & 1), left);
  }
};

/// What the pages of a piece say beside its records.
struct WalPages {
  std::uint32_t magic = 0, flags = 0, timeline = 0;
  std::uint64_t address = 0;
  std::uint32_t count = 0;
  bool long_header = false;  ///< of the first page

  std::uint32_t first_header() const { return long_header ? kWalLongPageHeader : kWalPageHeader; }
  std::uint32_t first_room() const { return kWalPageSize - first_header(); }
  /// Record bytes of all pages.
  std::uint32_t room() const { return first_room() + (count - 1) * kWalPageRoom; }
  /// Where page `p` begins, counted in record bytes.
  std::uint32_t start(std::uint32_t p) const { return p == 0 ? 0 : first_room() + (p - 1) * kWalPageRoom; }
  /// LSN of the record byte `at`.
  std::uint64_t lsn(std::uint32_t at) const {
    if (at < first_room()) return address + first_header() + at;
    const std::uint32_t behind = at - first_room();
    return address + std::uint64_t{1 + behind / kWalPageRoom} * kWalPageSize + kWalPageHeader + behind % kWalPageRoom;
  }
};

/// xlp_rem_len of each page, as the records say.
class WalContinuations {
 public:
  explicit WalContinuations(const WalPages& pages) : pages_(pages) {}
  /// A record from `start` to `end`, counted in record bytes; one after the other.
  void note(std::uint32_t start, std::uint64_t end) {
    for (; next_ < pages_.count && pages_.start(next_) < end; ++next_)
      if (pages_.start(next_) > start) remaining_[next_] = static_cast<std::uint32_t>(end - pages_.start(next_));
  }
  std::uint32_t remaining(std::uint32_t page) const { return remaining_[page]; }

 private:
  const WalPages& pages_;
  std::array<std::uint32_t, kWalPagesMax> remaining_{};
  std::uint32_t next_ = 1;
};

/// The header that a page has, most likely. @param out  kWalPageHeader bytes
inline void write_wal_page_header(const WalPages& pages, std::uint32_t page, std::uint32_t remaining, unsigned char* out) {
  store16(out, pages.magic);
  store16(out + kXlpInfoAt, pages.flags | (remaining != 0 ? kXlpContinues : 0) | (page == 0 && pages.long_header ? kXlpLong : 0));
  store32(out + kXlpTimelineAt, pages.timeline);
  store64(out + kXlpAddressAt, pages.address + std::uint64_t{page} * kWalPageSize);
  store32(out + kXlpRemainingAt, remaining);
  store32(out + kXlpPaddingAt, 0);
}

/// A record's xl_crc. @param length  of the record, at least kXlHeader
std::uint32_t wal_record_crc(PagePointer record, std::uint32_t length);

}  // namespace pgmint::codec

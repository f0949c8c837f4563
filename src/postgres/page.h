// Data pages: header, checksum, and whether what was read from a live cluster is a sound page.
// Source: src/include/storage/bufpage.h, checksum_impl.h, src/backend/storage/page/bufpage.c (PageIsVerified), 13
// to 18.
#pragma once

#include "base/bytes.h"
#include "postgres/lsn.h"
#include "postgres/relation.h"

namespace pgmint::postgres {

inline constexpr std::size_t kPageHeaderSize = 24;
inline constexpr std::uint32_t kBlockSizeMin = 1024;
inline constexpr std::uint32_t kBlockSizeMax = 32768;

struct PageHeader {
  Lsn lsn;  ///< end of the last record that changed the page
  std::uint16_t checksum;
  std::uint16_t flags;
  std::uint16_t lower;  ///< start of free space
  std::uint16_t upper;  ///< end of free space; zero on a page that was never initialised
  std::uint16_t special;
  std::uint16_t page_size;      ///< bytes, without the layout version
  std::uint8_t layout_version;  ///< 4
  TransactionId prune_xid;
};
/// @param page  at least kPageHeaderSize bytes
PageHeader page_header(ByteView page);
bool page_is_zero(ByteView page);

/// PostgreSQL's page checksum (FNV-1a based, 32 sums in parallel), pd_checksum itself taken as zero. AVX2 where the CPU
/// has it.
/// @param page   borrowed, a multiple of 128 bytes, at most kBlockSizeMax; need not be aligned
/// @param block  number within the fork, not within the segment file
std::uint16_t page_checksum(ByteView page, BlockNumber block);

enum class PageVerdict {
  Sound,          ///< store it
  NotYetDecided,  ///< may be torn by a write in progress: read it again
  Bad             ///< nothing explains it; torn reads look the same, so believe it only after re-reads
};

/// What check_page judges by.
struct PageCheck {
  bool checksums_enabled = false;
  std::uint32_t block_size = 8192;
  Lsn backup_start;  ///< pages with an LSN from here on are repaired by replay
};

/// A page is sound if it is new (all zero), its checksum fits, or backup_start <= pd_lsn <= upper_lsn: WAL replay
/// rewrites it whatever its state. Without checksums only the header's sanity is judged. Pure.
/// @param upper_lsn  insert LSN (replay LSN on a standby) asked after the read; nullopt when not asked yet: a page
/// whose
///                   verdict would depend on it is NotYetDecided
/// @return Sound; NotYetDecided (ask for upper_lsn or re-read); Bad when upper_lsn is known and nothing explains the
/// page: the
///         caller re-reads a bounded number of times before it believes this
PageVerdict check_page(ByteView page, BlockNumber block, const PageCheck& check, std::optional<Lsn> upper_lsn);

/// For messages: "checksum 1A2B, expected 3C4D", "upper 0 on a page that is not zero".
std::string describe_bad_page(ByteView page, BlockNumber block, const PageCheck& check);

}  // namespace pgmint::postgres

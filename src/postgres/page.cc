#include "postgres/page.h"

#include <fmt/format.h>

#include "postgres/load.h"

namespace pgmint::postgres {
namespace {

constexpr std::uint16_t kValidFlags = 0x0007;
constexpr std::size_t kMaxAlign = 8;

/// What PageIsVerified asks of a header.
bool header_is_sane(const PageHeader& header, std::uint32_t block_size) {
  return (header.flags & ~kValidFlags) == 0 && header.lower >= kPageHeaderSize && header.lower <= header.upper &&
         header.upper <= header.special && header.special <= block_size && header.special % kMaxAlign == 0;
}

}  // namespace

PageHeader page_header(ByteView page) {
  auto size_and_version = load<std::uint16_t>(page, 18);
  return {.lsn = Lsn(std::uint64_t{load<std::uint32_t>(page, 0)} << 32 | load<std::uint32_t>(page, 4)),
          .checksum = load<std::uint16_t>(page, 8),
          .flags = load<std::uint16_t>(page, 10),
          .lower = load<std::uint16_t>(page, 12),
          .upper = load<std::uint16_t>(page, 14),
          .special = load<std::uint16_t>(page, 16),
          .page_size = static_cast<std::uint16_t>(size_and_version & 0xFF00),
          .layout_version = static_cast<std::uint8_t>(size_and_version & 0x00FF),
          .prune_xid = TransactionId(load<std::uint32_t>(page, 20))};
}

bool page_is_zero(ByteView page) {
  // A non-zero byte is nearly always among the first; memcmp against itself, shifted by one, is fast on the rest.
  return page.empty() || (page[0] == std::byte{0} && std::memcmp(page.data(), page.data() + 1, page.size() - 1) == 0);
}

PageVerdict check_page(ByteView page, BlockNumber block, const PageCheck& check, std::optional<Lsn> upper_lsn) {
  PGMINT_ASSERT(page.size() == check.block_size);
  const PageHeader header = page_header(page);
  const PageVerdict unexplained = upper_lsn ? PageVerdict::Bad : PageVerdict::NotYetDecided;
  if (header.upper == 0) return page_is_zero(page) ? PageVerdict::Sound : unexplained;
  const bool fits = check.checksums_enabled ? page_checksum(page, block) == header.checksum
                                            : header_is_sane(header, check.block_size);
  if (fits) return PageVerdict::Sound;
  if (header.lsn < check.backup_start) return unexplained;
  if (!upper_lsn) return PageVerdict::NotYetDecided;
  return header.lsn <= *upper_lsn ? PageVerdict::Sound : PageVerdict::Bad;
}

std::string describe_bad_page(ByteView page, BlockNumber block, const PageCheck& check) {
  const PageHeader header = page_header(page);
  if (header.upper == 0)
    return fmt::format("block {}: no upper bound in the header, yet the page is not all zero", block);
  if (check.checksums_enabled)
    return fmt::format("block {}: checksum {:04X}, expected {:04X}, page LSN {}", block, header.checksum,
                       page_checksum(page, block), format(header.lsn));
  return fmt::format("block {}: impossible header (lower {}, upper {}, special {}, flags {:04X}), page LSN {}", block,
                     header.lower, header.upper, header.special, header.flags, format(header.lsn));
}

}  // namespace pgmint::postgres

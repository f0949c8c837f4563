// INCREMENTAL.<name> of a base backup (17 and later): the blocks of one segment file that changed, and how long it is.
// Format: src/backend/backup/basebackup.c (sendFile), basebackup_incremental.c (GetIncrementalHeaderSize), 17 and 18 alike.
#pragma once

#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "postgres/relation.h"

namespace pgmint::postgres {

struct IncrementalFile {
  /// Of the segment file, ascending: the pages that follow the header, in this order.
  std::vector<BlockNumber> blocks;
  /// The file is at least so long, and at most a segment. Blocks below that are not among `blocks` are the parent's, or zeros behind its end.
  BlockNumber truncation = 0;

  /// In blocks: what stands behind `truncation` makes it longer.
  BlockNumber length() const { return blocks.empty() || blocks.back() < truncation ? truncation : blocks.back() + 1; }
};

struct IncrementalShape {
  std::uint32_t block_size = 8192;
  std::uint32_t blocks_per_segment = 0;
};

/// Magic, count, truncation: enough to know how long the header is.
inline constexpr std::size_t kIncrementalFront = 12;
/// "INCREMENTAL." before the name of the segment file.
inline constexpr std::string_view kIncrementalPrefix = "INCREMENTAL.";

/// Bytes of the whole header, with the padding behind it. @param front  its first kIncrementalFront bytes
/// @param file_size  of header and pages, as the archive says
/// @errors Corruption: another magic, counts above those of a segment, a file of another size than they make
Result<std::uint64_t> incremental_header_size(ByteView front, std::uint64_t file_size, const IncrementalShape& shape);
/// @param header  as long as incremental_header_size() says @errors Corruption: blocks that do not ascend, or that no segment has
Result<IncrementalFile> parse_incremental_header(ByteView header, const IncrementalShape& shape);

/// "base/5/16384.1" of "base/5/INCREMENTAL.16384.1"; nullopt: it is no name of such a file. Pure.
std::optional<std::string> incremental_path(std::string_view path);

}  // namespace pgmint::postgres

#include "codec/wal_layout.h"

#include <algorithm>

namespace pgmint::codec {
namespace {

/// `total` 0: headers alone, as long as `limit`.
bool read_headers(PagePointer record, std::uint32_t limit, std::uint32_t total, std::uint32_t compressed_bits, WalHeaders& headers) {
  headers.block_count = headers.main_length = 0;
  std::uint64_t payload = 0;
  bool has_relation = false;
  std::uint32_t at = kXlHeader;
  const auto room = [&](std::uint32_t n) { return n <= limit - at; };
  // As DecodeXLogRecord: headers go on until the data that they promise fills the rest of the record.
  while (total == 0 ? at < limit : at + payload < total) {
    if (at > kXlHeadersMax || !room(1)) return false;
    const std::uint32_t id = record[at];
    if (id == kXlIdDataShort || id == kXlIdDataLong) {
      const std::uint32_t size = id == kXlIdDataShort ? 2 : 5;
      if (!room(size)) return false;
      headers.main_length = id == kXlIdDataShort ? record[at + 1] : load32(record + at + 1);
      payload += headers.main_length;
      at += size;
      break;
    }
    if (id == kXlIdOrigin || id == kXlIdTopLevelXid) {
      const std::uint32_t size = id == kXlIdOrigin ? 3 : 5;
      if (!room(size)) return false;
      at += size;
      continue;
    }
    if (id > kXlBlockIdMax || headers.block_count == kWalBlocksMax || !room(4)) return false;
    WalBlock& block = headers.blocks[headers.block_count++];
    block = {};
    const std::uint32_t flags = record[at + kXlForkFlagsAt];
    block.data_length_at = static_cast<std::uint16_t>(at + kXlDataLengthAt);
    block.has_data = (flags & kXlHasData) != 0;
    const std::uint32_t data_length = load16(record + block.data_length_at);
    if (total != 0 && block.has_data != (data_length != 0)) return false;
    payload += data_length;
    at += 4;
    if ((flags & kXlHasImage) != 0) {
      if (!room(5)) return false;
      block.image_at = static_cast<std::uint16_t>(at);
      const std::uint32_t image = record[at + 4];
      block.has_hole = (image & kXlImageHasHole) != 0;
      block.odd_image = (image & compressed_bits) != 0;
      payload += load16(record + at);
      at += 5;
      if (block.has_hole && block.odd_image) {
        if (!room(2)) return false;
        at += 2;
      }
    }
    if ((flags & kXlSameRelation) == 0) {
      if (!room(12)) return false;
      at += 12;
      has_relation = true;
    }
    if (!has_relation || !room(4)) return false;
    block.number_at = static_cast<std::uint16_t>(at);
    at += 4;
  }
  headers.length = at;
  return total == 0 ? at == limit : at + payload == total;
}

}  // namespace

bool read_wal_headers(PagePointer record, PagePointer end, std::uint32_t total, std::uint32_t compressed_bits, WalHeaders& headers) {
  const std::size_t left = static_cast<std::size_t>(end - record);
  if (total < kXlHeader || left < kXlHeader) return false;
  return read_headers(record, static_cast<std::uint32_t>(std::min<std::size_t>(left, total)), total, compressed_bits, headers);
}

bool read_wal_template(PagePointer header, std::uint32_t length, std::uint32_t compressed_bits, WalHeaders& headers) {
  return length >= kXlHeader && read_headers(header, length, 0, compressed_bits, headers);
}

}  // namespace pgmint::codec

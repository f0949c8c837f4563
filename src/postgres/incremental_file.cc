#include "postgres/incremental_file.h"

#include <fmt/format.h>

#include <algorithm>

#include "codec/binary.h"
#include "postgres/data_directory.h"

namespace pgmint::postgres {
namespace {

constexpr std::uint32_t kMagic = 0xd3ae1f0d;
constexpr std::uint32_t kMagicSwapped = 0x0d1faed3;

struct Front {
  std::uint32_t count = 0, truncation = 0;
};

Result<Front> read_front(codec::BinaryReader& reader, const IncrementalShape& shape) {
  const auto magic = TRY(reader.u32());
  if (magic == kMagicSwapped) return reader.corrupt("is of a machine of the other byte order");
  if (magic != kMagic) return reader.corrupt("does not begin as one");
  Front front;
  front.count = TRY(reader.u32());
  front.truncation = TRY(reader.u32());
  if (front.count > shape.blocks_per_segment) return reader.corrupt(fmt::format("counts {} blocks, a segment has {}", front.count, shape.blocks_per_segment));
  // Servers without the fix of early 2026 count to where the whole relation was cut off, for segments that lie before.
  front.truncation = std::min(front.truncation, shape.blocks_per_segment);
  return front;
}

}  // namespace

Result<std::uint64_t> incremental_header_size(ByteView front, std::uint64_t file_size, const IncrementalShape& shape) {
  codec::BinaryReader reader(front, "incremental file");
  const auto read = TRY(read_front(reader, shape));
  std::uint64_t header = kIncrementalFront + std::uint64_t{read.count} * sizeof(std::uint32_t);
  // Pages begin at a multiple of their size; where there are none, nothing is padded.
  if (read.count > 0) header = (header + shape.block_size - 1) / shape.block_size * shape.block_size;
  const auto expected = header + std::uint64_t{read.count} * shape.block_size;
  if (file_size != expected) return reader.corrupt(fmt::format("has {} bytes, its {} blocks make {}", file_size, read.count, expected));
  return header;
}

Result<IncrementalFile> parse_incremental_header(ByteView header, const IncrementalShape& shape) {
  codec::BinaryReader reader(header, "incremental file");
  const auto front = TRY(read_front(reader, shape));
  IncrementalFile file;
  file.truncation = front.truncation;
  if (reader.remaining() / sizeof(std::uint32_t) < front.count) return reader.corrupt("is truncated");
  file.blocks.reserve(front.count);
  for (std::uint32_t i = 0; i < front.count; ++i) {
    const auto block = TRY(reader.u32());
    if (block >= shape.blocks_per_segment) return reader.corrupt(fmt::format("names block {}, a segment has {}", block, shape.blocks_per_segment));
    if (!file.blocks.empty() && block <= file.blocks.back()) return reader.corrupt(fmt::format("names block {} behind block {}", block, file.blocks.back()));
    file.blocks.push_back(block);
  }
  return file;
}

std::optional<std::string> incremental_path(std::string_view path) {
  const auto slash = path.rfind('/');
  const auto name = slash == std::string_view::npos ? path : path.substr(slash + 1);
  if (!name.starts_with(kIncrementalPrefix)) return std::nullopt;
  auto plain = std::string(path.substr(0, path.size() - name.size())) + std::string(name.substr(kIncrementalPrefix.size()));
  if (!relation_of_path(plain)) return std::nullopt;
  return plain;
}

}  // namespace pgmint::postgres

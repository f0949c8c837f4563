// For tests: tar archives as PostgreSQL writes them (ustar).
#pragma once

#include <fmt/format.h>

#include <cstring>

#include "postgres/tar_reader.h"

namespace pgmint::postgres::testing {

inline void put_tar_text(Bytes& block, std::size_t at, std::string_view text) { std::memcpy(block.data() + at, text.data(), text.size()); }

/// The header's checksum.
inline void seal_tar(Bytes& block) {
  put_tar_text(block, 148, "        ");
  unsigned sum = 0;
  for (const auto byte : block) sum += std::to_integer<unsigned>(byte);
  put_tar_text(block, 148, fmt::format("{:06o}", sum));
  block[154] = std::byte{0};
}

inline Bytes tar_header(std::string_view name, std::uint64_t size, char type = '0', std::string_view link = "", std::string_view prefix = "") {
  Bytes block(kTarBlock);
  put_tar_text(block, 0, name.substr(0, 100));
  put_tar_text(block, 100, "0000600");
  put_tar_text(block, 108, "0000033");
  put_tar_text(block, 116, "0000033");
  put_tar_text(block, 124, fmt::format("{:011o}", size));
  put_tar_text(block, 136, "14000000000");
  block[156] = static_cast<std::byte>(type);
  put_tar_text(block, 157, link);
  put_tar_text(block, 257, "ustar");
  put_tar_text(block, 263, "00");
  put_tar_text(block, 265, "postgres");
  put_tar_text(block, 345, prefix);
  seal_tar(block);
  return block;
}

/// An entry with its content.
inline Bytes tar_file(std::string_view name, std::string_view content) {
  auto bytes = tar_header(name, content.size());
  append(bytes, as_bytes(content));
  bytes.resize((bytes.size() + kTarBlock - 1) / kTarBlock * kTarBlock);
  return bytes;
}

}  // namespace pgmint::postgres::testing

#include "codec/crc32c.h"

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

namespace pgmint::codec {

namespace {

constexpr std::uint32_t kPolynomial = 0x82f63b78;  // Castagnoli, reflected

/// tables[k][b]: the CRC of byte b followed by k zero bytes, so that eight bytes are looked up at once.
using Tables = std::array<std::array<std::uint32_t, 256>, 8>;
constexpr Tables make_tables() {
  Tables tables{};
  for (std::uint32_t b = 0; b < 256; ++b) {
    std::uint32_t crc = b;
    for (int bit = 0; bit < 8; ++bit) crc = (crc & 1) != 0 ? (crc >> 1) ^ kPolynomial : crc >> 1;
    tables[0][b] = crc;
  }
  for (std::size_t k = 1; k < 8; ++k) {
    for (std::size_t b = 0; b < 256; ++b) {
      const std::uint32_t previous = tables[k - 1][b];
      tables[k][b] = (previous >> 8) ^ tables[0][previous & 0xff];
    }
  }
  return tables;
}
constexpr Tables kTables = make_tables();

std::uint32_t byte_at(ByteView data, std::size_t i) {
  return std::to_integer<std::uint32_t>(data[i]);
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) std::uint32_t update_sse42(std::uint32_t crc, ByteView data) {
  std::uint64_t wide = crc;
  for (; data.size() >= 8; data = data.subspan(8)) {
    std::uint64_t word;
    std::memcpy(&word, data.data(), 8);
    wide = _mm_crc32_u64(wide, word);
  }
  crc = static_cast<std::uint32_t>(wide);
  for (const std::byte b : data) crc = _mm_crc32_u8(crc, std::to_integer<std::uint8_t>(b));
  return crc;
}
#endif

}  // namespace

std::uint32_t crc32c_portable(ByteView data, std::uint32_t crc) {
  crc = ~crc;
  for (; data.size() >= 8; data = data.subspan(8)) {
    crc = kTables[7][(crc ^ byte_at(data, 0)) & 0xff] ^ kTables[6][((crc >> 8) ^ byte_at(data, 1)) & 0xff] ^
          kTables[5][((crc >> 16) ^ byte_at(data, 2)) & 0xff] ^ kTables[4][((crc >> 24) ^ byte_at(data, 3)) & 0xff] ^
          kTables[3][byte_at(data, 4)] ^ kTables[2][byte_at(data, 5)] ^ kTables[1][byte_at(data, 6)] ^
          kTables[0][byte_at(data, 7)];
  }
  for (const std::byte b : data) crc = (crc >> 8) ^ kTables[0][(crc ^ std::to_integer<std::uint32_t>(b)) & 0xff];
  return ~crc;
}

bool crc32c_is_accelerated() {
#if defined(__x86_64__)
  static const bool has_instruction = __builtin_cpu_supports("sse4.2") != 0;
  return has_instruction;
#else
  return false;
#endif
}

std::uint32_t crc32c(ByteView data, std::uint32_t crc) {
#if defined(__x86_64__)
  if (crc32c_is_accelerated()) return ~update_sse42(~crc, data);
#endif
  return crc32c_portable(data, crc);
}

}  // namespace pgmint::codec

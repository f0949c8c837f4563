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
/// The instruction takes three cycles, and a next one can begin in each of them: long data goes through three registers side by
/// side, each over a lane of its own, and what each comes to is then moved over the lanes behind it.
constexpr std::size_t kLane = 256;
constexpr std::size_t kLaneWords = kLane / 8;

/// table[k][b]: the register b << 8k after kLane zero bytes. The register is linear, so that the rest follows from its bits.
using LaneTable = std::array<std::array<std::uint32_t, 256>, 4>;
constexpr LaneTable make_lane_table() {
  std::array<std::uint32_t, 32> of_bit{};
  for (std::size_t bit = 0; bit < 32; ++bit) {
    std::uint32_t crc = 1U << bit;
    for (std::size_t i = 0; i < kLane; ++i) crc = (crc >> 8) ^ kTables[0][crc & 0xff];
    of_bit[bit] = crc;
  }
  LaneTable table{};
  for (std::size_t k = 0; k < 4; ++k)
    for (std::size_t b = 0; b < 256; ++b)
      for (std::size_t bit = 0; bit < 8; ++bit)
        if ((b >> bit & 1) != 0) table[k][b] ^= of_bit[8 * k + bit];
  return table;
}
constexpr LaneTable kLaneTable = make_lane_table();

std::uint32_t over_a_lane(std::uint64_t crc) {
  return kLaneTable[0][crc & 0xff] ^ kLaneTable[1][crc >> 8 & 0xff] ^ kLaneTable[2][crc >> 16 & 0xff] ^ kLaneTable[3][crc >> 24 & 0xff];
}

__attribute__((target("sse4.2"))) std::uint32_t update_lanes(std::uint32_t crc, const std::byte* from) {
  std::uint64_t a = crc, b = 0, c = 0;
  for (std::size_t i = 0; i < kLaneWords; ++i, from += 8) {
    std::uint64_t words[3];
    for (std::size_t lane = 0; lane < 3; ++lane) std::memcpy(&words[lane], from + lane * kLane, 8);
    a = _mm_crc32_u64(a, words[0]);
    b = _mm_crc32_u64(b, words[1]);
    c = _mm_crc32_u64(c, words[2]);
  }
  return over_a_lane(over_a_lane(a) ^ b) ^ static_cast<std::uint32_t>(c);
}

/// Inverts by itself, so that crc32c() need not come back for it: WAL has many records of some dozen bytes.
__attribute__((target("sse4.2"))) std::uint32_t crc32c_sse42(ByteView data, std::uint32_t crc) {
  crc = ~crc;
  for (; data.size() >= 3 * kLane; data = data.subspan(3 * kLane)) crc = update_lanes(crc, data.data());
  std::uint64_t wide = crc;
  for (; data.size() >= 8; data = data.subspan(8)) {
    std::uint64_t word;
    std::memcpy(&word, data.data(), 8);
    wide = _mm_crc32_u64(wide, word);
  }
  crc = static_cast<std::uint32_t>(wide);
  if (data.size() >= 4) {
    std::uint32_t word;
    std::memcpy(&word, data.data(), 4);
    crc = _mm_crc32_u32(crc, word);
    data = data.subspan(4);
  }
  if (data.size() >= 2) {
    std::uint16_t word;
    std::memcpy(&word, data.data(), 2);
    crc = _mm_crc32_u16(crc, word);
    data = data.subspan(2);
  }
  if (!data.empty()) crc = _mm_crc32_u8(crc, std::to_integer<std::uint8_t>(data[0]));
  return ~crc;
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
  return __builtin_cpu_supports("sse4.2") != 0;  // a look at what was found out when the program began
#else
  return false;
#endif
}

std::uint32_t crc32c(ByteView data, std::uint32_t crc) {
#if defined(__x86_64__)
  if (crc32c_is_accelerated()) return crc32c_sse42(data, crc);
#endif
  return crc32c_portable(data, crc);
}

}  // namespace pgmint::codec

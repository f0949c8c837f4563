// CRC-32C as arithmetic: what zlib calls combining, for Castagnoli's polynomial. A CRC register started at zero is
// linear: crc(A followed by B) = crc(A) * x^(8 |B|) + crc(B), modulo the polynomial.
#include <array>

#include "codec/crc32c.h"
#include "postgres/load.h"
#include "postgres/wal_reader.h"

namespace pgmint::postgres {
namespace {

constexpr std::uint32_t kPolynomial = 0x82F63B78;  // reflected
constexpr std::uint32_t kOne = 0x80000000;         // x^0, reflected
constexpr std::size_t kCrcOffset = 20;             // of xl_crc in the record header

constexpr std::uint32_t multiply(std::uint32_t a, std::uint32_t b) {
  std::uint32_t product = 0;
  for (std::uint32_t bit = kOne; bit != 0; bit >>= 1) {
    if ((a & bit) != 0) product ^= b;
    b = (b & 1) != 0 ? (b >> 1) ^ kPolynomial : b >> 1;
  }
  return product;
}

/// x^(8 * 2^k) for each k.
constexpr std::array<std::uint32_t, 64> powers() {
  std::array<std::uint32_t, 64> table{};
  std::uint32_t power = kOne >> 8;
  for (auto& entry : table) {
    entry = power;
    power = multiply(power, power);
  }
  return table;
}
constexpr auto kPowers = powers();

/// crc * x^(8 * bytes).
std::uint32_t shift(std::uint32_t crc, std::uint64_t bytes) {
  for (std::size_t k = 0; bytes != 0; bytes >>= 1, ++k)
    if ((bytes & 1) != 0) crc = multiply(kPowers[k], crc);
  return crc;
}

}  // namespace

PartialCrc partial_crc(ByteView data, PartialCrc before) {
  // crc32c() inverts before and after; undo both.
  return {~codec::crc32c(data, ~before.value), before.length + data.size()};
}

PartialCrc concatenate(PartialCrc first, PartialCrc second) {
  return {shift(first.value, second.length) ^ second.value, first.length + second.length};
}

PartialCrc without_prefix(PartialCrc whole, PartialCrc prefix) {
  std::uint64_t length = whole.length - prefix.length;
  return {whole.value ^ shift(prefix.value, length), length};
}

bool record_crc_fits(PartialCrc body, ByteView header) {
  // The record's CRC runs over the body first, then over the header up to the CRC itself (XLogInsertRecord).
  auto all = partial_crc(header.first(kCrcOffset), body);
  return ~(all.value ^ shift(~std::uint32_t{0}, all.length)) == load<std::uint32_t>(header, kCrcOffset);
}

}  // namespace pgmint::postgres

// Compiled with -O3 in every build: a backup runs every byte of the database through this loop.
#include <cstring>

#include "postgres/page.h"

namespace pgmint::postgres {
namespace {

constexpr std::size_t kLanes = 32;
constexpr std::size_t kRowBytes = kLanes * sizeof(std::uint32_t);
constexpr std::uint32_t kPrime = 16777619;  // FNV-1a

// The lanes start from different states (checksum_impl.h, checksumBaseOffsets: part of the format on disk).
constexpr std::uint32_t kStart[kLanes] = {
    0x5B1F36E9, 0xB8525960, 0x02AB50AA, 0x1DE66D2A, 0x79FF467A, 0x9BB9F8A3, 0x217E7CD2, 0x83E13D2C,
    0xF8D4474F, 0xE39EB970, 0x42C6AE16, 0x993216FA, 0x7B093B5D, 0x98DAFF3C, 0xF718902A, 0x0B1C9CDB,
    0xE58F764B, 0x187636BC, 0x5D7B3BB1, 0xE73DE7DE, 0x92BEC979, 0xCCA6C0B2, 0x304A0979, 0x85AA43D4,
    0x783125BB, 0x6CA8EAA2, 0xE407EAC6, 0x4B5CFC3E, 0x9FBF8C76, 0x15CA20BE, 0xF2CA9FD3, 0x959BD756};

// Eight lanes in one vector, four vectors in four registers, each read by a copy of its own size: one unaligned load.
// (A copy of the whole row into an array costs a failed store forwarding: a quarter of the speed.) Without AVX2 the
// compiler splits each vector in two.
using Lanes [[gnu::vector_size(32)]] = std::uint32_t;
static_assert(4 * sizeof(Lanes) == kRowBytes);

[[gnu::always_inline]] inline void mix(Lanes& sum, const Lanes& value) {
  const Lanes t = sum ^ value;
  sum = (t * kPrime) ^ (t >> 17);
}

[[gnu::always_inline]] inline void mix_at(Lanes& sum, const unsigned char* address) {
  Lanes value;
  std::memcpy(&value, address, sizeof value);
  mix(sum, value);
}

[[gnu::always_inline]] inline std::uint32_t sum_rows(const unsigned char* page, std::size_t size) {
  Lanes a, b, c, d;
  std::memcpy(&a, kStart, sizeof a);
  std::memcpy(&b, kStart + 8, sizeof b);
  std::memcpy(&c, kStart + 16, sizeof c);
  std::memcpy(&d, kStart + 24, sizeof d);
  Lanes first;
  std::memcpy(&first, page, sizeof first);
  first[2] &= 0xFFFF0000U;  // pd_checksum, bytes 8 and 9, counts as zero
  mix(a, first);
  mix_at(b, page + 32);
  mix_at(c, page + 64);
  mix_at(d, page + 96);
  for (std::size_t at = kRowBytes; at + kRowBytes <= size; at += kRowBytes) {
    mix_at(a, page + at);
    mix_at(b, page + at + 32);
    mix_at(c, page + at + 64);
    mix_at(d, page + at + 96);
  }
  for (Lanes* sum : {&a, &b, &c, &d}) {
    mix(*sum, Lanes{});
    mix(*sum, Lanes{});
  }
  const Lanes folded = a ^ b ^ c ^ d;
  std::uint32_t result = 0;
  for (std::size_t lane = 0; lane < kLanes / 4; ++lane) result ^= folded[lane];
  return result;
}

std::uint32_t sum_portable(const unsigned char* page, std::size_t size) {
  return sum_rows(page, size);
}

#if defined(__x86_64__)
[[gnu::target("avx2")]] std::uint32_t sum_avx2(const unsigned char* page, std::size_t size) {
  return sum_rows(page, size);
}
const bool kHasAvx2 = __builtin_cpu_supports("avx2") != 0;
#endif

}  // namespace

std::uint16_t page_checksum(ByteView page, BlockNumber block) {
  PGMINT_ASSERT(page.size() >= kRowBytes && page.size() % kRowBytes == 0 && page.size() <= kBlockSizeMax);
#if defined(__x86_64__)
  std::uint32_t sum = kHasAvx2 ? sum_avx2(as_u8(page), page.size()) : sum_portable(as_u8(page), page.size());
#else
  std::uint32_t sum = sum_portable(as_u8(page), page.size());
#endif
  return static_cast<std::uint16_t>((sum ^ block) % 65535 + 1);
}

}  // namespace pgmint::postgres

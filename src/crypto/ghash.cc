// GHASH reads its blocks bit-reflected, which no carry-less multiplication does. As in RFC 8452, appendix A, it is computed as POLYVAL of the
// blocks with their bytes reversed, under the reversed key times x: POLYVAL(a, b) = a * b / x^128 modulo x^128 + x^127 + x^126 + x^121 + 1.
#include "crypto/ghash.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "crypto/secret.h"

#if defined(__x86_64__)
#include <immintrin.h>
#define PGMINT_TARGET_GHASH [[gnu::target("avx512f,avx512bw,avx512vl,vpclmulqdq,pclmul,sse4.1")]]
#endif

namespace pgmint::crypto {

#if defined(__x86_64__)
namespace {

constexpr std::size_t kBlock = 16;

PGMINT_TARGET_GHASH inline __m128i load(const std::byte* from) {
  __m128i v;
  std::memcpy(&v, from, sizeof v);
  return v;
}
PGMINT_TARGET_GHASH inline void store(std::byte* to, __m128i v) { std::memcpy(to, &v, sizeof v); }

PGMINT_TARGET_GHASH inline __m128i reversed(__m128i block) {
  return _mm_shuffle_epi8(block, _mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
}

/// (high : low) / x^128: twice 64 bits, each by the multiple of the polynomial that takes the lowest of them away.
PGMINT_TARGET_GHASH inline __m128i reduced(__m128i low, __m128i high) {
  const __m128i polynomial = _mm_set_epi64x(static_cast<long long>(0xC200000000000000U), 1);
  low = _mm_xor_si128(_mm_shuffle_epi32(low, 0x4E), _mm_clmulepi64_si128(low, polynomial, 0x10));
  low = _mm_xor_si128(_mm_shuffle_epi32(low, 0x4E), _mm_clmulepi64_si128(low, polynomial, 0x10));
  return _mm_xor_si128(high, low);
}

PGMINT_TARGET_GHASH inline __m128i product(__m128i low, __m128i middle, __m128i high) {
  return reduced(_mm_xor_si128(low, _mm_slli_si128(middle, 8)), _mm_xor_si128(high, _mm_srli_si128(middle, 8)));
}

PGMINT_TARGET_GHASH inline __m128i multiply(__m128i a, __m128i b) {
  const __m128i middle = _mm_xor_si128(_mm_clmulepi64_si128(a, b, 0x01), _mm_clmulepi64_si128(a, b, 0x10));
  return product(_mm_clmulepi64_si128(a, b, 0x00), middle, _mm_clmulepi64_si128(a, b, 0x11));
}

/// Times x, in POLYVAL's field.
PGMINT_TARGET_GHASH inline __m128i doubled(__m128i v) {
  const auto low = static_cast<std::uint64_t>(_mm_extract_epi64(v, 0)), high = static_cast<std::uint64_t>(_mm_extract_epi64(v, 1));
  const std::uint64_t carry = 0 - (high >> 63);
  return _mm_set_epi64x(static_cast<long long>((high << 1 | low >> 63) ^ (carry & 0xC200000000000000U)),
                        static_cast<long long>(low << 1 ^ (carry & 1)));
}

PGMINT_TARGET_GHASH inline __m128i folded(__m512i v) {
  const __m256i half = _mm256_xor_si256(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64(v, 1));
  return _mm_xor_si128(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
}

/// sum = sum * h^32 + blocks: 32 products are added before one reduction.
PGMINT_TARGET_GHASH __m128i step(__m128i sum, const std::byte* data, const std::byte* powers) {
  const __m512i reverse = _mm512_broadcast_i32x4(_mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
  __m512i low = _mm512_setzero_si512(), middle = low, high = low;
  for (std::size_t k = 0; k < 8; ++k) {
    __m512i blocks, power;
    std::memcpy(&blocks, data + 64 * k, sizeof blocks);
    std::memcpy(&power, powers + 64 * k, sizeof power);
    blocks = _mm512_shuffle_epi8(blocks, reverse);
    if (k == 0) blocks = _mm512_xor_si512(blocks, _mm512_zextsi128_si512(sum));
    low = _mm512_xor_si512(low, _mm512_clmulepi64_epi128(blocks, power, 0x00));
    high = _mm512_xor_si512(high, _mm512_clmulepi64_epi128(blocks, power, 0x11));
    middle = _mm512_ternarylogic_epi64(middle, _mm512_clmulepi64_epi128(blocks, power, 0x01), _mm512_clmulepi64_epi128(blocks, power, 0x10), 0x96);
  }
  return product(folded(low), folded(middle), folded(high));
}

PGMINT_TARGET_GHASH void make_first_power(std::byte* power, const std::byte* h) { store(power, doubled(reversed(load(h)))); }

/// From the last of `count` to the first.
PGMINT_TARGET_GHASH void make_powers(std::byte* powers, std::size_t count) {
  const __m128i first = load(powers + kBlock * (count - 1));
  __m128i power = first;
  for (std::size_t i = count - 1; i-- > 0;) store(powers + kBlock * i, power = multiply(power, first));
}

PGMINT_TARGET_GHASH void sum_steps(std::byte* sum, ByteView data, const std::byte* powers, std::size_t step_size) {
  __m128i s = load(sum);
  for (std::size_t at = 0; at < data.size(); at += step_size) s = step(s, data.data() + at, powers);
  store(sum, s);
}

PGMINT_TARGET_GHASH void sum_blocks(std::byte* sum, ByteView data, const std::byte* first_power) {
  const __m128i h = load(first_power);
  __m128i s = load(sum);
  for (std::size_t at = 0; at < data.size(); at += kBlock) s = multiply(_mm_xor_si128(s, reversed(load(data.data() + at))), h);
  store(sum, s);
}

PGMINT_TARGET_GHASH void reverse_into(std::byte* out, const std::byte* sum) { store(out, reversed(load(sum))); }

}  // namespace

bool Ghash::supported() {
  static const bool all = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
                          __builtin_cpu_supports("vpclmulqdq") && __builtin_cpu_supports("pclmul");
  return all;
}

void Ghash::start(const ByteArray<16>& h) {
  make_first_power(powers_.data() + kStep - kBlock, h.data());
  all_powers_ = false;
  sum_ = {};
  pending_size_ = 0;
  total_ = 0;
}

void Ghash::run_steps(ByteView data) {
  if (data.empty()) return;
  if (!std::exchange(all_powers_, true)) make_powers(powers_.data(), kStep / kBlock);
  sum_steps(sum_.data(), data, powers_.data(), kStep);
}

void Ghash::update(ByteView data) {
  total_ += data.size();
  if (pending_size_ != 0) {
    const auto taken = std::min(data.size(), kStep - pending_size_);
    std::ranges::copy(data.first(taken), pending_.begin() + static_cast<std::ptrdiff_t>(pending_size_));
    pending_size_ += taken;
    data = data.subspan(taken);
    if (pending_size_ < kStep) return;
    run_steps(pending_);
    pending_size_ = 0;
  }
  const auto whole = data.first(data.size() / kStep * kStep);
  run_steps(whole);
  data = data.subspan(whole.size());
  std::ranges::copy(data, pending_.begin());
  pending_size_ = data.size();
}

ByteArray<16> Ghash::finish() {
  const std::byte* const first_power = powers_.data() + kStep - kBlock;
  const std::size_t padded = (pending_size_ + kBlock - 1) / kBlock * kBlock;
  std::fill(pending_.begin() + static_cast<std::ptrdiff_t>(pending_size_), pending_.begin() + static_cast<std::ptrdiff_t>(padded), std::byte{0});
  sum_blocks(sum_.data(), ByteView(pending_).first(padded), first_power);
  ByteArray<kBlock> lengths{};  // bits of additional data, big-endian; none of the message
  for (std::size_t i = 0; i < 8; ++i) lengths[i] = static_cast<std::byte>(total_ * 8 >> (56 - 8 * i));
  sum_blocks(sum_.data(), lengths, first_power);
  ByteArray<kBlock> out;
  reverse_into(out.data(), sum_.data());
  return out;
}

#else

bool Ghash::supported() { return false; }
void Ghash::start(const ByteArray<16>&) { PGMINT_ASSERT(supported()); }
void Ghash::update(ByteView) { PGMINT_ASSERT(supported()); }
void Ghash::run_steps(ByteView) {}
ByteArray<16> Ghash::finish() {
  PGMINT_ASSERT(supported());
  return {};
}

#endif

Ghash::~Ghash() {
  wipe(powers_);
  wipe(pending_);
  wipe(sum_);
}

}  // namespace pgmint::crypto

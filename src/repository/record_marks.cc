#include "repository/record_marks.h"

#include <cstring>

namespace pgmint::repository {
namespace {

/// Multilinear hashing over a prime field: sum of key[i] * word[i] mod 2^61 - 1. For two different inputs of words below the
/// prime the sums agree for exactly one in 2^61 - 1 keys.
constexpr std::uint64_t kPrime = (std::uint64_t{1} << 61) - 1;
__extension__ using Wide = unsigned __int128;

std::uint64_t reduced(Wide x) {
  const auto folded = static_cast<std::uint64_t>(x & kPrime) + static_cast<std::uint64_t>(x >> 61);
  return folded >= kPrime ? folded - kPrime : folded;
}

std::uint32_t word_at(ByteView bytes, std::size_t i) {
  std::uint32_t word = 0;
  std::memcpy(&word, bytes.data() + 4 * i, 4);
  return word;
}

}  // namespace

RecordMarker::RecordMarker(RandomSource& random) {
  ByteArray<8 * kWords> drawn;
  random.fill(drawn);
  for (std::size_t i = 0; i < kWords; ++i) {
    std::memcpy(&key_[i], drawn.data() + 8 * i, 8);
    key_[i] = reduced(key_[i]);
  }
}

std::uint64_t RecordMarker::mark(const RecordLocation& l, ByteView fingerprint) const {
  PGMINT_ASSERT(fingerprint.empty() || fingerprint.size() == 16);
  std::uint64_t sum = 0;
  std::size_t i = 0;
  const auto add = [&](std::uint64_t word) { sum = reduced(Wide{key_[i++]} * word + sum); };
  add(l.offset);
  add(l.stored_length);
  add(l.raw_length);
  add(std::uint64_t{static_cast<std::uint8_t>(l.type)} << 9 | std::uint64_t{static_cast<std::uint8_t>(l.codec)} << 1 |
      (fingerprint.empty() ? 0 : 1));
  add(l.epoch.value());
  for (std::size_t w = 0; w < l.nonce.size() / 4; ++w) add(word_at(l.nonce, w));
  for (std::size_t w = 0; w < fingerprint.size() / 4; ++w) add(word_at(fingerprint, w));
  return sum;
}

}  // namespace pgmint::repository

// Which words of many tuples are worth a column of their own: shared by the encoders, never format.
#pragma once

#include <array>
#include <bit>
#include <cstdint>

namespace pgmint::codec {

enum class WordKind { Mixed, Regular, Constant };

/// Whether a word of each tuple is worth a column: one of its bytes is constant, three look random, or neighbours are near each other.
template <class Get>
WordKind judge_word(std::uint32_t count, const Get& get) {
  constexpr std::uint32_t kNearBits = 4;  // by so much must every difference be shorter than the words
  std::uint32_t varying = 0, steps = 0, step_bits = 0, previous = get(0);
  const std::uint32_t first = previous;
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::uint32_t word = get(i), difference = word - previous;
    varying |= word ^ first;
    const std::uint32_t step = difference << 1 ^ (0U - (difference >> 31));
    step_bits |= step;
    if (step <= 0xFFFF) ++steps;
    previous = word;
  }
  if (varying == 0) return WordKind::Constant;
  for (std::uint32_t k = 0; k < 4; ++k)
    if ((varying >> (8 * k) & 0xFF) == 0) return WordKind::Regular;
  if (steps * 10 >= count * 9 || std::bit_width(step_bits) + int{kNearBits} <= std::bit_width(varying)) return WordKind::Regular;

  std::array<std::array<std::uint64_t, 4>, 4> seen{};
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::uint32_t word = get(i);
    for (std::uint32_t k = 0; k < 4; ++k) {
      const std::uint32_t byte = word >> (8 * k) & 0xFF;
      seen[k][byte >> 6] |= std::uint64_t{1} << (byte & 63);
    }
  }
  std::uint32_t random = 0;
  for (const auto& bytes : seen) {
    std::uint32_t values = 0;
    for (const auto part : bytes) values += static_cast<std::uint32_t>(std::popcount(part));
    if (values * 2 >= count && values >= 6) ++random;
  }
  return random >= 3 ? WordKind::Regular : WordKind::Mixed;
}

}  // namespace pgmint::codec

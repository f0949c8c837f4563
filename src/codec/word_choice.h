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
  std::uint32_t varying = 0, steps = 0, longest_step = 0, previous = get(0);
  const std::uint32_t first = previous;
  std::array<std::array<std::uint64_t, 4>, 4> seen{};
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::uint32_t word = get(i);
    varying |= word ^ first;
    const std::uint32_t difference = word - previous;
    const auto bits = static_cast<std::uint32_t>(std::bit_width(difference << 1 ^ (0U - (difference >> 31))));
    longest_step = std::max(longest_step, bits);
    if (bits <= 16) ++steps;
    previous = word;
    for (std::uint32_t k = 0; k < 4; ++k) {
      const std::uint32_t byte = word >> (8 * k) & 0xFF;
      seen[k][byte >> 6] |= std::uint64_t{1} << (byte & 63);
    }
  }
  std::uint32_t constant = 0, random = 0;
  for (std::uint32_t k = 0; k < 4; ++k) {
    if ((varying >> (8 * k) & 0xFF) == 0) ++constant;
    std::uint32_t values = 0;
    for (const auto part : seen[k]) values += static_cast<std::uint32_t>(std::popcount(part));
    if (values * 2 >= count && values >= 6) ++random;
  }
  if (varying == 0) return WordKind::Constant;
  const bool near = steps * 10 >= count * 9 || longest_step + kNearBits <= static_cast<std::uint32_t>(std::bit_width(varying));
  return constant >= 1 || random >= 3 || near ? WordKind::Regular : WordKind::Mixed;
}

}  // namespace pgmint::codec

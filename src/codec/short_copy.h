// Copies of a few bytes.
#pragma once

#include "codec/cpu_dispatch.h"
#include "codec/page_layout.h"

namespace pgmint::codec {

/// 32 bytes at once.
using Lanes [[gnu::vector_size(32)]] = std::uint64_t;
inline constexpr std::uint32_t kLanes = sizeof(Lanes);

PGMINT_INLINE void copy_lanes(unsigned char* to, PagePointer from) {
  Lanes v;
  std::memcpy(&v, from, sizeof v);
  std::memcpy(to, &v, sizeof v);
}

/// Exactly n bytes, most often few: what lies behind them in the page is there already.
PGMINT_INLINE void copy_exactly(unsigned char* to, PagePointer from, std::uint32_t n) {
  if (n >= 16) {
    for (std::uint32_t i = 0; i + 16 <= n; i += 16) std::memcpy(to + i, from + i, 16);
    std::memcpy(to + n - 16, from + n - 16, 16);
  } else if (n >= 8) {
    const std::uint64_t head = load64(from), tail = load64(from + n - 8);
    store64(to, head);
    store64(to + n - 8, tail);
  } else if (n >= 4) {
    const std::uint32_t head = load32(from), tail = load32(from + n - 4);
    store32(to, head);
    store32(to + n - 4, tail);
  } else {
    for (std::uint32_t i = 0; i < n; ++i) to[i] = from[i];
  }
}

}  // namespace pgmint::codec

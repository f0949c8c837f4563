// The seed of a random test: drawn afresh, or PGMINT_TEST_SEED to replay. Included by tests only.
#pragma once

#include <cstdint>
#include <cstdlib>

#include "base/random.h"

namespace pgmint {

/// Print it with a failure: SCOPED_TRACE(fmt::format("PGMINT_TEST_SEED={}", seed)).
inline std::uint64_t test_seed() {
  const char* given = std::getenv("PGMINT_TEST_SEED");
  return given != nullptr ? std::strtoull(given, nullptr, 10) : system_random().u64();
}

inline Bytes random_bytes(SeededRandom& random, std::size_t size) {
  Bytes bytes(size);
  random.fill(bytes);
  return bytes;
}

}  // namespace pgmint

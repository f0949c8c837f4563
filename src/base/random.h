// Randomness as a dependency: the kernel's in production, a seeded generator in simulation.
#pragma once

#include <cstdint>

#include "base/bytes.h"

namespace pgmint {

class RandomSource {
 public:
  virtual ~RandomSource() = default;
  /// Fills the whole view. Aborts when the kernel has no randomness: there is no safe way to go on.
  virtual void fill(MutableByteView out) = 0;

  template <class Id>
  Id id() {
    Id value;
    fill(value.bytes);
    return value;
  }
  std::uint64_t u64();
};

/// getrandom(2), drawn in batches per thread (never shared across fork). Thread-safe.
RandomSource& system_random();

/// Deterministic, for tests only: SplitMix64 from a seed. Not thread-safe.
class SeededRandom final : public RandomSource {
 public:
  explicit SeededRandom(std::uint64_t seed) : state_(seed) {}
  void fill(MutableByteView out) override;
  std::uint64_t next();
  /// Uniform in [0, bound); bound > 0.
  std::uint64_t below(std::uint64_t bound) { return next() % bound; }

 private:
  std::uint64_t state_;
};

}  // namespace pgmint

// Key material: 32 bytes in memory that is locked and in no core dump, wiped when they go. Decision: docs/adr/0040-where-keys-lie.md
#pragma once

#include <memory>

#include "base/bytes.h"
#include "base/random.h"

namespace pgmint::crypto {

/// A 256-bit key. Copies are explicit (clone), the destructor wipes, and there is no way to print one.
class Key256 {
 public:
  static constexpr std::size_t kSize = 32;
  Key256() = default;  ///< all zero: a placeholder, refused by every primitive's PGMINT_ASSERT(!is_zero())
  Key256(Key256&& other) noexcept;
  Key256& operator=(Key256&& other) noexcept;
  Key256(const Key256&) = delete;
  Key256& operator=(const Key256&) = delete;
  ~Key256();

  static Key256 generate(RandomSource& random);
  /// @errors Corruption unless exactly 32 bytes
  static Result<Key256> from_bytes(ByteView raw);
  Key256 clone() const;
  ByteView bytes() const;
  bool is_zero() const;

 private:
  struct Release {
    void operator()(std::byte* place) const;
  };
  MutableByteView own();
  /// In the heap for secrets; null: all zero.
  std::unique_ptr<std::byte, Release> place_;
};

/// The heap for secrets is locked: keys are not written to swap. False where the process may not lock memory (ulimit -l), or the heap was full.
bool keys_are_locked();

/// Overwrites so that the compiler cannot leave it out (OPENSSL_cleanse).
void wipe(MutableByteView bytes);
/// Constant time in the contents; false at once when sizes differ.
bool equal_constant_time(ByteView a, ByteView b);

}  // namespace pgmint::crypto

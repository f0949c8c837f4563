// Key material: 32 bytes that are wiped when they go.
#pragma once

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
  ByteView bytes() const { return bytes_; }
  bool is_zero() const;

 private:
  ByteArray<kSize> bytes_{};
};

/// Overwrites so that the compiler cannot leave it out (OPENSSL_cleanse).
void wipe(MutableByteView bytes);
/// Constant time in the contents; false at once when sizes differ.
bool equal_constant_time(ByteView a, ByteView b);

}  // namespace pgmint::crypto

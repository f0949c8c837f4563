// GHASH (NIST SP 800-38D) by AVX-512 and VPCLMULQDQ: the universal hash of GCM and GMAC, 32 blocks at a time. OpenSSL 3.0 has no such path, and
// a fingerprint is taken of every byte of a database. Private to crypto.
#pragma once

#include "base/bytes.h"

namespace pgmint::crypto {

/// Constant time in contents and key. Not thread-safe; may be started again and again.
class Ghash {
 public:
  /// Whether this CPU and build can run it.
  static bool supported();

  Ghash() = default;
  Ghash(const Ghash&) = delete;
  Ghash& operator=(const Ghash&) = delete;
  ~Ghash();  ///< wipes

  /// @param h  the hash key: the encryption of a block of zeros
  void start(const ByteArray<16>& h);
  void update(ByteView data);
  /// The hash of everything since start(), as additional data of an empty message.
  ByteArray<16> finish();

 private:
  void run_steps(ByteView data);

  static constexpr std::size_t kStep = 512;
  alignas(64) ByteArray<kStep> powers_{};   ///< the key to the power of 32, 31, ... 1, in the order of the blocks
  alignas(64) ByteArray<kStep> pending_{};  ///< what does not fill a step yet
  alignas(16) ByteArray<16> sum_{};
  bool all_powers_ = false;  ///< made by the first whole step; before it only the last one
  std::size_t pending_size_ = 0;
  std::uint64_t total_ = 0;
};

}  // namespace pgmint::crypto

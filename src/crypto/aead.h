// Authenticated encryption: XAES-256-GCM (C2SP), 192-bit random nonces, 128-bit tags.
#pragma once

#include <memory>

#include "crypto/secret.h"

namespace pgmint::crypto {

using Nonce = ByteArray<24>;
constexpr std::size_t kNonceSize = 24;
constexpr std::size_t kTagSize = 16;
/// A sealed piece is nonce | ciphertext | tag: plain size + kSealOverhead.
constexpr std::size_t kSealOverhead = kNonceSize + kTagSize;

/// Seals and opens under one key. Spec: C2SP XAES-256-GCM; the AES-256-CMAC subkey schedule is done once here, the
/// per-nonce derivation costs two AES blocks and one AES-256-GCM key set-up.
/// Not thread-safe (holds cipher contexts): one per worker, clone() is cheap.
class Aead {
 public:
  explicit Aead(const Key256& key);
  Aead(Aead&&) noexcept;
  Aead& operator=(Aead&&) noexcept;
  ~Aead();
  Aead clone() const;

  /// Writes plain.size() bytes of ciphertext followed by the tag to `out` (plain.size() + kTagSize bytes). `plain` may be
  /// the front of `out` itself (in place).
  void seal(const Nonce& nonce, ByteView aad, ByteView plain, MutableByteView out);
  /// The inverse: `sealed` is ciphertext | tag, `out` takes sealed.size() - kTagSize bytes, which may be the front of the same
  /// memory. On failure `out` is wiped. @errors Corruption
  Status open(const Nonce& nonce, ByteView aad, ByteView sealed, MutableByteView out);

  /// nonce | ciphertext | tag with a nonce drawn from `random`.
  Bytes seal_with_random_nonce(RandomSource& random, ByteView aad, ByteView plain);
  /// The inverse. @errors Corruption (too short, or not authentic)
  Result<Bytes> open_with_nonce(ByteView aad, ByteView nonce_and_sealed);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Fingerprints of plaintext that only the key's owner can compute, one per nonce: GMAC under AES-256-GCM with a subkey
/// derived as in XAES, so that a 192-bit nonce may be used. Equality of contents for --delta and refresh.
/// Not thread-safe: one per worker.
class Gmac {
 public:
  explicit Gmac(const Key256& key);
  Gmac(Gmac&&) noexcept;
  Gmac& operator=(Gmac&&) noexcept;
  ~Gmac();
  ByteArray<16> compute(const Nonce& nonce, ByteView data);

  /// The same in pieces: start, update as often as wanted, finish.
  void start(const Nonce& nonce);
  void update(ByteView data);
  ByteArray<16> finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace pgmint::crypto

// Ed25519: who wrote a log entry.
#pragma once

#include "crypto/secret.h"

namespace pgmint::crypto {

using PublicKey = ByteArray<32>;
using Signature = ByteArray<64>;

/// Signs for one actor. The seed is a Key256 and is what key bundles store.
class SigningKey {
 public:
  explicit SigningKey(Key256 seed);
  const PublicKey& public_key() const { return public_key_; }
  const Key256& seed() const { return seed_; }
  Signature sign(ByteView message) const;

 private:
  Key256 seed_;
  PublicKey public_key_{};
};

bool verify_signature(const PublicKey& key, ByteView message, const Signature& signature);

}  // namespace pgmint::crypto

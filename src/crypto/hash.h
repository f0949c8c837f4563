// SHA-256, HMAC-SHA-256, HKDF, scrypt, key commitments.
#pragma once

#include <memory>

#include "crypto/secret.h"

namespace pgmint::crypto {

using Digest = ByteArray<32>;

Digest sha256(ByteView data);

/// Incremental SHA-256. Not thread-safe; finish() once.
class Sha256 {
 public:
  Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;
  ~Sha256();
  void update(ByteView data);
  Digest finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

Digest hmac_sha256(const Key256& key, ByteView data);

/// Incremental HMAC-SHA-256. Not thread-safe; finish() once.
class HmacSha256 {
 public:
  explicit HmacSha256(const Key256& key);
  HmacSha256(HmacSha256&&) noexcept;
  HmacSha256& operator=(HmacSha256&&) noexcept;
  ~HmacSha256();
  void update(ByteView data);
  Digest finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};
/// HKDF-SHA-256 (RFC 5869) with an empty salt: one 256-bit key for `purpose`.
Key256 derive_key(const Key256& key, std::string_view purpose);
/// HMAC-SHA-256(key, "pgmint key commitment v1"): stands beside every wrapped key since GCM does not commit.
Digest key_commitment(const Key256& key);

/// Cost of a passphrase slot. Defaults: N = 2^17, r = 8, p = 1 (128 MiB, about 0.4 s).
struct ScryptCost {
  std::uint32_t log2_n = 17;
  std::uint32_t r = 8;
  std::uint32_t p = 1;
};
/// scrypt with an explicit memory limit (OpenSSL's default fails from N = 2^15). Costs outside log2_n 10..22, r 1..32,
/// p 1..16, or above 1 GiB (128 N r) together, are refused, so that a hostile slot cannot take all memory. @errors Corruption (cost out of range), Internal
Result<Key256> scrypt(std::string_view passphrase, ByteView salt, ScryptCost cost);

}  // namespace pgmint::crypto

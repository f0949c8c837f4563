#include "crypto/secret.h"

#include <fmt/format.h>
#include <openssl/crypto.h>

#include <algorithm>

namespace pgmint::crypto {

Key256::Key256(Key256&& other) noexcept : bytes_(other.bytes_) {
  wipe(other.bytes_);
}

Key256& Key256::operator=(Key256&& other) noexcept {
  if (this != &other) {
    bytes_ = other.bytes_;
    wipe(other.bytes_);
  }
  return *this;
}

Key256::~Key256() {
  wipe(bytes_);
}

Key256 Key256::generate(RandomSource& random) {
  Key256 key;
  random.fill(key.bytes_);
  return key;
}

Result<Key256> Key256::from_bytes(ByteView raw) {
  if (raw.size() != kSize)
    return Error(Errc::Corruption, fmt::format("a key has {} bytes, this one {}", kSize, raw.size()));
  Key256 key;
  std::ranges::copy(raw, key.bytes_.begin());
  return key;
}

Key256 Key256::clone() const {
  Key256 key;
  key.bytes_ = bytes_;
  return key;
}

bool Key256::is_zero() const {
  // No early exit: how long it takes must not tell where the first set bit is.
  std::byte any{};
  for (const std::byte b : bytes_) any |= b;
  return any == std::byte{};
}

void wipe(MutableByteView bytes) {
  OPENSSL_cleanse(bytes.data(), bytes.size());
}

bool equal_constant_time(ByteView a, ByteView b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace pgmint::crypto

#include "crypto/signature.h"

#include <openssl/err.h>

#include "crypto/openssl_handles.h"

namespace pgmint::crypto {

namespace {

PrivateOrPublicKey load_private(const Key256& seed) {
  PrivateOrPublicKey key(
      EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, as_u8(seed.bytes()), seed.bytes().size()));
  require(key != nullptr, "load an Ed25519 key");
  return key;
}

}  // namespace

SigningKey::SigningKey(Key256 seed) : seed_(std::move(seed)) {
  PGMINT_ASSERT(!seed_.is_zero());
  const auto key = load_private(seed_);
  std::size_t size = public_key_.size();
  require(EVP_PKEY_get_raw_public_key(key.get(), as_u8(MutableByteView(public_key_)), &size) == 1 &&
              size == public_key_.size(),
          "derive an Ed25519 public key");
}

Signature SigningKey::sign(ByteView message) const {
  const auto key = load_private(seed_);
  const DigestContext context(EVP_MD_CTX_new());
  require(context != nullptr && EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, key.get()) == 1,
          "start an Ed25519 signature");
  Signature signature;
  std::size_t size = signature.size();
  require(
      EVP_DigestSign(context.get(), as_u8(MutableByteView(signature)), &size, as_u8(message), message.size()) == 1 &&
          size == signature.size(),
      "sign with Ed25519");
  return signature;
}

bool verify_signature(const PublicKey& key, ByteView message, const Signature& signature) {
  const PrivateOrPublicKey loaded(
      EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, as_u8(ByteView(key)), key.size()));
  const DigestContext context(EVP_MD_CTX_new());
  require(loaded != nullptr && context != nullptr, "load an Ed25519 public key");
  require(EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, loaded.get()) == 1, "start an Ed25519 check");
  const int outcome =
      EVP_DigestVerify(context.get(), as_u8(ByteView(signature)), signature.size(), as_u8(message), message.size());
  ERR_clear_error();  // a wrong signature or key leaves its reason behind for whoever asks next
  return outcome == 1;
}

}  // namespace pgmint::crypto

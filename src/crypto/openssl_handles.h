// OpenSSL objects with owners, and its algorithms fetched once per process. Included by .cc files of this folder only.
#pragma once

#include <openssl/evp.h>
#include <openssl/kdf.h>

#include <memory>

namespace pgmint::crypto {

template <auto Free>
struct OpensslFree {
  template <class T>
  void operator()(T* object) const {
    Free(object);
  }
};

using CipherContext = std::unique_ptr<EVP_CIPHER_CTX, OpensslFree<EVP_CIPHER_CTX_free>>;
using DigestContext = std::unique_ptr<EVP_MD_CTX, OpensslFree<EVP_MD_CTX_free>>;
using MacContext = std::unique_ptr<EVP_MAC_CTX, OpensslFree<EVP_MAC_CTX_free>>;
using KdfContext = std::unique_ptr<EVP_KDF_CTX, OpensslFree<EVP_KDF_CTX_free>>;
using PrivateOrPublicKey = std::unique_ptr<EVP_PKEY, OpensslFree<EVP_PKEY_free>>;

/// Fetching walks the provider tables under a lock (microseconds), so it is done once; the objects live as long as the
/// process. Thread-safe.
const EVP_CIPHER* aes_256_gcm();
const EVP_CIPHER* aes_256_ecb();
const EVP_MD* sha_256();
EVP_MAC* hmac();
EVP_KDF* hkdf();

/// For calls that fail only when memory or our own arguments are wrong: going on would mean writing unsealed or
/// unauthenticated data, so it ends the process with OpenSSL's reason.
void require(bool succeeded, const char* what);

}  // namespace pgmint::crypto

#include "crypto/openssl_handles.h"

#include <openssl/err.h>

#include "base/error.h"
#include "base/log.h"

namespace pgmint::crypto {

const EVP_CIPHER* aes_256_gcm() {
  static const EVP_CIPHER* const cipher = EVP_CIPHER_fetch(nullptr, "AES-256-GCM", nullptr);
  require(cipher != nullptr, "fetch AES-256-GCM");
  return cipher;
}

const EVP_CIPHER* aes_256_ecb() {
  static const EVP_CIPHER* const cipher = EVP_CIPHER_fetch(nullptr, "AES-256-ECB", nullptr);
  require(cipher != nullptr, "fetch AES-256-ECB");
  return cipher;
}

const EVP_MD* sha_256() {
  static const EVP_MD* const digest = EVP_MD_fetch(nullptr, "SHA2-256", nullptr);
  require(digest != nullptr, "fetch SHA-256");
  return digest;
}

EVP_MAC* hmac() {
  static EVP_MAC* const mac = EVP_MAC_fetch(nullptr, "HMAC", nullptr);
  require(mac != nullptr, "fetch HMAC");
  return mac;
}

EVP_KDF* hkdf() {
  static EVP_KDF* const kdf = EVP_KDF_fetch(nullptr, "HKDF", nullptr);
  require(kdf != nullptr, "fetch HKDF");
  return kdf;
}

void require(bool succeeded, const char* what) {
  if (succeeded) return;
  char reason[256] = "no reason given";
  if (const unsigned long code = ERR_get_error(); code != 0) ERR_error_string_n(code, reason, sizeof reason);
  log_error("OpenSSL cannot {}: {}", what, reason);
  PGMINT_ASSERT(succeeded);
}

}  // namespace pgmint::crypto

#include "crypto/hmac.h"

#include <openssl/evp.h>

namespace pgmint::crypto {

Digest hmac_sha256(ByteView key, ByteView data) {
  PGMINT_ASSERT(!key.empty());
  Digest digest{};
  std::size_t size = 0;
  const auto* made = ::EVP_Q_mac(nullptr, "HMAC", nullptr, "SHA256", nullptr, key.data(), key.size(),
                                 reinterpret_cast<const unsigned char*>(data.data()), data.size(), reinterpret_cast<unsigned char*>(digest.data()),
                                 digest.size(), &size);
  PGMINT_ASSERT(made != nullptr && size == digest.size());
  return digest;
}

}  // namespace pgmint::crypto

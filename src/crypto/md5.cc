#include "crypto/md5.h"

#include <openssl/evp.h>

namespace pgmint::crypto {

Result<ByteArray<16>> md5(ByteView data) {
  ByteArray<16> digest{};
  if (::EVP_Digest(data.data(), data.size(), as_u8(MutableByteView(digest)), nullptr, ::EVP_md5(), nullptr) != 1)
    return Error(Errc::Precondition, "OpenSSL gives no MD5, which the store asks for", Hint{"is OpenSSL in FIPS mode?"});
  return digest;
}

}  // namespace pgmint::crypto

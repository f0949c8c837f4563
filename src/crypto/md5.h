// MD5, which S3 asks for with one request to find bytes that changed on the way. Nothing rests on it.
#pragma once

#include "base/bytes.h"

namespace pgmint::crypto {

/// RFC 1321. @errors Precondition (an OpenSSL in FIPS mode has none)
Result<ByteArray<16>> md5(ByteView data);

}  // namespace pgmint::crypto

// HMAC-SHA-256 under a secret of any length, as others compute it: for messages to them. Ours have keys of 256 bits (hash.h).
#pragma once

#include "crypto/hash.h"

namespace pgmint::crypto {

/// RFC 2104. @param key  not empty
Digest hmac_sha256(ByteView key, ByteView data);

}  // namespace pgmint::crypto

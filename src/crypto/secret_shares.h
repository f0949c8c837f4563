// A secret as shares, of which so many give it back and fewer say nothing of it: Shamir's scheme over GF(2^8), byte by byte, by libgfshare.
#pragma once

#include <span>
#include <vector>

#include "crypto/secret.h"

namespace pgmint::crypto {

inline constexpr unsigned kSharesMax = 32;

/// The value of each byte's polynomial at `number`.
struct SecretShare {
  std::uint8_t number = 0;  ///< 1 to kSharesMax
  Key256 value;
};

/// @param needed  2 to count  @param count  at most kSharesMax
std::vector<SecretShare> split_secret(const Key256& secret, unsigned needed, unsigned count, RandomSource& random);
/// From as many shares as are needed, or more; from fewer, or from changed ones, it is some other secret. Their numbers differ, and none is 0.
Key256 join_shares(std::span<const SecretShare* const> shares);

}  // namespace pgmint::crypto

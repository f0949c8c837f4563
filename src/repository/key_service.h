// What the repository asks of a service that wraps keys and keeps the wrapping key to itself, such as AWS KMS, Vault or a PKCS#11 token. Implemented above, where
// requests may be made. What a slot keeps of it: docs/format/keys.md.
#pragma once

#include <optional>
#include <string>

#include "repository/keys.h"

namespace pgmint::repository {

/// Larger ones are no slot's.
inline constexpr std::size_t kServiceKeyNameMax = 2048;
inline constexpr std::size_t kWrappedKeyMax = 6144;

struct ServiceKey {
  crypto::Key256 key;
  std::string name;  ///< of the wrapping key, as the service gives it
  Bytes wrapped;     ///< what the service needs to give `key` again
};

/// Speaks for one wrapping key. Every key that it wraps is bound to one repository. Not thread-safe.
class KeyService {
 public:
  virtual ~KeyService() = default;
  virtual KeyProvider provider() const = 0;
  /// Draws a key and wraps it. @errors Key (refused), Storage (not reached), Configuration
  virtual Result<ServiceKey> make_key(const RepositoryId& repository) = 0;
  /// nullopt: another wrapping key wrapped it. @errors Key (refused: by right, or since the key is gone, disabled, or not this repository's), Storage, Configuration
  virtual Result<std::optional<crypto::Key256>> unwrap(const std::string& name, ByteView wrapped, const RepositoryId& repository) = 0;
};

}  // namespace pgmint::repository

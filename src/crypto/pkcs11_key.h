// One AES key in a PKCS#11 token, by which keys of 256 bits are wrapped. Format of what it gives: docs/format/keys.md.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/random.h"
#include "crypto/secret.h"

namespace pgmint::crypto {

class Pkcs11Module;

/// Which key of which token, as RFC 7512 names them; what is absent may be anything.
struct TokenKeyName {
  std::optional<std::string> token, manufacturer, serial, model;
  std::optional<unsigned long> slot;
  std::optional<std::string> object;
  std::optional<Bytes> id;
};

/// Asked once the PIN is needed.
struct PinSource {
  std::function<Result<std::string>()> get;  ///< whoever gets it wipes it
  std::function<void()> refused{};           ///< told that the token did not take what `get` gave
};

/// A session, logged in, and the key. Not thread-safe. Borrows the module. The wrapping key is never asked for.
class Pkcs11Key {
 public:
  /// A PIN is tried once at most, and not at all where one wrong try more would lock the token.
  /// @errors Storage (no such token is there), Key (PIN, no such key), Configuration (several tokens or keys; no PIN)
  static Result<std::unique_ptr<Pkcs11Key>> open(Pkcs11Module& module, const TokenKeyName& name, const PinSource& pin);
  virtual ~Pkcs11Key() = default;

  /// In full: token, serial, object, id.
  virtual const TokenKeyName& name() const = 0;
  /// It is an AES key of 256 bits that cannot be taken out of the token. @errors Key
  virtual Status expect_fit() = 0;
  /// @errors Key, Storage
  virtual Result<Bytes> wrap(const Key256& key, ByteView bound_to, RandomSource& random) = 0;
  /// nullopt: not wrapped by this key, or not for this, or not what it was. @errors Key, Storage
  virtual Result<std::optional<Key256>> unwrap(ByteView wrapped, ByteView bound_to) = 0;
};

}  // namespace pgmint::crypto

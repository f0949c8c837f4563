// Vault's transit engine: keys of 256 bits that one of its keys wraps. Source: Vault's HTTP API reference, "Transit".
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "crypto/secret.h"
#include "http/vault_session.h"

namespace pgmint::http {

/// Speaks for one key of one mount. Borrows `session`. Not thread-safe.
///
/// Whatever is wrapped is bound to a text: as `associated_data`, which keys that authenticate take, and as `context`, from which derived keys
/// follow. A key that can do neither binds nothing, and Vault says so only in part: who wraps tries another binding (expect_bound).
class VaultTransit {
 public:
  VaultTransit(VaultSession& session, std::string mount, std::string key) : session_(session), mount_(std::move(mount)), key_(std::move(key)) {}

  /// The key is there. Otherwise encrypt() might make one, where the token may. @errors as VaultSession::post, Key (it is not)
  Status expect_key();
  /// What Vault calls the ciphertext: "vault:v1:...". @errors as VaultSession::post, Key (refused)
  Result<std::string> encrypt(const crypto::Key256& key, std::string_view binding);

  struct Opened {
    std::optional<crypto::Key256> key;  ///< nullopt: not wrapped by this key for this binding, or not what it was
    std::string said;                   ///< by Vault, then
  };
  /// @errors as VaultSession::post, Key (the key, or its version, is gone or not allowed)
  Result<Opened> decrypt(std::string_view wrapped, std::string_view binding);
  /// That `wrapped` does not open for another binding. @errors Key (it does: this Vault or key binds nothing)
  Status expect_bound(std::string_view wrapped, std::string_view other_binding);

 private:
  Result<VaultAnswer> ask(const char* action, std::string_view field, std::string_view value, std::string_view binding);
  std::string what(std::string_view action) const;

  VaultSession& session_;
  const std::string mount_, key_;
};

}  // namespace pgmint::http

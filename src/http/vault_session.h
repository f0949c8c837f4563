// Requests to HashiCorp Vault and the token that they carry: given, or logged in for by AppRole. Source: Vault's HTTP API reference, "AppRole" and
// "Token auth method".
#pragma once

#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/error.h"
#include "base/bytes.h"

namespace pgmint::http {

class Client;

/// Where Vault is, and who we are to it: a token, or an AppRole.
struct VaultIdentity {
  std::string address;         ///< "https://vault.example:8200"
  std::string name_space{};    ///< empty: the root's
  std::string token{};
  std::string token_source{};  ///< for messages: where the token stands
  std::string role_id{}, secret_id{};
  std::string approle_mount = "approle";
};

/// Wiped when it goes: it may hold a secret.
struct VaultAnswer {
  VaultAnswer(int with_status, Bytes with_body) : status(with_status), body(std::move(with_body)) {}
  VaultAnswer(VaultAnswer&&) = default;
  VaultAnswer& operator=(VaultAnswer&&) = default;
  ~VaultAnswer();

  int status = 0;
  Bytes body;        ///< JSON
  std::string said;  ///< what a refusal says, as it may be shown
  bool success() const { return status >= 200 && status < 300; }
  /// {"outer": {"name": "this"}}; empty when there is no such text. Whoever gets a secret wipes it.
  std::string text(const char* outer, const char* name) const;
};

/// One command's dealings with Vault. Borrows `client` and `clock`. Not thread-safe. A token that it logged in for ends with it; a given one is renewed
/// when it nears its end. No secret stays in memory behind it, nor comes into a message.
class VaultSession {
 public:
  VaultSession(Client& client, Clock& clock, VaultIdentity identity);
  VaultSession(const VaultSession&) = delete;
  VaultSession& operator=(const VaultSession&) = delete;
  ~VaultSession();

  /// POSTs JSON to /v1/`path`; what may be sent twice only, since an outage is met by trying again. Any refusal that no repetition changes is an answer,
  /// but for 403 and 404. @param what  for messages: what is done, on what
  /// @errors Key (403, 404, a login that is refused), Storage (not reached, sealed, overloaded, not the active node), Configuration (a certificate)
  Result<VaultAnswer> post(const std::string& path, std::string_view body, const std::string& what);

  const std::string& address() const { return identity_.address; }

 private:
  Status log_in();
  Result<VaultAnswer> repeated(std::string_view method, const std::string& path, std::string_view body, const std::string& what);
  Result<VaultAnswer> once(std::string_view method, const std::string& path, std::string_view body, const std::string& what);
  void look_after_token();
  Error refused(const VaultAnswer& answer, const std::string& path, const std::string& what) const;

  Client& client_;
  Clock& clock_;
  VaultIdentity identity_;
  bool logged_in_ = false;  ///< the token is our own, and of the kind that ends by being revoked
  bool looked_after_ = false;
};

}  // namespace pgmint::http

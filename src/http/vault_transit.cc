#include "http/vault_transit.h"

#include <fmt/format.h>

#include <algorithm>

#include "http/base64.h"
#include "http/client.h"

namespace pgmint::http {

namespace {

/// Has the form of what version 1 of a key wraps, and was wrapped by none.
const std::string& nobodys() {
  static const std::string text = "vault:v1:" + base64(Bytes(60));
  return text;
}

bool says(const VaultAnswer& answer, std::string_view words) { return answer.said.find(words) != std::string::npos; }

/// Vault's ciphertexts are one word of visible characters; anything else is none, and would need care in JSON.
bool may_be_wrapped(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) { return c > ' ' && c <= '~' && c != '"' && c != '\\'; });
}

}  // namespace

std::string VaultTransit::what(std::string_view action) const { return fmt::format("Vault {}, {} with {}/{}", authority_of(session_.address()), action, mount_, key_); }

Result<VaultAnswer> VaultTransit::ask(const char* action, std::string_view field, std::string_view value, std::string_view binding) {
  const auto bound = base64(as_bytes(binding));
  auto body = fmt::format("{{\"{}\":\"{}\",\"context\":\"{}\",\"associated_data\":\"{}\"}}", field, value, bound, bound);
  auto answer = session_.post(fmt::format("{}/{}/{}", percent_encoded(mount_, true), action, percent_encoded(key_)), body, what(action));
  crypto::wipe(std::as_writable_bytes(std::span(body.data(), body.size())));
  return answer;
}

Status VaultTransit::expect_key() {
  const auto answer = TRY(ask("decrypt", "ciphertext", nobodys(), "pgmint"));
  // Newer ones say "encryption key not found", older ones "policy not found".
  if (answer.success() || !says(answer, "not found")) return ok();
  return Error(Errc::Key, fmt::format("{}: {}", what("decrypt"), answer.said), Hint{fmt::format("make the key: vault write -f {}/keys/{}", mount_, key_)});
}

Result<std::string> VaultTransit::encrypt(const crypto::Key256& key, std::string_view binding) {
  auto plain = base64(key.bytes());
  auto asked = ask("encrypt", "plaintext", plain, binding);
  crypto::wipe(std::as_writable_bytes(std::span(plain.data(), plain.size())));
  const auto answer = TRY(std::move(asked));
  if (!answer.success())
    return Error(Errc::Key, fmt::format("{}: status {}: {}", what("encrypt"), answer.status, answer.said),
                 Hint{fmt::format("the key must authenticate what it encrypts: type aes256-gcm96 (the default) or chacha20-poly1305; vault read {}/keys/{}", mount_, key_)});
  auto wrapped = answer.text("data", "ciphertext");
  if (!may_be_wrapped(wrapped)) return Error(Errc::Storage, fmt::format("{}: no answer that can be read", what("encrypt")));
  return wrapped;
}

Result<VaultTransit::Opened> VaultTransit::decrypt(std::string_view wrapped, std::string_view binding) {
  if (!may_be_wrapped(wrapped)) return Opened{std::nullopt, "it is no ciphertext of Vault's"};
  const auto answer = TRY(ask("decrypt", "ciphertext", wrapped, binding));
  if (answer.success()) {
    auto text = answer.text("data", "plaintext");
    auto bytes = from_base64(text);
    crypto::wipe(std::as_writable_bytes(std::span(text.data(), text.size())));
    if (!bytes) return Error(Errc::Storage, fmt::format("{}: no answer that can be read", what("decrypt")));
    auto key = crypto::Key256::from_bytes(*bytes);
    crypto::wipe(*bytes);
    if (!key || key->is_zero()) return Error(Errc::Key, fmt::format("{}: gives something else than a key of 256 bits", what("decrypt")));
    return Opened{std::move(*key), ""};
  }
  const auto text = fmt::format("{}: status {}: {}", what("decrypt"), answer.status, answer.said);
  if (says(answer, "not found"))
    return Error(Errc::Key, text, Hint{"what a deleted key wrapped is lost, unless Vault is brought back from a snapshot (vault operator raft snapshot restore): another slot or "
                                       "the recovery key opens the repository"});
  if (says(answer, "too old"))
    return Error(Errc::Key, text,
                 Hint{fmt::format("allow the version that wrapped this slot ({}): vault write {}/keys/{}/config min_decryption_version=N; then let the newest one wrap: pgmint key rotate --root",
                                  wrapped.substr(0, std::min(wrapped.find_last_of(':'), std::size_t{32})), mount_, key_)});
  if (says(answer, "too new"))
    return Error(Errc::Key, text, Hint{"this Vault's key has not the version that wrapped this slot: it is another Vault, or an older state of it; another slot or the recovery key opens the repository"});
  return Opened{std::nullopt, answer.said.empty() ? fmt::format("status {}", answer.status) : answer.said};
}

Status VaultTransit::expect_bound(std::string_view wrapped, std::string_view other_binding) {
  const auto opened = TRY(decrypt(wrapped, other_binding));
  if (!opened.key) return ok();
  return Error(Errc::Key, fmt::format("{}: opens for another repository what was wrapped for this one", what("decrypt")),
               Hint{"Vault before 1.13 does not bind by associated_data: update it, or make a derived key: vault write -f transit/keys/KEY derived=true"});
}

}  // namespace pgmint::http

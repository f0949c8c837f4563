#include "cli/vault_keys.h"

#include <fmt/format.h>

#include "cli/key_uris.h"
#include "repository/key_service.h"

namespace pgmint::cli {
namespace {

constexpr std::string_view kScheme = "vault:///";

bool may_stand_in_a_path(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '/' || c == '_' || c == '-' || c == '.';
}

}  // namespace

Result<VaultKey> parse_vault_uri(std::string_view uri) {
  const auto wrong = [&] {
    return Error(Errc::Usage, fmt::format("\"{}\" is not the URI of a key of Vault's transit engine", uri), Hint{"vault:///transit/KEY, or vault:///MOUNT/KEY"});
  };
  if (!uri.starts_with(kScheme) || uri.size() > repository::kServiceKeyNameMax) return wrong();
  const auto path = uri.substr(kScheme.size());
  const auto slash = path.rfind('/');
  if (slash == std::string_view::npos || slash == 0 || slash + 1 == path.size()) return wrong();
  if (path.front() == '/' || path.find("//") != std::string_view::npos || !std::ranges::all_of(path, may_stand_in_a_path)) return wrong();
  // A path that means another one would be sent as it is.
  for (std::size_t at = 0; at <= path.size(); at = path.find('/', at) == std::string_view::npos ? path.size() + 1 : path.find('/', at) + 1) {
    const auto part = path.substr(at, path.find('/', at) - at);
    if (part == "." || part == "..") return wrong();
  }
  return VaultKey{std::string(path.substr(0, slash)), std::string(path.substr(slash + 1))};
}

const std::vector<Key<VaultSettings>>& vault_keys() {
  using T = VaultSettings;
  static const std::vector<Key<T>> keys = {
      {"address", "URL", "Where Vault listens, such as \"https://vault.example:8200\". Absent: VAULT_ADDR. http:// is for this host alone.",
       [](T& t, const Value& v) { return read_service_url(t.address, v); }},
      {"namespace", "text", "The namespace of everything that is asked for. Absent: VAULT_NAMESPACE, else the root's.",
       [](T& t, const Value& v) { return assign(t.name_space, v.line()); }},
      {"ca_file", "path", "Certificates to trust, in PEM, and no others. Absent: VAULT_CACERT, else the system's.",
       [](T& t, const Value& v) { return assign(t.ca_file, v.absolute_path()); }},
      {"tls_min", "\"1.2\" or \"1.3\"", "The oldest TLS to speak. Default: \"1.3\"; doctor warns of \"1.2\".",
       [](T& t, const Value& v) { return one_of(t.tls_min, v, {"1.2", "1.3"}); }},
      {"token_file", "path", "A file whose first line is the token, as Vault Agent writes it. Absent, and without role_id: VAULT_TOKEN. It is renewed when it nears its end and may be.",
       [](T& t, const Value& v) { return assign(t.token_file, v.absolute_path()); }},
      {"role_id", "text", "Log in by AppRole, as this role, in place of a token.", [](T& t, const Value& v) { return assign(t.role_id, v.line()); }},
      {"secret_id_file", "path", "Belongs to role_id: a file whose first line is the secret id.",
       [](T& t, const Value& v) { return assign(t.secret_id_file, v.absolute_path()); }},
      {"approle_mount", "text", "Where AppRole is mounted. Default: \"approle\".", [](T& t, const Value& v) { return assign(t.approle_mount, v.line()); }},
  };
  return keys;
}

}  // namespace pgmint::cli

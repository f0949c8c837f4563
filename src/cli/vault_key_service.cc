// Vault's transit engine as a key service. Format of what a slot keeps: docs/format/keys.md. Decision: docs/adr/0029-vault-and-tokens.md
#include <fmt/format.h>

#include "base/random.h"
#include "cli/key_services.h"
#include "cli/key_uris.h"
#include "cli/secrets.h"
#include "cli/vault_keys.h"
#include "http/client.h"
#include "http/vault_transit.h"

namespace pgmint::cli {
namespace {

using repository::KeyProvider;
using repository::RepositoryId;
using repository::ServiceKey;

/// Binds what is wrapped to its repository.
std::string binding_of(const RepositoryId& repository) { return "pgmint:repository:" + repository.hex(); }

/// What no repository is called.
constexpr std::string_view kNoRepository = "pgmint:repository:none";

/// Where the token comes from: the configuration, else the environment, as the vault program reads it.
Result<http::VaultIdentity> identity_of(const VaultSettings& settings) {
  http::VaultIdentity who;
  who.address = settings.address.value_or(process_environment("VAULT_ADDR").value_or(""));
  if (who.address.empty()) return Error(Errc::Configuration, "where Vault listens is not known", Hint{"address = \"https://HOST:8200\" in [vault], or VAULT_ADDR in the environment"});
  if (const auto complaint = complaint_of_service_url(who.address); !complaint.empty())
    return Error(Errc::Configuration, fmt::format("VAULT_ADDR {}", complaint), Hint{"address = \"https://HOST:8200\" in [vault] takes its place"});
  who.name_space = settings.name_space.value_or(process_environment("VAULT_NAMESPACE").value_or(""));
  who.approle_mount = settings.approle_mount.value_or(who.approle_mount);
  if (settings.role_id.has_value() != settings.secret_id_file.has_value())
    return Error(Errc::Configuration, fmt::format("[vault] has {} alone", settings.role_id ? "role_id" : "secret_id_file"), Hint{"AppRole needs role_id and secret_id_file"});
  if (settings.role_id && settings.token_file) return Error(Errc::Configuration, "[vault] has token_file and role_id", Hint{"leave one of them"});
  if (settings.role_id) {
    who.role_id = *settings.role_id;
    who.secret_id = TRY(read_passphrase_file(*settings.secret_id_file));
  } else if (settings.token_file) {
    who.token = TRY(read_passphrase_file(*settings.token_file));
    who.token_source = *settings.token_file;
  } else if (const auto token = process_environment("VAULT_TOKEN")) {
    who.token = *token;
    who.token_source = "VAULT_TOKEN";
  } else {
    return Error(Errc::Configuration, "there is no token for Vault", Hint{"token_file, or role_id and secret_id_file, in [vault]; or VAULT_TOKEN in the environment"});
  }
  for (const auto* secret : {&who.token, &who.name_space})
    if (std::ranges::any_of(*secret, [](char c) { return c <= ' ' || c > '~'; }))
      return Error(Errc::Key, fmt::format("the {} holds something else than visible characters", secret == &who.token ? "Vault token of " + who.token_source : "namespace of Vault"));
  return who;
}

class VaultKeyService final : public repository::KeyService {
 public:
  VaultKeyService(std::string uri, VaultKey key, VaultSettings settings) : uri_(std::move(uri)), key_(std::move(key)), settings_(std::move(settings)) {}
  KeyProvider provider() const override { return KeyProvider::Vault; }

  Result<ServiceKey> make_key(const RepositoryId& repository) override {
    TRY(connect());
    TRY(transit_->expect_key());
    auto key = crypto::Key256::generate(system_random());
    const auto wrapped = TRY(transit_->encrypt(key, binding_of(repository)));
    // What opens the repository one day is tried today, and that it opens no other one.
    const auto again = TRY(transit_->decrypt(wrapped, binding_of(repository)).context("the key was wrapped, but cannot be unwrapped: no slot was made"));
    if (!again.key || !crypto::equal_constant_time(again.key->bytes(), key.bytes()))
      return Error(Errc::Key, fmt::format("Vault does not give the key again that it wrapped with {}: no slot was made: {}", uri_, again.said));
    TRY(transit_->expect_bound(wrapped, kNoRepository).context("no slot was made"));
    return ServiceKey{std::move(key), uri_, to_bytes(as_bytes(wrapped))};
  }

  Result<std::optional<crypto::Key256>> unwrap(const std::string& name, ByteView wrapped, const RepositoryId& repository) override {
    // A mount may have been moved since, a key keeps its name.
    const auto named = parse_vault_uri(name);
    if (!named || named->name != key_.name) return std::optional<crypto::Key256>();
    TRY(connect());
    auto opened = TRY(transit_->decrypt(as_text(wrapped), binding_of(repository)));
    if (!opened.key && name == uri_)
      return Error(Errc::Key, fmt::format("Vault does not unwrap with {}: {}", uri_, opened.said),
                   Hint{"this slot is of another repository or damaged, or the key was made anew: use another slot or the recovery key, then `pgmint key remove` this one"});
    return std::move(opened.key);
  }

 private:
  Status connect() {
    if (transit_) return ok();
    auto who = TRY(identity_of(settings_));
    http::ClientOptions options;
    options.ca_file = settings_.ca_file.value_or(process_environment("VAULT_CACERT").value_or(""));
    options.allow_tls_1_2 = settings_.tls_min == "1.2";
    client_ = http::make_client(options);
    session_ = std::make_unique<http::VaultSession>(*client_, system_clock(), std::move(who));
    transit_.emplace(*session_, key_.mount, key_.name);
    return ok();
  }

  const std::string uri_;
  const VaultKey key_;
  const VaultSettings settings_;
  std::unique_ptr<http::Client> client_;
  std::unique_ptr<http::VaultSession> session_;
  std::optional<http::VaultTransit> transit_;
};

}  // namespace

Result<std::shared_ptr<repository::KeyService>> make_vault_service(const std::string& uri, const KeyServiceSettings& settings) {
  return std::shared_ptr<repository::KeyService>(std::make_shared<VaultKeyService>(uri, TRY(parse_vault_uri(uri)), settings.vault));
}

}  // namespace pgmint::cli

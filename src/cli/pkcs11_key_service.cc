// An AES key in a PKCS#11 token as a key service. Format of what a slot keeps: docs/format/keys.md. Decision: docs/adr/0029-vault-and-tokens.md
#include <fmt/format.h>

#include "base/random.h"
#include "cli/key_services.h"
#include "cli/pkcs11_keys.h"
#include "cli/refused_pins.h"
#include "cli/secrets.h"
#include "crypto/pkcs11_module.h"

namespace pgmint::cli {
namespace {

using crypto::Pkcs11Key;
using repository::KeyProvider;
using repository::RepositoryId;
using repository::ServiceKey;

/// Binds what is wrapped to its repository.
std::string binding_of(const RepositoryId& repository) { return "pgmint:repository:" + repository.hex(); }

/// Whether two names may be of one key, by what both say of it. Tokens are copied for safety, so which one it was does not count.
bool may_be_same(const crypto::TokenKeyName& a, const crypto::TokenKeyName& b) {
  return (!a.object || !b.object || *a.object == *b.object) && (!a.id || !b.id || *a.id == *b.id);
}

class Pkcs11KeyService final : public repository::KeyService {
 public:
  Pkcs11KeyService(Pkcs11Uri uri, Pkcs11Settings settings) : uri_(std::move(uri)), settings_(std::move(settings)) {}
  KeyProvider provider() const override { return KeyProvider::Pkcs11; }

  Result<ServiceKey> make_key(const RepositoryId& repository) override {
    TRY(connect());
    TRY(wrapping_->expect_fit());
    const auto bound_to = binding_of(repository);
    auto key = crypto::Key256::generate(system_random());
    auto wrapped = TRY(wrapping_->wrap(key, as_bytes(bound_to), system_random()));
    // What opens the repository one day is tried today, and that it opens no other one.
    const auto name = pkcs11_uri(wrapping_->name());
    const auto again = TRY(wrapping_->unwrap(wrapped, as_bytes(bound_to)).context("the key was wrapped, but cannot be unwrapped: no slot was made"));
    if (!again || !crypto::equal_constant_time(again->bytes(), key.bytes()))
      return Error(Errc::Key, fmt::format("the token does not give the key again that it wrapped with {}: no slot was made", name));
    if (TRY(wrapping_->unwrap(wrapped, as_bytes("pgmint:repository:none"))))
      return Error(Errc::Key, fmt::format("the token opens for another repository what it wrapped for this one with {}: no slot was made", name), Hint{"its module does not authenticate by CKM_AES_GCM: ask its maker"});
    return ServiceKey{std::move(key), name, std::move(wrapped)};
  }

  Result<std::optional<crypto::Key256>> unwrap(const std::string& name, ByteView wrapped, const RepositoryId& repository) override {
    const auto named = parse_pkcs11_uri(name);
    if (!named || !may_be_same(named->key, uri_.key)) return std::optional<crypto::Key256>();
    TRY(connect());
    auto key = TRY(wrapping_->unwrap(wrapped, as_bytes(binding_of(repository))));
    if (!key && name == pkcs11_uri(wrapping_->name()))
      return Error(Errc::Key, fmt::format("the token does not unwrap with {}", name),
                   Hint{"this slot is of another repository or damaged, or the key was made anew: use another slot or the recovery key, then `pgmint key remove` this one"});
    return key;
  }

 private:
  /// Once: a token that has refused is not asked again by the next slot.
  Status connect() {
    if (wrapping_) return ok();
    if (!failed_) {
      auto opened = open();
      if (opened) {
        wrapping_ = std::move(*opened);
        return ok();
      }
      failed_ = std::move(opened).failure();
    }
    return *failed_;
  }

  Result<std::unique_ptr<Pkcs11Key>> open() const {
    const auto& path = uri_.module ? uri_.module : settings_.module;
    if (!path)
      return Error(Errc::Configuration, "the library of the PKCS#11 token is not known", Hint{"module = \"/usr/lib/...\" in [pkcs11], or ?module-path= in the URI"});
    auto* module = TRY(crypto::Pkcs11Module::load(*path));
    const auto& file = uri_.pin_file ? uri_.pin_file : settings_.pin_file;
    crypto::TokenKeyName whole_token = uri_.key;  // whichever of its keys
    whole_token.object.reset();
    whole_token.id.reset();
    const auto token = fmt::format("{};slot-id={}", pkcs11_uri(whole_token), uri_.key.slot.value_or(0));
    std::optional<RefusedPins> refused;
    if (settings_.refused_pins) refused.emplace(*settings_.refused_pins);
    crypto::PinSource pin;
    pin.get = [&]() -> Result<std::string> {
      if (!file) return Error(Errc::Configuration, "the token wants a PIN, and none is configured", Hint{"pin_file = \"/etc/pgmint/token.pin\" in [pkcs11], or ?pin-source=file:/PATH in the URI"});
      if (refused) TRY(refused->expect_untried(token, *file));
      return read_passphrase_file(*file);
    };
    pin.refused = [&] {
      if (refused) refused->note(token, *file);
    };
    return Pkcs11Key::open(*module, uri_.key, pin);
  }

  const Pkcs11Uri uri_;
  const Pkcs11Settings settings_;
  std::unique_ptr<Pkcs11Key> wrapping_;
  std::optional<Error> failed_;
};

}  // namespace

Result<std::shared_ptr<repository::KeyService>> make_pkcs11_service(const std::string& uri, const KeyServiceSettings& settings) {
  return std::shared_ptr<repository::KeyService>(std::make_shared<Pkcs11KeyService>(TRY(parse_pkcs11_uri(uri)), settings.pkcs11));
}

}  // namespace pgmint::cli

#include "cli/cached_key_service.h"

#include <fmt/format.h>

#include "base/log.h"
#include "base/units.h"
#include "crypto/hash.h"
#include "crypto/kernel_keyring.h"

namespace pgmint::cli {
namespace {

using crypto::KernelKeyring;

class CachedKeyService final : public repository::KeyService {
 public:
  CachedKeyService(std::shared_ptr<repository::KeyService> inner, std::chrono::seconds limit, Clock& clock) : inner_(std::move(inner)), limit_(limit), clock_(clock) {}
  repository::KeyProvider provider() const override { return inner_->provider(); }

  Result<repository::ServiceKey> make_key(const repository::RepositoryId& repository) override { return inner_->make_key(repository); }

  Result<std::optional<crypto::Key256>> unwrap(const std::string& name, ByteView wrapped, const repository::RepositoryId& repository) override {
    const auto place = place_of(name, wrapped, repository);
    auto asked = inner_->unwrap(name, wrapped, repository);
    if (asked && *asked) {
      if (const auto kept = KernelKeyring::keep(place, **asked, clock_.now(), limit_); !kept) log_debug("{}", kept.failure().describe());
      return asked;
    }
    if (asked) return asked;  // another wrapping key's
    if (!is_transient(asked.failure().code())) {
      KernelKeyring::forget(place);
      return asked;
    }
    auto kept = KernelKeyring::find(place);
    if (!kept) return std::move(asked).failure().with_context(fmt::format("and no key of it has been used here within the last {}", human(std::chrono::microseconds(limit_))));
    const auto age = std::max<std::chrono::microseconds>(clock_.now() - kept->since, std::chrono::microseconds(0));
    log_warning("{}; using the key that it gave {} ago, for {} at most", asked.failure().describe(), human(age), human(std::max<std::chrono::microseconds>(limit_ - age, std::chrono::microseconds(0))));
    return std::optional(std::move(kept->key));
  }

 private:
  /// Of exactly this slot: one that was changed finds nothing.
  std::string place_of(const std::string& name, ByteView wrapped, const repository::RepositoryId& repository) const {
    crypto::Sha256 hash;
    hash.update(as_bytes(fmt::format("pgmint service key v1\n{}\n{}\n{}\n", static_cast<int>(inner_->provider()), repository.hex(), name)));
    hash.update(wrapped);
    return "pgmint:" + to_hex(hash.finish()).substr(0, 40);
  }

  const std::shared_ptr<repository::KeyService> inner_;
  const std::chrono::seconds limit_;
  Clock& clock_;
};

}  // namespace

std::shared_ptr<repository::KeyService> make_cached_key_service(std::shared_ptr<repository::KeyService> inner, std::chrono::seconds limit, Clock& clock) {
  return std::make_shared<CachedKeyService>(std::move(inner), limit, clock);
}

}  // namespace pgmint::cli

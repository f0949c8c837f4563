// A key service for tests: wraps by remembering. A stand-in for AWS KMS, Vault and PKCS#11 tokens.
#pragma once

#include <map>

#include "repository/key_service.h"

namespace pgmint::repository::testing {

class FakeKeyService final : public KeyService {
 public:
  explicit FakeKeyService(RandomSource& random, std::string name = "arn:fake:key/1", KeyProvider provider = KeyProvider::AwsKms)
      : random_(random), name_(std::move(name)), provider_(provider) {}
  KeyProvider provider() const override { return provider_; }

  Result<ServiceKey> make_key(const RepositoryId& repository) override {
    ++asked;
    if (failure) return *failure;
    ServiceKey made{crypto::Key256::generate(random_), name_, Bytes(184)};
    random_.fill(made.wrapped);
    given_.insert_or_assign(made.wrapped, Given{made.key.clone(), repository});
    return made;
  }
  Result<std::optional<crypto::Key256>> unwrap(const std::string& name, ByteView wrapped, const RepositoryId& repository) override {
    ++asked;
    if (failure) return *failure;
    if (name != name_) return std::optional<crypto::Key256>();
    const auto found = given_.find(to_bytes(wrapped));
    if (found == given_.end() || found->second.repository != repository) return Error(Errc::Key, "InvalidCiphertextException");
    return std::optional(found->second.key.clone());
  }
  /// As if it had wrapped `key` one day.
  void know(ByteView wrapped, crypto::Key256 key, const RepositoryId& repository) { given_.insert_or_assign(to_bytes(wrapped), Given{std::move(key), repository}); }

  std::optional<Error> failure;
  int asked = 0;

 private:
  struct Given {
    crypto::Key256 key;
    RepositoryId repository;
  };
  RandomSource& random_;
  const std::string name_;
  const KeyProvider provider_;
  std::map<Bytes, Given> given_;
};

inline Unlock service_unlock(std::shared_ptr<KeyService> service) {
  Unlock unlock;
  unlock.provider = service->provider();
  unlock.service = std::move(service);
  return unlock;
}

}  // namespace pgmint::repository::testing

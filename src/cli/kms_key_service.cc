// AWS KMS as a key service. Decision: docs/adr/0027-keys-of-a-service.md
#include <fmt/format.h>

#include "cli/aws_identity.h"
#include "cli/key_services.h"
#include "cli/kms_keys.h"
#include "http/aws_credential_chain.h"
#include "http/aws_kms.h"
#include "http/client.h"

namespace pgmint::cli {
namespace {

using repository::KeyProvider;
using repository::RepositoryId;
using repository::ServiceKey;

/// Binds what is wrapped to its repository. AWS writes it into its audit log. Format: docs/format/keys.md
http::KmsContext context_of(const RepositoryId& repository) { return {{"pgmint:repository", repository.hex()}}; }

class AwsKeyService final : public repository::KeyService {
 public:
  AwsKeyService(std::string key, KmsSettings settings) : key_(std::move(key)), settings_(std::move(settings)) {}
  KeyProvider provider() const override { return KeyProvider::AwsKms; }

  Result<ServiceKey> make_key(const RepositoryId& repository) override {
    TRY(connect());
    auto made = TRY(kms_->generate_data_key(key_, context_of(repository)));
    // What opens the repository one day is tried today.
    const auto again = TRY(kms_->decrypt(key_, made.wrapped, context_of(repository)).context("the key was wrapped, but cannot be unwrapped: no slot was made"));
    if (!again || !crypto::equal_constant_time(again->bytes(), made.key.bytes()))
      return Error(Errc::Key, fmt::format("AWS KMS does not give the key again that it wrapped with {}", key_));
    return ServiceKey{std::move(made.key), std::move(made.key_id), std::move(made.wrapped)};
  }

  Result<std::optional<crypto::Key256>> unwrap(const std::string& name, ByteView wrapped, const RepositoryId& repository) override {
    // Never with the key that the slot names: who can write to the store must not choose who unwraps.
    if (is_arn_of_key(key_) && is_arn_of_key(name) && !is_same_key(key_, name)) return std::optional<crypto::Key256>();
    TRY(connect());
    const auto region = http::region_of_arn(name);
    if (!region.empty() && region != region_ && !is_of_several_regions(name)) return std::optional<crypto::Key256>();
    return kms_->decrypt(key_, wrapped, context_of(repository));
  }

 private:
  static bool is_arn_of_key(std::string_view text) { return text.starts_with("arn:") && text.find(":key/") != std::string_view::npos; }

  /// Its replicas in other regions unwrap what it wrapped.
  static bool is_of_several_regions(std::string_view arn) { return arn.find(":key/mrk-") != std::string_view::npos; }
  static bool is_same_key(const std::string& a, const std::string& b) {
    if (a == b) return true;
    if (!is_of_several_regions(a) || !is_of_several_regions(b)) return false;
    const auto account_and_key = [](const std::string& arn) { return arn.substr(arn.find(":" + http::region_of_arn(arn) + ":") + http::region_of_arn(arn).size() + 1); };
    return account_and_key(a) == account_and_key(b);
  }

  Status connect() {
    if (kms_) return ok();
    region_ = http::region_of_arn(key_);
    if (region_.empty()) region_ = TRY(http::aws_region(settings_.region, settings_.profile, aws_environment())).value_or("");
    if (region_.empty())
      return Error(Errc::Configuration, fmt::format("in which region the KMS key {} is, is not known", key_), Hint{"region = \"...\" in [kms], or name the key by its ARN"});
    http::ClientOptions options;
    options.ca_file = settings_.ca_file.value_or("");
    client_ = http::make_client(options);
    http::AwsCredentialSettings who;
    who.profile = settings_.profile;
    who.role_arn = settings_.role_arn;
    who.external_id = settings_.external_id;
    who.region = region_;
    credentials_ = TRY(aws_identity(std::move(who)));
    kms_.emplace(*client_, *credentials_, system_clock(), settings_.endpoint.value_or(""), region_);
    return ok();
  }

  const std::string key_;
  const KmsSettings settings_;
  std::string region_;
  std::unique_ptr<http::Client> client_;
  std::unique_ptr<http::AwsCredentialSource> credentials_;
  std::optional<http::AwsKms> kms_;
};

}  // namespace

Result<std::shared_ptr<repository::KeyService>> make_kms_service(const std::string& uri, const KeyServiceSettings& settings) {
  return std::shared_ptr<repository::KeyService>(std::make_shared<AwsKeyService>(TRY(parse_kms_uri(uri)), settings.kms));
}

}  // namespace pgmint::cli

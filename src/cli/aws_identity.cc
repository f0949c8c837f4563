#include "cli/aws_identity.h"

#include "base/clock.h"
#include "cli/config.h"

namespace pgmint::cli {
namespace {

http::ClientOptions direct() {
  http::ClientOptions options;
  options.no_proxy = true;
  return options;
}

/// The chain and what it borrows.
class Identity final : public http::AwsCredentialSource {
 public:
  explicit Identity(http::ClientOptions services) : services_(http::make_client(std::move(services))), machine_(http::make_client(direct())) {}
  Status look_for(http::AwsCredentialSettings settings) {
    chain_ = TRY(http::make_aws_credentials(std::move(settings), {aws_environment(), *services_, *machine_, system_clock()}));
    return ok();
  }
  Result<http::AwsCredentials> get() override { return chain_->get(); }
  void forget(const http::AwsCredentials& refused) override { chain_->forget(refused); }

 private:
  std::unique_ptr<http::Client> services_, machine_;
  std::unique_ptr<http::AwsCredentialSource> chain_;
};

}  // namespace

http::AwsEnvironment aws_environment() {
  return [](const std::string& name) { return process_environment(name.c_str()); };
}

Result<std::unique_ptr<http::AwsCredentialSource>> aws_identity(http::AwsCredentialSettings settings, http::ClientOptions services) {
  auto identity = std::make_unique<Identity>(std::move(services));
  TRY(identity->look_for(std::move(settings)));
  return std::unique_ptr<http::AwsCredentialSource>(std::move(identity));
}

}  // namespace pgmint::cli

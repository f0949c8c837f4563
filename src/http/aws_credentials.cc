#include "http/aws_credentials.h"

namespace pgmint::http {
namespace {

class FixedCredentials final : public AwsCredentialSource {
 public:
  explicit FixedCredentials(AwsCredentials credentials) : credentials_(std::move(credentials)) {}
  Result<AwsCredentials> get() override { return credentials_; }
  void forget(const AwsCredentials&) override {}

 private:
  const AwsCredentials credentials_;
};

}  // namespace

std::unique_ptr<AwsCredentialSource> fixed_credentials(AwsCredentials credentials) {
  return std::make_unique<FixedCredentials>(std::move(credentials));
}

}  // namespace pgmint::http

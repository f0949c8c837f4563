// AWS STS: temporary credentials of a role. Source: "AssumeRole" and "AssumeRoleWithWebIdentity" in the AWS STS API reference (version
// 2011-06-15). Its answers are XML everywhere; that AWS also gives JSON when asked is not documented, and other stores' STS do not.
#pragma once

#include <string>

#include "http/aws_credentials.h"

namespace pgmint::http {

struct AwsRole {
  std::string arn;
  std::string session_name = "pgmint";
  std::string external_id{};  ///< empty: none
};

/// Thread-safe. Borrows the surroundings.
class AwsSts {
 public:
  /// @param endpoint  empty: AWS's own of `region`; @param region  empty: the global endpoint
  AwsSts(const AwsSurroundings& surroundings, std::string endpoint, std::string region);

  /// @errors Key (refused), Storage (not reached, or not able just now), Configuration
  Result<AwsCredentials> assume_role(const AwsCredentials& caller, const AwsRole& role) const;
  /// Not signed: the token says who we are. @errors as above
  Result<AwsCredentials> assume_role_with_web_identity(const std::string& token, const AwsRole& role) const;

 private:
  Result<AwsCredentials> ask(const std::string& form, const AwsCredentials* caller, const AwsRole& role) const;

  const AwsSurroundings surroundings_;
  const std::string endpoint_, region_;
};

/// The token stands in a file that its issuer replaces: it is read each time.
struct WebIdentity {
  std::string token_file;
  AwsRole role;
};
/// @errors as AwsSts, Key (the file cannot be read)
Result<AwsCredentials> web_identity_credentials(const AwsSts& sts, const WebIdentity& identity);

}  // namespace pgmint::http

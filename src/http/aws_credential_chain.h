// Where AWS credentials are looked for, in this order; the first that has any is taken, and one that is wrong ends the search:
// configuration, environment, profile (~/.aws), web identity, container, instance metadata. A configured role is taken on from there.
#pragma once

#include "http/aws_credentials.h"

namespace pgmint::http {

/// From a configuration file. Empty counts as absent.
struct AwsCredentialSettings {
  // When these are set, nothing else is looked at.
  std::optional<std::string> access_key_id{}, secret_access_key{}, session_token{};
  std::optional<std::string> profile{};  ///< when set, only it is looked at
  // Taken on with what was found.
  std::optional<std::string> role_arn{}, external_id{}, role_session_name{};
  std::optional<std::string> region{};        ///< of STS
  std::optional<std::string> sts_endpoint{};  ///< absent: AWS_ENDPOINT_URL_STS, else AWS's own
};

/// Looks nowhere before the first get(). @errors Configuration (settings that contradict each other)
Result<std::unique_ptr<AwsCredentialSource>> make_aws_credentials(AwsCredentialSettings settings, const AwsSurroundings& surroundings);

/// `configured`, else AWS_REGION, AWS_DEFAULT_REGION, the profile's. Absence as a value. @errors Configuration, Key, Io (the profile files)
Result<std::optional<std::string>> aws_region(const std::optional<std::string>& configured, const std::optional<std::string>& profile,
                                              const AwsEnvironment& environment);

}  // namespace pgmint::http

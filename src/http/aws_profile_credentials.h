// Credentials of a profile: its own keys, or those of a role that it takes on.
#pragma once

#include <memory>

#include "http/aws_profile_files.h"
#include "http/aws_sts.h"

namespace pgmint::http {

/// @param chosen  by name in the configuration: it must be there and have credentials, as one that AWS_PROFILE names
std::unique_ptr<AwsCredentialPlace> profile_credentials(const AwsSurroundings& surroundings, const AwsSts& sts, std::optional<std::string> chosen);

/// AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN.
std::unique_ptr<AwsCredentialPlace> environment_credentials(const AwsSurroundings& surroundings);

}  // namespace pgmint::http

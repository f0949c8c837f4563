// Credentials that the machine itself has: of an EC2 instance (IMDSv2) and of a container (ECS, EKS Pod Identity). Source: "Use the Instance
// Metadata Service" in AWS's EC2 guide and "Container credential provider" in its SDK reference.
#pragma once

#include <memory>
#include <string_view>

#include "http/aws_credentials.h"

namespace pgmint::http {

/// AWS_EC2_METADATA_DISABLED, _SERVICE_ENDPOINT, _SERVICE_ENDPOINT_MODE. A machine where nothing answers is no instance.
std::unique_ptr<AwsCredentialPlace> instance_metadata(const AwsSurroundings& surroundings);

/// AWS_CONTAINER_CREDENTIALS_RELATIVE_URI or _FULL_URI, with AWS_CONTAINER_AUTHORIZATION_TOKEN(_FILE).
std::unique_ptr<AwsCredentialPlace> container_credentials(const AwsSurroundings& surroundings);

/// Tokens and keys go in clear on this machine alone: https, or http to loopback and the link-local addresses of ECS and EKS.
bool may_carry_secrets(std::string_view url);

/// nullopt when it is not set or empty.
std::optional<std::string> variable(const AwsSurroundings& surroundings, const std::string& name);

}  // namespace pgmint::http

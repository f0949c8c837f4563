// Who pgmint is to AWS: the usual chain of places where credentials stand, with the clients through which services are asked for them.
#pragma once

#include <memory>

#include "http/aws_credential_chain.h"
#include "http/client.h"

namespace pgmint::cli {

/// The process's environment, as the chain reads it.
http::AwsEnvironment aws_environment();
/// @param services  how STS is reached; what this machine itself serves is asked without a proxy
/// @errors Configuration
Result<std::unique_ptr<http::AwsCredentialSource>> aws_identity(http::AwsCredentialSettings settings, http::ClientOptions services = {});

}  // namespace pgmint::cli

// AWS Signature Version 4, in headers. Source: "Signing AWS API requests" in AWS's reference, and its test vectors (sigv4_test.cc).
#pragma once

#include <string>
#include <string_view>

#include "base/clock.h"
#include "http/aws_credentials.h"
#include "http/client.h"

namespace pgmint::http {

struct SigningScope {
  std::string region;
  std::string service;  ///< "s3", "sts", "kms"
};

/// SHA-256 of a body as it is signed, in hexadecimal.
std::string payload_hash(ByteView body);

/// Adds host, x-amz-date, x-amz-security-token (where there is one) and authorization; for S3 also x-amz-content-sha256. Every header
/// that the request has is signed. The query must be percent-encoded and may stand in any order. @param hash  payload_hash() of the body
void sign(Request& request, const AwsCredentials& credentials, const SigningScope& scope, TimePoint now, const std::string& hash);

}  // namespace pgmint::http

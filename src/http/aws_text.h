// What services around AWS say, as it may be told.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"

namespace pgmint::http {

struct AwsCredentials;

/// A server's words for a message: without control characters, and not without end.
std::string shown(std::string_view text);
std::string_view trimmed(std::string_view text);
/// Asking for credentials changes nothing: whether the server has acted does not matter.
Error not_answered(Error error);
/// The document {"AccessKeyId", "SecretAccessKey", "Token", "Expiration"} of the metadata services.
/// @errors Storage: not such a document; Key: it says that there are none
Result<AwsCredentials> parse_metadata_credentials(std::string_view json, const std::string& source);

}  // namespace pgmint::http

// The keys of [kms], and the URI of a key.
#pragma once

#include "cli/config_value.h"
#include "cli/kms_settings.h"

namespace pgmint::cli {

const std::vector<Key<KmsSettings>>& kms_keys();
/// kms of [encryption]: one URI, or a list of them. @errors Configuration
Status read_key_uris(std::vector<std::string>& target, const Value& value);

/// The key of "awskms:///KEY": an ARN, an id, or alias/NAME. @errors Usage
Result<std::string> parse_kms_uri(std::string_view uri);

}  // namespace pgmint::cli

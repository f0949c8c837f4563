// The keys of [kms], and the URI of a key.
#pragma once

#include "cli/config_value.h"
#include "cli/kms_settings.h"

namespace pgmint::cli {

const std::vector<Key<KmsSettings>>& kms_keys();

/// The key of "awskms:///KEY": an ARN, an id, or alias/NAME. @errors Usage
Result<std::string> parse_kms_uri(std::string_view uri);

}  // namespace pgmint::cli

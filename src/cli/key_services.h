// Services that wrap the repository's keys, put together from what is configured: AWS KMS.
#pragma once

#include <memory>
#include <string>

#include "cli/kms_settings.h"
#include "repository/key_service.h"

namespace pgmint::cli {

/// Asks nobody before it is needed. @param uri  "awskms:///KEY". @errors Usage
Result<std::shared_ptr<repository::KeyService>> make_key_service(const std::string& uri, const KmsSettings& settings);

/// What opens a slot of that key. @errors as above
Result<repository::Unlock> unlock_from_kms(const std::string& uri, const KmsSettings& settings);

}  // namespace pgmint::cli

// Services that wrap the repository's keys, put together from what is configured.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cli/config.h"
#include "repository/key_service.h"

namespace pgmint::cli {

/// One kind of them, wherever it is named alike: an option of key add and key rotate, a key of [encryption].
struct KeyServiceKind {
  repository::KeyProvider provider{};
  std::string option;       ///< "--kms"
  std::string_view title;   ///< "AWS KMS"
  std::vector<std::string> EncryptionSettings::* uris = nullptr;
  /// Asks nobody before it is needed. @errors Usage: no URI of this kind
  Result<std::shared_ptr<repository::KeyService>> (*make)(const std::string& uri, const KeyServiceSettings& settings) = nullptr;

  /// What opens a slot of that key. @errors as make
  Result<repository::Unlock> unlock(const std::string& uri, const KeyServiceSettings& settings) const;
};
std::span<const KeyServiceKind> key_service_kinds();

/// "awskms:///KEY"
Result<std::shared_ptr<repository::KeyService>> make_kms_service(const std::string& uri, const KeyServiceSettings& settings);
/// "vault:///MOUNT/KEY"
Result<std::shared_ptr<repository::KeyService>> make_vault_service(const std::string& uri, const KeyServiceSettings& settings);
/// "pkcs11:token=TOKEN;object=KEY"
Result<std::shared_ptr<repository::KeyService>> make_pkcs11_service(const std::string& uri, const KeyServiceSettings& settings);

}  // namespace pgmint::cli

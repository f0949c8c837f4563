#include "cli/key_services.h"

namespace pgmint::cli {

using repository::KeyProvider;

std::span<const KeyServiceKind> key_service_kinds() {
  static const KeyServiceKind kinds[] = {
      {KeyProvider::AwsKms, "--kms", "AWS KMS", &EncryptionSettings::kms, make_kms_service},
      {KeyProvider::Vault, "--vault", "Vault", &EncryptionSettings::vault, make_vault_service},
      {KeyProvider::Pkcs11, "--pkcs11", "PKCS#11", &EncryptionSettings::pkcs11, make_pkcs11_service},
  };
  return kinds;
}

Result<repository::Unlock> KeyServiceKind::unlock(const std::string& uri, const KeyServiceSettings& settings) const {
  repository::Unlock unlock;
  unlock.provider = provider;
  unlock.service = TRY(make(uri, settings));
  return unlock;
}

}  // namespace pgmint::cli

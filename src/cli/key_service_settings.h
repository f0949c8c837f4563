// Where the services are that open repositories, and who we are to each.
#pragma once

#include "cli/kms_settings.h"
#include "cli/pkcs11_settings.h"
#include "cli/vault_settings.h"

namespace pgmint::cli {

struct KeyServiceSettings {
  KmsSettings kms;        ///< [kms]
  VaultSettings vault;    ///< [vault]
  Pkcs11Settings pkcs11;  ///< [pkcs11]
};

}  // namespace pgmint::cli

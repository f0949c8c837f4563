// The keys of [vault], and the URI of a key.
#pragma once

#include "cli/config_value.h"
#include "cli/vault_settings.h"

namespace pgmint::cli {

const std::vector<Key<VaultSettings>>& vault_keys();

/// A key of a transit engine.
struct VaultKey {
  std::string mount;  ///< may hold '/', and a namespace in front
  std::string name;
};
/// "vault:///MOUNT/KEY". @errors Usage
Result<VaultKey> parse_vault_uri(std::string_view uri);

}  // namespace pgmint::cli

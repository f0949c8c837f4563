// What [vault] says: where HashiCorp Vault is, and who we are to it. Which of its keys opens the repository: vault in [encryption].
#pragma once

#include <optional>
#include <string>

namespace pgmint::cli {

struct VaultSettings {
  std::optional<std::string> address, name_space, ca_file;
  std::optional<std::string> tls_min;  ///< "1.2" or "1.3"
  std::optional<std::string> token_file;
  std::optional<std::string> role_id, secret_id_file, approle_mount;
};

}  // namespace pgmint::cli

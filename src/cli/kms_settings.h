// What [kms] says: where AWS KMS is, and who we are to it. Which of its keys opens the repository: kms in [encryption].
#pragma once

#include <optional>
#include <string>

namespace pgmint::cli {

struct KmsSettings {
  std::optional<std::string> endpoint, region, ca_file;
  std::optional<std::string> profile, role_arn, external_id;
};

}  // namespace pgmint::cli

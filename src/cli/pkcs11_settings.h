// What [pkcs11] says: by which library tokens are spoken to, and where the PIN is. Which key opens the repository: pkcs11 in [encryption].
#pragma once

#include <optional>
#include <string>

namespace pgmint::cli {

struct Pkcs11Settings {
  std::optional<std::string> module, pin_file;
  std::optional<std::string> refused_pins{};  ///< not of the file: the folder of RefusedPins
};

}  // namespace pgmint::cli

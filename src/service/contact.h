// Whom to call.
#pragma once

#include <string>

namespace pgmint::service {

struct Contact {
  std::string name, role, address, phone;
};

}  // namespace pgmint::service

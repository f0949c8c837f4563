// A validation as JSON, and as a page that needs nothing from elsewhere.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "service/validation.h"

namespace pgmint::service {

/// VALIDATION of tests/integration/README.md.
nlohmann::ordered_json validation_json(const ValidationReport& report);
/// One HTML document: no scripts, no external resources; whatever stands in names and answers is text.
std::string validation_page(const ValidationReport& report, const std::string& cluster);

}  // namespace pgmint::service

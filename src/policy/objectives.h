// How much may be lost, and how long a restore may take. Pure.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>

#include "base/error.h"

namespace pgmint::policy {

/// What the data is to the business.
enum class EnvironmentKind : std::uint8_t { Production, Staging, Development };
std::string_view environment_name(EnvironmentKind kind);

struct Objectives {
  std::chrono::seconds rpo{}, rto{};
};
/// RPO and RTO: production 1 h and 4 h, staging 24 h and 24 h, development 48 h and 48 h. What is given takes their place.
Objectives objectives_of(EnvironmentKind kind, std::optional<std::chrono::seconds> rpo = {}, std::optional<std::chrono::seconds> rto = {});

/// "90s", "30min", "4h", "2d": a whole number above zero, of at most a hundred years. @errors Usage
Result<std::chrono::seconds> parse_duration(std::string_view text);

}  // namespace pgmint::policy

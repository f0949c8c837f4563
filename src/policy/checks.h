// One thing that was looked at before or after a restore, and what it showed.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace pgmint::policy {

/// Unknown: it could not be looked at, which is neither good nor bad.
enum class CheckState : std::uint8_t { Ok, Warning, Failed, Unknown };
constexpr std::string_view check_state_name(CheckState state) {
  switch (state) {
    case CheckState::Ok: return "ok";
    case CheckState::Warning: return "warning";
    case CheckState::Failed: return "failed";
    case CheckState::Unknown: return "unknown";
  }
  return "unknown";
}

struct Check {
  std::string name;
  CheckState state = CheckState::Ok;
  std::string detail;
};

inline bool any_failed(const std::vector<Check>& checks) {
  return std::ranges::any_of(checks, [](const Check& check) { return check.state == CheckState::Failed; });
}

}  // namespace pgmint::policy

#include "policy/objectives.h"

#include <fmt/format.h>

#include <charconv>

namespace pgmint::policy {

using namespace std::chrono_literals;

std::string_view environment_name(EnvironmentKind kind) {
  switch (kind) {
    case EnvironmentKind::Production: return "production";
    case EnvironmentKind::Staging: return "staging";
    case EnvironmentKind::Development: return "development";
  }
  return "production";
}

Objectives objectives_of(EnvironmentKind kind, std::optional<std::chrono::seconds> rpo, std::optional<std::chrono::seconds> rto) {
  Objectives objectives{1h, 4h};
  if (kind == EnvironmentKind::Staging) objectives = {24h, 24h};
  if (kind == EnvironmentKind::Development) objectives = {48h, 48h};
  return {rpo.value_or(objectives.rpo), rto.value_or(objectives.rto)};
}

Result<std::chrono::seconds> parse_duration(std::string_view text) {
  constexpr std::int64_t kLongest = 100LL * 366 * 86400;
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const auto unit = text.substr(static_cast<std::size_t>(end - text.data()));
  const std::int64_t seconds = unit == "s" ? 1 : unit == "min" ? 60 : unit == "h" ? 3600 : unit == "d" ? 86400 : 0;
  if (error != std::errc() || seconds == 0 || number <= 0 || number > kLongest / seconds)
    return Error(Errc::Usage, fmt::format("\"{}\" is no duration", text), Hint{"a number and s, min, h or d, such as \"90s\" or \"4h\""});
  return std::chrono::seconds(number * seconds);
}

}  // namespace pgmint::policy

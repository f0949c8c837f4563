// Whole-text number parsing: no sign, no blanks, nothing behind.
#pragma once

#include <charconv>
#include <concepts>
#include <optional>
#include <string_view>

namespace pgmint::postgres {

template <std::unsigned_integral T>
std::optional<T> parse_number(std::string_view text, int base) {
  T value{};
  auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (code != std::errc{} || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return value;
}

}  // namespace pgmint::postgres

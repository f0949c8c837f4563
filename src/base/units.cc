#include "base/units.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cmath>

namespace pgmint {

std::string human(ByteCount size) {
  static constexpr std::array<const char*, 6> kUnits{"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  auto value = static_cast<double>(size.value());
  std::size_t unit = 0;
  while (value >= 1024 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  if (unit == 0) return fmt::format("{} B", size.value());
  return value < 100 ? fmt::format("{:.1f} {}", value, kUnits[unit]) : fmt::format("{:.0f} {}", value, kUnits[unit]);
}

std::string human(std::chrono::microseconds duration) {
  using namespace std::chrono;
  auto us = duration.count();
  if (us < 0) return "-" + human(-duration);
  if (us < 1'000'000) return fmt::format("{} ms", us / 1000);
  if (us < 60'000'000) return fmt::format("{:.1f} s", static_cast<double>(us) / 1e6);
  auto s = us / 1'000'000;
  if (s < 3600) return fmt::format("{} min {:02} s", s / 60, s % 60);
  if (s < 86400) return fmt::format("{} h {:02} min", s / 3600, s % 3600 / 60);
  return fmt::format("{} d {:02} h", s / 86400, s % 86400 / 3600);
}

Result<ByteCount> parse_size(std::string_view text) {
  auto bad = [&] {
    return Error(Errc::Usage, fmt::format("'{}' is not a size", text), Hint{"write for example 64M, 1.5G or 100000"});
  };
  double value = 0;
  auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (ec != std::errc{} || value < 0 || !std::isfinite(value)) return bad();
  std::string_view suffix = text.substr(static_cast<std::size_t>(end - text.data()));
  int shift = 0;
  if (!suffix.empty()) {
    static constexpr std::string_view kLetters = "KMGTP";
    auto upper = static_cast<char>(suffix[0] & ~0x20);
    if (upper == 'B' && suffix.size() == 1) return ByteCount(static_cast<std::uint64_t>(value));
    auto at = kLetters.find(upper);
    if (at == std::string_view::npos) return bad();
    auto rest = suffix.substr(1);
    if (!(rest.empty() || rest == "B" || rest == "b" || rest == "iB")) return bad();
    shift = static_cast<int>(at + 1) * 10;
  }
  double bytes = std::ldexp(value, shift);
  if (bytes > 9e18) return bad();
  return ByteCount(static_cast<std::uint64_t>(bytes));
}

}  // namespace pgmint

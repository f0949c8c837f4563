#include "cli/option_values.h"

#include <fmt/format.h>

#include <charconv>

#include "base/units.h"
#include "policy/retention.h"

namespace pgmint::cli {

Result<std::optional<ByteCount>> rate_option(const Arguments& arguments, const std::string& name) {
  const auto text = arguments.get(name);
  if (!text) return std::optional<ByteCount>();
  const auto rate = TRY(parse_size(*text).context(name));
  if (rate.value() == 0) return Error(Errc::Usage, fmt::format("{} must be above zero", name));
  return std::optional(rate);
}

Result<std::uint64_t> parse_number(std::string_view text, const std::string& name, std::uint64_t least,
                                   std::uint64_t most) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number < least || number > most)
    return Error(Errc::Usage, fmt::format("{} {}: must be a whole number from {} to {}", name, text, least, most));
  return number;
}

Result<std::chrono::seconds> seconds_option(const Arguments& arguments, const std::string& name,
                                            std::chrono::seconds fallback) {
  const auto text = arguments.get(name);
  if (!text) return fallback;
  return std::chrono::seconds(TRY(parse_number(*text, name, 1, 7U * 86400)));
}

Result<std::optional<std::chrono::hours>> age_option(const Arguments& arguments, const std::string& name) {
  const auto text = arguments.get(name);
  if (!text) return std::optional<std::chrono::hours>();
  const auto period = TRY(policy::parse_period(*text).context(name));
  return std::optional(hours_of(period));
}

std::chrono::hours hours_of(policy::Period period) {
  return std::chrono::days(period.days + period.months / 12 * 365 + period.months % 12 * 30);
}

std::optional<std::uint32_t> parse_share(std::string_view text) {
  constexpr std::size_t kDecimals = 4;
  if (!text.ends_with('%')) return std::nullopt;
  text.remove_suffix(1);
  const auto point = std::min(text.find('.'), text.size());
  std::string digits(text.substr(0, point));
  std::string decimals(point < text.size() ? text.substr(point + 1) : "");
  if (digits.empty() || digits.size() > 3 || decimals.size() > kDecimals || (point < text.size() && decimals.empty())) return std::nullopt;
  decimals.resize(kDecimals, '0');
  digits += decimals;
  if (digits.find_first_not_of("0123456789") != std::string::npos) return std::nullopt;
  const auto millionths = static_cast<std::uint32_t>(std::stoul(digits));
  if (millionths == 0 || millionths > 1'000'000) return std::nullopt;
  return millionths;
}

Result<std::optional<std::uint32_t>> share_option(const Arguments& arguments, const std::string& name) {
  const auto text = arguments.get(name);
  if (!text) return std::optional<std::uint32_t>();
  if (const auto share = parse_share(*text)) return share;
  return Error(Errc::Usage, fmt::format("{} {}: must be a share above 0% and up to 100%, such as 5% or 0.25%", name, *text));
}

Result<codec::CodecChoice> configured_codec(Context& context) {
  const auto& configuration = *TRY(context.configuration());
  const auto& own = TRY(context.repository_settings())->compression;
  const auto& chosen = own ? own : configuration.compression;
  auto choice = chosen ? TRY(codec::parse_codec(*chosen)) : codec::CodecChoice{};
  choice.trusted = !configuration.compression_check.value_or(true);
  return choice;
}

}  // namespace pgmint::cli

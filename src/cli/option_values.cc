#include "cli/option_values.h"

#include <fmt/format.h>

#include <charconv>

#include "base/units.h"

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

Result<codec::CodecChoice> configured_codec(Context& context) {
  const auto& configuration = *TRY(context.configuration());
  const auto& own = TRY(context.repository_settings())->compression;
  const auto& chosen = own ? own : configuration.compression;
  auto choice = chosen ? TRY(codec::parse_codec(*chosen)) : codec::CodecChoice{};
  choice.trusted = !configuration.compression_check.value_or(true);
  return choice;
}

}  // namespace pgmint::cli

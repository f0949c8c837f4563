#include "postgres/lsn.h"

#include <fmt/format.h>

#include "postgres/parse_number.h"

namespace pgmint::postgres {

std::string format(Lsn lsn) {
  return fmt::format("{:X}/{:X}", lsn.value() >> 32, lsn.value() & 0xFFFFFFFFU);
}

std::optional<Lsn> parse_lsn(std::string_view text) {
  auto slash = text.find('/');
  if (slash == std::string_view::npos || slash > 8 || text.size() - slash - 1 > 8) return std::nullopt;
  auto high = parse_number<std::uint32_t>(text.substr(0, slash), 16);
  auto low = parse_number<std::uint32_t>(text.substr(slash + 1), 16);
  if (!high || !low) return std::nullopt;
  return Lsn(std::uint64_t{*high} << 32 | *low);
}

std::optional<TimelineId> parse_timeline(std::string_view text) {
  auto value = parse_number<std::uint32_t>(text, 10);
  if (!value || *value == 0) return std::nullopt;
  return TimelineId(*value);
}

std::optional<SystemIdentifier> parse_system_identifier(std::string_view text) {
  auto value = parse_number<std::uint64_t>(text, 10);
  if (!value || *value == 0) return std::nullopt;
  return SystemIdentifier(*value);
}

}  // namespace pgmint::postgres

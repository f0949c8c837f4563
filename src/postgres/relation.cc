#include "postgres/relation.h"

#include "postgres/parse_number.h"

namespace pgmint::postgres {
namespace {

/// Takes a decimal number without leading zeros, above zero, off `text`.
std::optional<std::uint32_t> take_decimal(std::string_view& text) {
  std::size_t digits = 0;
  while (digits < text.size() && text[digits] >= '0' && text[digits] <= '9') ++digits;
  if (digits == 0 || text[0] == '0') return std::nullopt;
  auto value = parse_number<std::uint32_t>(text.substr(0, digits), 10);
  text.remove_prefix(digits);
  return value;
}

bool take_prefix(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

}  // namespace

std::optional<RelationFileName> parse_relation_file_name(std::string_view name) {
  RelationFileName parsed;
  if (take_prefix(name, "t")) {
    parsed.temporary = true;
    auto digits = name.find_first_not_of("0123456789");  // the backend's number: any digits, zero included
    if (digits == 0 || digits == std::string_view::npos) return std::nullopt;
    name.remove_prefix(digits);
    if (!take_prefix(name, "_")) return std::nullopt;
  }
  auto relation = take_decimal(name);
  if (!relation) return std::nullopt;
  parsed.relation = Oid(*relation);
  if (take_prefix(name, "_fsm")) {
    parsed.fork = Fork::FreeSpaceMap;
  } else if (take_prefix(name, "_vm")) {
    parsed.fork = Fork::VisibilityMap;
  } else if (take_prefix(name, "_init")) {
    parsed.fork = Fork::Init;
  }
  if (take_prefix(name, ".")) {
    auto segment = take_decimal(name);
    if (!segment) return std::nullopt;
    parsed.segment = *segment;
  }
  if (!name.empty()) return std::nullopt;
  return parsed;
}

}  // namespace pgmint::postgres

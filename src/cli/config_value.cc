#include "cli/config_value.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>
#include <charconv>

#include "cli/nearest.h"

namespace pgmint::cli {
namespace {

/// The table where an unknown key would have been right, if there is such a key.
std::optional<std::string> right_table(std::string_view key) {
  for (const auto& known : documented_keys())
    if (known.key == key) return known.table.empty() ? "the top level, before the first table" : known.table;
  return std::nullopt;
}

}  // namespace

Error config_error(const Place& place, const toml::node& node, std::string message) {
  return Error(Errc::Configuration, fmt::format("{}:{}: {}", place.source, node.source().begin.line, message));
}

Error unknown_key(const Place& place, const toml::key& key, const std::vector<std::string>& known) {
  std::string advice = fmt::format("known are {}", fmt::join(known, ", "));
  if (const auto table = place.other_file.empty() ? right_table(key.str()) : std::nullopt)
    advice = fmt::format("it belongs in {}", *table);
  else if (const auto meant = nearest(key.str(), known))
    advice = fmt::format("the nearest known one is \"{}\"", *meant);
  return Error(Errc::Configuration,
               fmt::format("{}:{}: unknown key \"{}\" in {}: {}", place.source, key.source().begin.line, key.str(), place.table, advice),
               Hint{place.other_file.empty() ? "man pgmint.toml lists every key" : std::string(place.other_file)});
}

Status one_of(std::optional<std::string>& target, const Value& value, std::initializer_list<std::string_view> words) {
  auto text = TRY(value.text());
  std::string all;
  for (const auto word : words) {
    if (text == word) {
      target = std::move(text);
      return ok();
    }
    all += fmt::format("{}\"{}\"", all.empty() ? "" : " or ", word);
  }
  return value.wrong(fmt::format("must be {}, not \"{}\"", all, text));
}

Error Value::wrong(std::string_view what) const {
  return config_error(place, node, fmt::format("\"{}\" in {} {}", key, place.table, what));
}

Result<std::string> Value::text() const {
  const auto* value = node.as_string();
  if (value == nullptr) return wrong("must be a text in quotes");
  if (value->get().empty()) return wrong("is empty");
  if (value->get().find('\0') != std::string::npos) return wrong("holds a zero byte");
  return value->get();
}

Result<std::string> Value::line() const {
  auto value = TRY(text());
  if (std::ranges::any_of(value, [](unsigned char c) { return c < 0x20 || c == 0x7f; })) return wrong("holds a control character");
  return value;
}

Result<std::string> Value::absolute_path() const {
  auto value = TRY(line());
  if (!value.starts_with('/')) return wrong(fmt::format("must be an absolute path, not \"{}\"", value));
  return value;
}

Result<bool> Value::boolean() const {
  const auto* value = node.as_boolean();
  if (value == nullptr) return wrong("must be true or false");
  return value->get();
}

Result<unsigned> Value::number(unsigned least, unsigned most) const {
  const auto* value = node.as_integer();
  if (value == nullptr) return wrong("must be a whole number");
  if (value->get() < least || value->get() > most) return wrong(fmt::format("must be from {} to {}", least, most));
  return static_cast<unsigned>(value->get());
}

Result<std::chrono::seconds> Value::duration(std::chrono::seconds least, std::chrono::seconds most) const {
  std::int64_t count = 0;
  if (const auto* seconds = node.as_integer()) {
    count = seconds->get();
  } else {
    const auto written = node.is_string() ? TRY(text()) : "";
    const auto* const end = written.data() + written.size();
    const auto [unit, error] = std::from_chars(written.data(), end, count);
    const std::string_view units = "smhd";
    constexpr std::array<std::int64_t, 4> kSeconds = {1, 60, 3600, 86400};
    const auto known = error == std::errc() && end - unit == 1 ? units.find(*unit) : std::string_view::npos;
    if (known == std::string_view::npos) return wrong("must be a number of seconds, or a text such as \"90s\", \"10m\", \"2h\"");
    count = count < 0 || count > most.count() ? most.count() + 1 : count * kSeconds[known];
  }
  if (count < least.count() || count > most.count()) return wrong(fmt::format("must be from {} s to {} s", least.count(), most.count()));
  return std::chrono::seconds(count);
}

Result<std::vector<std::string>> Value::texts() const {
  const auto* array = node.as_array();
  if (array == nullptr) return wrong("must be a list of texts: [\"a\", \"b\"]");
  std::vector<std::string> all;
  for (const auto& one : *array) all.push_back(TRY(Value{one, place, key}.text()));
  return all;
}

Result<const toml::table*> Value::table() const {
  if (const auto* value = node.as_table()) return value;
  return wrong("must be a table");
}

Result<std::vector<const toml::table*>> Value::tables() const {
  const auto* array = node.as_array();
  std::vector<const toml::table*> all;
  if (array != nullptr)
    for (const auto& one : *array) all.push_back(one.as_table());
  if (array == nullptr || std::ranges::find(all, nullptr) != all.end()) return wrong(fmt::format("must be tables [[{}]]", key));
  return all;
}

}  // namespace pgmint::cli

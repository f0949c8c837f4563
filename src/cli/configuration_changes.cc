#include "cli/configuration_changes.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <map>
#include <sstream>

#include "base/log.h"
#include "cli/config_value.h"
#include "crypto/hash.h"

namespace pgmint::cli {
namespace {

constexpr std::size_t kFileMax = 1U << 20;

/// Key to a sum of its value. Passwords count as one value: not even their sum is kept.
using Sums = std::map<std::string, std::string>;

void add_sums(Sums& sums, const std::string& path, const toml::node& node) {
  if (const auto* table = node.as_table()) {
    for (const auto& [key, value] : *table) add_sums(sums, path.empty() ? std::string(key.str()) : fmt::format("{}.{}", path, key.str()), value);
    return;
  }
  if (const auto* array = node.as_array(); array != nullptr && array->is_array_of_tables()) {
    for (std::size_t i = 0; i < array->size(); ++i) add_sums(sums, fmt::format("{}[{}]", path, i), *array->get(i));
    return;
  }
  std::ostringstream text;
  node.visit([&](const auto& value) { text << value; });
  const bool secret = path.ends_with("secret_access_key");
  sums[path] = secret ? "secret" : to_hex(crypto::sha256(as_bytes(redact(text.str())))).substr(0, 32);
}

Result<Sums> sums_of(const Configuration& configuration) {
  Sums sums;
  if (configuration.file.empty()) return sums;
  const auto text = TRY(read_text_file(configuration.file, kFileMax));
  const auto parsed = toml::parse(text, configuration.file.string());
  if (!parsed) return Error(Errc::Configuration, fmt::format("{} has changed while it was in use", configuration.file.string()));
  add_sums(sums, "", parsed.table());
  return sums;
}

fs::path memory_of(const Configuration& configuration, const fs::path& state_directory) {
  return state_directory / "configuration" / to_hex(crypto::sha256(as_bytes(configuration.file.string()))).substr(0, 32);
}

std::string written(const Sums& sums) {
  std::string text;
  for (const auto& [key, sum] : sums) text += fmt::format("{} {}\n", sum, key);
  return text;
}

Result<std::optional<Sums>> seen_before(const fs::path& memory) {
  const auto text = read_text_file(memory, kFileMax);
  if (!text && text.error().code() == Errc::NotFound) return std::optional<Sums>();
  if (!text) return text.error();
  Sums sums;
  std::istringstream in(*text);
  for (std::string line; std::getline(in, line);)
    if (const auto blank = line.find(' '); blank != std::string::npos) sums[line.substr(blank + 1)] = line.substr(0, blank);
  return std::optional(std::move(sums));
}

}  // namespace

Result<std::string> configuration_changes(const Configuration& configuration, const fs::path& state_directory) {
  const auto before = TRY(seen_before(memory_of(configuration, state_directory)));
  if (!before) return std::string();
  const auto now = TRY(sums_of(configuration));
  std::vector<std::string> changes;
  for (const auto& [key, sum] : now) {
    const auto old = before->find(key);
    if (old == before->end()) changes.push_back(key + " added");
    else if (old->second != sum) changes.push_back(key + " changed");
  }
  for (const auto& [key, sum] : *before)
    if (!now.contains(key)) changes.push_back(key + " removed");
  if (changes.empty()) return std::string();
  return fmt::format("{}: {}", configuration.file.string(), fmt::join(changes, ", "));
}

Status remember_configuration(const Configuration& configuration, const fs::path& state_directory) {
  const auto memory = memory_of(configuration, state_directory);
  const auto text = written(TRY(sums_of(configuration)));
  if (const auto kept = read_text_file(memory, kFileMax); kept && *kept == text) return ok();
  TRY(create_directories(memory.parent_path(), 0700));
  return write_file_durably(memory, as_bytes(text), 0600);
}

}  // namespace pgmint::cli

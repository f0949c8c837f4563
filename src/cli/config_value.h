// One value of the configuration file with its place, read with its type checked; and tables as lists of the keys that they may hold.
#pragma once

#define TOML_EXCEPTIONS 0
// toml++ 3.3 asserts that a key begins with a key's character where it has not looked ("[= x"), and has a proper error
// for it right behind: a configuration file may hold anything, and must not end the process (fuzz_configuration).
#define TOML_ASSERT(expression) static_assert(true)
#include <toml++/toml.h>

#include <algorithm>
#include <chrono>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/config.h"

namespace pgmint::cli {

/// Where a node stands, for messages.
struct Place {
  std::string_view source;
  std::string table;  ///< "[encryption]", or "the top level"
  std::string_view other_file{};  ///< not the configuration: what tells its keys, such as "man pgmint.toml lists every key"
};

/// "pgmint.toml:12: message".
Error config_error(const Place& place, const toml::node& node, std::string message);

/// @errors Configuration, of all of its readers: another type, or out of range
struct Value {
  const toml::node& node;
  const Place& place;
  std::string_view key;

  Error wrong(std::string_view what) const;
  Result<std::string> text() const;  ///< not empty
  Result<std::string> line() const;  ///< likewise, without control characters: it may come to stand in a file of lines
  Result<std::string> absolute_path() const;
  Result<bool> boolean() const;
  Result<unsigned> number(unsigned least, unsigned most) const;
  Result<std::chrono::seconds> duration(std::chrono::seconds least, std::chrono::seconds most) const;  ///< whole seconds, or "90s", "10m", "2h", "1d"
  Result<std::vector<std::string>> texts() const;
  Result<const toml::table*> table() const;
  Result<std::vector<const toml::table*>> tables() const;  ///< [[name]]
};

/// One key that a table may hold. Without a text it stands for a group of tables in the manual.
template <class T>
struct Key {
  std::string_view name, kind, text;
  Status (*set)(T&, const Value&);
};

template <class T, class Reader>
Status assign(T& target, Result<Reader> value) {
  target = TRY(std::move(value));
  return ok();
}

/// One of `words`, and no other text. @errors Configuration
Status one_of(std::optional<std::string>& target, const Value& value, std::initializer_list<std::string_view> words);

/// Names the nearest known key, or the table in which `key` would have been right.
Error unknown_key(const Place& place, const toml::key& key, const std::vector<std::string>& known);

template <class T>
Status read_table(const toml::table& table, T& target, const std::vector<Key<T>>& keys, const Place& place) {
  for (const auto& [key, node] : table) {
    const auto known = std::ranges::find(keys, key.str(), &Key<T>::name);
    if (known == keys.end()) {
      std::vector<std::string> names;
      for (const auto& one : keys) names.emplace_back(one.name);
      return unknown_key(place, key, names);
    }
    TRY(known->set(target, Value{node, place, key.str()}));
  }
  return ok();
}

template <class T>
void document(std::vector<KeyDocumentation>& out, std::string_view table, const std::vector<Key<T>>& keys) {
  for (const auto& key : keys)
    if (!key.text.empty())
      out.push_back({std::string(table), std::string(key.name), std::string(key.kind), std::string(key.text)});
}

/// The whole file, by the tables of config_keys.cc. @errors Configuration
Status read_top_level(const toml::table& table, Configuration& target, std::string_view source);

}  // namespace pgmint::cli

#include "cli/validation_keys.h"

#include <fmt/format.h>

#include <cmath>

namespace pgmint::cli {
namespace {

/// As PostgreSQL shows it: a text, a number, or true and false.
Result<std::string> answer_text(const Value& value) {
  if (const auto* text = value.node.as_string()) return text->get();
  if (const auto* number = value.node.as_integer()) return std::to_string(number->get());
  if (const auto* number = value.node.as_floating_point(); number != nullptr && std::isfinite(number->get())) return fmt::format("{}", number->get());
  if (const auto* truth = value.node.as_boolean()) return std::string(truth->get() ? "t" : "f");
  return value.wrong("must be a text, a number, true or false");
}

Result<std::string> number_text(const Value& value) {
  if (const auto* number = value.node.as_integer()) return std::to_string(number->get());
  if (const auto* number = value.node.as_floating_point(); number != nullptr && std::isfinite(number->get())) return fmt::format("{}", number->get());
  return value.wrong("must be a number");
}

}  // namespace

const std::vector<Key<ValidationSettings>>& validation_keys() {
  using T = ValidationSettings;
  static const std::vector<Key<T>> keys = {
      {"count", "list of tables",
       "Tables that only grow, such as \"public.transactions\" or \"shop:public.transactions\" (in one database alone): each backup counts their rows, and a restored server must have at "
       "least as many.",
       [](T& t, const Value& v) { return assign(t.count, v.texts()); }},
      {"newest", "list of columns", "Of which the newest moment is told, as \"transactions.created_at\" or \"public.transactions.created_at\". Default: every column created_at.",
       [](T& t, const Value& v) -> Status {
         t.newest = TRY(v.texts());
         for (const auto& column : t.newest)
           if (const auto dots = std::ranges::count(column, '.'); dots < 1 || dots > 2) return v.wrong(fmt::format("must hold table.column or schema.table.column, not \"{}\"", column));
         return ok();
       }},
      {"login", "text", "How the application connects to the restored server, as libpq's key=value pairs or a URI: validate logs in so.",
       [](T& t, const Value& v) { return assign(t.login, v.text()); }},
      {"slower_than", "number", "A query of [[validation]] that takes so many times its baseline is a warning. Default: 3.",
       [](T& t, const Value& v) { return assign(t.slower_than, v.number(1, 1000)); }},
  };
  return keys;
}

const std::vector<Key<ValidationQuery>>& validation_query_keys() {
  using T = ValidationQuery;
  static const std::vector<Key<T>> keys = {
      {"name", "text", "What the report calls it.", [](T& t, const Value& v) { return assign(t.name, v.text()); }},
      {"sql", "text", "A query with one value in one row. It runs in a transaction that may not write.", [](T& t, const Value& v) { return assign(t.sql, v.text()); }},
      {"expect", "text or number", "The value, as psql shows it.", [](T& t, const Value& v) { return assign(t.expect, answer_text(v)); }},
      {"expect_at_least", "number", "Or: the value is a number, and not smaller.", [](T& t, const Value& v) { return assign(t.expect_at_least, number_text(v)); }},
      {"database", "text", "Default: that of the connection.", [](T& t, const Value& v) { return assign(t.database, v.text()); }},
      {"cluster", "text", "Of this cluster alone. Default: of every one.", [](T& t, const Value& v) { return assign(t.cluster, v.text()); }},
      {"limit", "seconds", "How long it may take. Default: 60.",
       [](T& t, const Value& v) -> Status {
         t.limit = std::chrono::seconds(TRY(v.number(1, 86400)));
         return ok();
       }},
  };
  return keys;
}

Status read_validation_queries(std::vector<ValidationQuery>& target, const Value& value) {
  const auto* array = value.node.as_array();
  if (array == nullptr) return value.wrong("must be tables [[validation]]; what belongs to a cluster stands in [cluster.NAME.validation]");
  for (const auto& node : *array) {
    const auto* table = node.as_table();
    if (table == nullptr) return value.wrong("must be tables [[validation]]");
    ValidationQuery query;
    TRY(read_table(*table, query, validation_query_keys(), {value.place.source, "[[validation]]"}));
    if (query.name.empty()) return config_error(value.place, node, "[[validation]] lacks \"name\"");
    if (query.sql.empty()) return config_error(value.place, node, fmt::format("[[validation]] \"{}\" lacks \"sql\"", query.name));
    if (query.expect.has_value() == query.expect_at_least.has_value())
      return config_error(value.place, node, fmt::format("[[validation]] \"{}\" takes one of \"expect\" and \"expect_at_least\"", query.name));
    for (const auto& other : target)
      if (other.name == query.name) return config_error(value.place, node, fmt::format("two [[validation]] are named \"{}\"", query.name));
    target.push_back(std::move(query));
  }
  return ok();
}

}  // namespace pgmint::cli

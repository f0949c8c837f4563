#include "logical/database_sql.h"

#include <algorithm>
#include <cctype>

namespace pgmint::logical {
namespace {

bool is_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '$' || (static_cast<unsigned char>(c) & 0x80U) != 0; }

/// The end of what begins at `at`: a text or name in quotes, a word, or one character.
std::size_t token_end(std::string_view sql, std::size_t at) {
  const char first = sql[at];
  const bool escapes = (first == 'E' || first == 'e') && at + 1 < sql.size() && sql[at + 1] == '\'';
  if (first == '\'' || first == '"' || escapes) {
    const char quote = escapes ? '\'' : first;
    for (std::size_t i = at + (escapes ? 2 : 1); i < sql.size(); ++i) {
      if (escapes && sql[i] == '\\') ++i;
      else if (sql[i] == quote && i + 1 < sql.size() && sql[i + 1] == quote) ++i;
      else if (sql[i] == quote) return i + 1;
    }
    return sql.size();
  }
  if (!is_word(first)) return at + 1;
  return static_cast<std::size_t>(std::ranges::find_if_not(sql.substr(at), is_word) - sql.begin());
}

std::size_t skip_blanks(std::string_view sql, std::size_t at) {
  while (at < sql.size() && std::isspace(static_cast<unsigned char>(sql[at])) != 0) ++at;
  return at;
}

/// As the server takes a name: without quotes in lower case.
std::string name_of(std::string_view token) {
  std::string name;
  if (token.starts_with('"')) {
    for (std::size_t i = 1; i + 1 < token.size(); ++i) {
      name += token[i];
      if (token[i] == '"') ++i;
    }
    return name;
  }
  for (const char c : token) name += static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  return name;
}

std::string renamed(std::string_view statement, std::string_view from, std::string_view to) {
  for (std::size_t at = 0; at < statement.size();) {
    const auto end = token_end(statement, at);
    if (statement.substr(at, end - at) == "DATABASE") {
      const auto begin = skip_blanks(statement, end);
      if (begin == statement.size()) break;
      const auto stop = token_end(statement, begin);
      if (name_of(statement.substr(begin, stop - begin)) != from) break;
      return std::string(statement.substr(0, begin)) + sql_name(to) + std::string(statement.substr(stop));
    }
    at = end;
  }
  return std::string(statement);
}

}  // namespace

std::string sql_name(std::string_view name) {
  std::string quoted = "\"";
  for (const char c : name) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + "\"";
}

std::vector<std::string> database_statements(std::string_view sql, std::string_view from, std::string_view to) {
  std::vector<std::string> statements;
  std::size_t begin = skip_blanks(sql, 0);
  for (std::size_t at = begin; at < sql.size();) {
    const auto end = token_end(sql, at);
    if (sql.substr(at, end - at) == ";") {
      if (at > begin) statements.push_back(renamed(sql.substr(begin, at - begin), from, to));
      begin = skip_blanks(sql, end);
      at = begin;
      continue;
    }
    at = end;
  }
  if (begin < sql.size()) statements.push_back(renamed(sql.substr(begin), from, to));
  return statements;
}

bool is_about_roles(std::string_view statement) {
  return std::ranges::any_of(std::initializer_list<std::string_view>{"GRANT ", "REVOKE ", "ALTER ROLE ", "SET SESSION AUTHORIZATION ", "RESET SESSION AUTHORIZATION"},
                             [&](std::string_view beginning) { return statement.starts_with(beginning); });
}

}  // namespace pgmint::logical

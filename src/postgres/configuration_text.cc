#include "postgres/configuration_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace pgmint::postgres {
namespace {

constexpr std::string_view kBlanks = " \t\r";

bool is_letter(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' || static_cast<unsigned char>(c) >= 0x80;
}
bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return result;
}

void skip_blanks(std::string_view& line) {
  line.remove_prefix(std::min(line.find_first_not_of(kBlanks), line.size()));
}

std::string_view take_identifier(std::string_view& line) {
  std::size_t length = 0;
  while (length < line.size() && (is_letter(line[length]) || (length > 0 && is_digit(line[length])))) ++length;
  auto word = line.substr(0, length);
  line.remove_prefix(length);
  return word;
}

/// The setting's name, taken off the line, in lower case; empty when the line sets nothing.
std::string take_name(std::string_view& line) {
  skip_blanks(line);
  std::string name = lower(take_identifier(line));
  if (!name.empty() && line.starts_with('.')) {
    line.remove_prefix(1);
    name += "." + lower(take_identifier(line));
  }
  if (!name.empty() && !line.empty() && kBlanks.find(line[0]) == std::string_view::npos && line[0] != '=') name.clear();
  return name;
}

/// Between quotes: '' is a quote, backslashes escape as in C (guc-file.l, DeescapeQuotedString). nullopt without an
/// end.
std::optional<std::string> unquote(std::string_view text) {
  std::string value;
  for (std::size_t i = 1; i < text.size(); ++i) {
    if (text[i] == '\'') {
      if (i + 1 >= text.size() || text[i + 1] != '\'') return value;
      value += text[++i];
    } else if (text[i] == '\\' && i + 1 < text.size()) {
      char c = text[++i];
      constexpr std::string_view from = "bfnrt", to = "\b\f\n\r\t";
      if (auto at = from.find(c); at != std::string_view::npos) {
        value += to[at];
      } else if (c >= '0' && c <= '7') {
        unsigned octal = 0;
        std::size_t digits = 0;
        while (digits < 3 && i + digits < text.size() && text[i + digits] >= '0' && text[i + digits] <= '7')
          octal = octal * 8 + static_cast<unsigned>(text[i + digits++] - '0');
        i += digits - 1;
        value += static_cast<char>(octal);
      } else {
        value += c;
      }
    } else {
      value += text[i];
    }
  }
  return std::nullopt;
}

std::optional<std::string> take_value(std::string_view line) {
  skip_blanks(line);
  if (line.starts_with('=')) line.remove_prefix(1);
  skip_blanks(line);
  if (line.starts_with('\'')) return unquote(line);
  auto end = std::min(line.find_first_of(" \t\r#"), line.size());
  if (end == 0) return std::nullopt;
  return std::string(line.substr(0, end));
}

/// Calls `visit(line with its newline)`.
template <class Visit>
void each_line(std::string_view text, Visit visit) {
  while (!text.empty()) {
    auto end = text.find('\n');
    auto length = end == std::string_view::npos ? text.size() : end + 1;
    visit(text.substr(0, length));
    text.remove_prefix(length);
  }
}

template <class Drop>
std::string strip(std::string_view text, Drop drop) {
  std::string kept;
  each_line(text, [&](std::string_view line) {
    auto rest = line.substr(0, line.find('\n'));
    auto name = take_name(rest);
    if (name.empty() || !drop(name)) kept += line;
  });
  return kept;
}

bool is_setting_name(std::string_view name) {
  auto rest = name;
  if (take_identifier(rest).empty()) return false;
  if (rest.starts_with('.')) {
    rest.remove_prefix(1);
    if (take_identifier(rest).empty()) return false;
  }
  return rest.empty();
}

}  // namespace

bool is_recovery_setting(std::string_view name) {
  constexpr std::array<std::string_view, 8> others{
      "restore_command",   "archive_cleanup_command", "recovery_end_command",     "primary_conninfo",
      "primary_slot_name", "promote_trigger_file",    "recovery_min_apply_delay", "trigger_file"};
  auto folded = lower(name);
  return folded.starts_with("recovery_target") || std::find(others.begin(), others.end(), folded) != others.end();
}

std::string strip_settings(std::string_view text, bool (*drop)(std::string_view name)) {
  return strip(text, drop);
}

std::string strip_settings(std::string_view text, const std::vector<std::string>& names) {
  return strip(text, [&](std::string_view name) {
    return std::any_of(names.begin(), names.end(), [&](const auto& n) { return lower(n) == name; });
  });
}

Result<std::string> append_settings(std::string_view text, std::string_view comment,
                                    const std::vector<Setting>& settings) {
  std::string result(text);
  if (!result.empty() && result.back() != '\n') result += '\n';
  if (comment.find_first_of(std::string_view("\n\r\0", 3)) != std::string_view::npos)
    return Error(Errc::Usage, "a comment in a configuration file is one line");
  if (!comment.empty()) result += fmt::format("# {}\n", comment);
  for (const auto& setting : settings) {
    if (!is_setting_name(setting.name))
      return Error(Errc::Usage, fmt::format("'{}' is no setting's name", setting.name));
    if (setting.value.find_first_of(std::string_view("\n\r\0", 3)) != std::string::npos)
      return Error(Errc::Usage, fmt::format("the value of {} holds a line end or a zero byte", setting.name));
    result += setting.name + " = '";
    for (char c : setting.value) {
      if (c == '\'' || c == '\\') result += c;  // doubled
      result += c;
    }
    result += "'\n";
  }
  return result;
}

std::optional<std::string> find_setting(std::string_view text, std::string_view name) {
  std::optional<std::string> found;
  const auto folded = lower(name);
  each_line(text, [&](std::string_view line) {
    auto rest = line.substr(0, line.find('\n'));
    if (take_name(rest) != folded) return;
    if (auto value = take_value(rest)) found = std::move(value);
  });
  return found;
}

}  // namespace pgmint::postgres

#include "cli/output.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/log.h"

namespace pgmint::cli {
namespace {

void write(std::FILE* file, std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), file);
}

/// A program that reads standard error line by line gets lines as the log has them; people get `plain`.
void say(LogLevel level, const std::string& plain, std::string_view text) {
  if (log_is_for_people())
    write(stderr, redact(plain) + '\n');
  else
    print_line(level, text);
}

/// Columns that a terminal takes for UTF-8 text of no double width: bytes that do not continue a character.
std::size_t width(std::string_view text) {
  return static_cast<std::size_t>(
      std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; }));
}

}  // namespace

void Output::line(std::string_view text) {
  if (json_) return;
  write(stdout, text);
  write(stdout, "\n");
  written_ = true;
}

void Output::document(const Json& document) {
  if (!json_) return;
  PGMINT_ASSERT(!written_);
  written_ = true;
  if (place_ != nullptr) {
    *place_ = document;
    return;
  }
  // Names of files need not be UTF-8; a document that is not valid JSON would be worse than a replaced character.
  write(stdout, document.dump(2, ' ', false, Json::error_handler_t::replace));
  write(stdout, "\n");
}

Status Output::finish() {
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) return Error(Errc::Io, "standard output cannot be written");
  return ok();
}

void print_error(const Error& error) {
  say(LogLevel::Error, fmt::format("pgmint: error: {}", error.describe()), error.describe());
  // Of the same level: who asks the journal for errors wants to know what helps.
  if (const auto hint = fmt::format("hint: {}", error.hint()); !error.hint().empty()) say(LogLevel::Error, hint, hint);
}

void print_warning(std::string_view text) {
  say(LogLevel::Warning, fmt::format("pgmint: warning: {}", text), text);
  tell_observer(LogLevel::Warning, text);
}

void print_next(std::string_view command) {
  const auto next = fmt::format("next: {}", command);
  say(LogLevel::Info, next, next);
}

Json error_document(const Error& error) {
  Json inner = {
      {"code", errc_name(error.code())}, {"exit_code", exit_code(error.code())}, {"message", redact(error.describe())}};
  inner["hint"] = error.hint().empty() ? Json(nullptr) : Json(redact(error.hint()));
  return Json{{"error", std::move(inner)}};
}

std::string counted(std::uint64_t number, std::string_view singular) {
  if (number == 1) return fmt::format("1 {}", singular);
  if (singular.ends_with('y') && !singular.ends_with("ay"))
    return fmt::format("{} {}ies", number, singular.substr(0, singular.size() - 1));
  return fmt::format("{} {}s", number, singular);
}

std::string text_table(const std::vector<std::string>& headings, const std::vector<std::vector<std::string>>& rows) {
  std::vector<bool> right;
  std::vector<std::vector<std::string>> lines(1);
  for (const auto& heading : headings) {
    right.push_back(heading.starts_with('>'));
    lines[0].push_back(heading.substr(right.back() ? 1 : 0));
  }
  lines.insert(lines.end(), rows.begin(), rows.end());
  std::vector<std::size_t> widths(headings.size(), 0);
  for (const auto& line : lines)
    for (std::size_t i = 0; i < widths.size(); ++i) widths[i] = std::max(widths[i], width(line[i]));
  std::string out;
  for (const auto& line : lines) {
    std::string text;
    for (std::size_t i = 0; i < widths.size(); ++i) {
      const std::string padding(widths[i] - width(line[i]), ' ');
      text += (i == 0 ? "" : "  ") + (right[i] ? padding + line[i] : line[i] + padding);
    }
    text.erase(text.find_last_not_of(' ') + 1);
    out += (out.empty() ? "" : "\n") + text;
  }
  return out;
}

}  // namespace pgmint::cli

// What a command answers, on standard output; what went wrong, on standard error.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace pgmint::cli {

using Json = nlohmann::ordered_json;

/// With --json exactly one document goes to standard output; otherwise text for people. Not thread-safe.
class Output {
 public:
  explicit Output(bool json) : json_(json) {}
  /// The document goes there instead of to standard output, as part of a larger one. Borrowed.
  void keep_document_in(Json* place) { place_ = place; }
  bool json() const { return json_; }
  bool written() const { return written_; }

  /// One line of text; nothing with --json.
  void line(std::string_view text);
  /// The answer with --json; nothing otherwise. At most once.
  void document(const Json& document);
  /// Flushes. @errors Io (standard output is full or gone): an answer that nobody got is no success
  Status finish();

 private:
  bool json_;
  bool written_ = false;
  Json* place_ = nullptr;
};

/// "pgmint: error: ..." and, when there is one, "hint: ..." on standard error, secrets redacted.
void print_error(const Error& error);
/// "pgmint: warning: ..." on standard error.
void print_warning(std::string_view text);
/// "next: ..." on standard error.
void print_next(std::string_view command);
/// The document that --json answers with when a command fails before it has an answer.
Json error_document(const Error& error);

/// "1 cluster", "3 clusters", "2 entries".
std::string counted(std::uint64_t number, std::string_view singular);

/// Columns under headings, two blanks apart; numbers to the right where a heading starts with '>'.
std::string text_table(const std::vector<std::string>& headings, const std::vector<std::vector<std::string>>& rows);

}  // namespace pgmint::cli

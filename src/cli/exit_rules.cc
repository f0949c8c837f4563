#include "cli/exit_rules.h"

#include <algorithm>

namespace pgmint::cli {
namespace {

constexpr int kGetFailed = 200;
constexpr int kPushMost = 125;

}  // namespace

int exit_code_for(std::string_view verb, const Error& error) {
  const int code = exit_code(error.code());
  if (verb == "wal get") return error.code() == Errc::Cancelled ? code : kGetFailed;
  if (verb == "wal push") return std::min(code, kPushMost);
  return code;
}

std::string verb_of(const std::vector<std::string>& words) {
  for (std::size_t i = 0; i + 1 < words.size(); ++i)
    if (words[i] == "wal" && (words[i + 1] == "push" || words[i + 1] == "get")) return "wal " + words[i + 1];
  return "";
}

std::optional<std::string_view> verb_of_program(std::string_view program) {
  const auto name = program.substr(program.rfind('/') + 1);
  for (const std::string_view verb : {"backup-db", "restore-db"})
    if (name == verb || (name.starts_with(verb) && name.substr(verb.size()) == ".sh")) return verb;
  return std::nullopt;
}

}  // namespace pgmint::cli

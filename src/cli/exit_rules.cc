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

}  // namespace pgmint::cli

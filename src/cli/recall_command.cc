#include "cli/recall_command.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>

namespace pgmint::cli {
namespace {

std::string own_path() {
  std::array<char, 4096> path{};
  const auto length = ::readlink("/proc/self/exe", path.data(), path.size() - 1);
  return length > 0 ? std::string(path.data(), static_cast<std::size_t>(length)) : std::string("pgmint");
}

std::string absolute(const std::string& path) {
  std::error_code ignored;
  const auto full = fs::absolute(path, ignored);
  return ignored ? path : full.string();
}

std::string self(Context& context) {
  std::string text;
  for (const auto& word : own_command(context)) text += (text.empty() ? "" : " ") + shell_quoted(word);
  return text;
}

}  // namespace

std::string shell_quoted(std::string_view word) {
  const auto plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("/._-+=:,@").find(c) != std::string_view::npos;
  };
  if (!word.empty() && std::ranges::all_of(word, plain)) return std::string(word);
  std::string quoted = "'";
  for (char c : word) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

std::vector<std::string> own_command(Context& context) {
  std::vector<std::string> words = {own_path()};
  const auto configuration = context.configuration();
  if (configuration && !(*configuration)->file.empty() && (*configuration)->file != kDefaultConfigFile)
    words.insert(words.end(), {"--config", absolute((*configuration)->file.string())});
  return words;
}

std::string archive_command_line(Context& context) {
  return self(context) + " wal push \"%p\"";
}

std::string restore_command_line(Context& context, const std::string& cluster) {
  std::string variables;
  for (const auto* name : {"PGMINT_REPOSITORY", "PGMINT_KEY_FILE", "PGMINT_PASSPHRASE_FILE", "PGMINT_RECOVERY_KEY_FILE",
                           "PGMINT_STATE_DIRECTORY"})
    if (const auto value = process_environment(name))
      variables += fmt::format(
          "{}={} ", name,
          shell_quoted(value->find('/') == std::string::npos && std::string_view(name) == "PGMINT_REPOSITORY"
                           ? *value
                           : absolute(*value)));
  // With several repositories recovery asks all, unless one was chosen, or it is the one that was left.
  const auto& arguments = context.arguments();
  const auto repository = arguments.get("--repository");
  const bool is_meant_alone = repository && (!arguments.one_of_several || arguments.others_are_away);
  const auto choice = is_meant_alone ? fmt::format(" --repository {}", shell_quoted(repository->find('/') == std::string::npos || repository->starts_with("s3://") ? *repository : absolute(*repository))) : "";
  return fmt::format("{}{}{} wal get --cluster {} \"%f\" \"%p\"", variables, self(context), choice, shell_quoted(cluster));
}

}  // namespace pgmint::cli

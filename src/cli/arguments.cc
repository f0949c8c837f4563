#include "cli/arguments.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/log.h"
#include "cli/nearest.h"

namespace pgmint::cli {
namespace {

const OptionSpec* find_option(const std::vector<OptionSpec>& options, std::string_view name) {
  const auto found = std::ranges::find(options, name, &OptionSpec::name);
  return found == options.end() ? nullptr : &*found;
}

/// Splits what was typed into the words that name a command, and all the rest in its order. A global option may stand
/// before the command: its value is not a word of the command's name.
struct Split {
  std::vector<std::string> verb_words;
  std::vector<std::string> rest;
};

Split split_words(const std::vector<std::string>& words) {
  Split split;
  bool taking = true;  // words up to the first one that cannot be part of a command's name
  for (std::size_t i = 0; i < words.size(); ++i) {
    const auto& word = words[i];
    if (word.starts_with('-')) {
      split.rest.push_back(word);
      const auto* option = find_option(global_options(), word);
      if (option != nullptr && !option->value.empty() && i + 1 < words.size()) split.rest.push_back(words[++i]);
      if (option == nullptr && !split.verb_words.empty()) taking = false;
      continue;
    }
    // A command's name has two words at most; what follows it is found out by find_command.
    if (taking && split.verb_words.size() < 2) {
      split.verb_words.push_back(word);
      continue;
    }
    split.rest.push_back(word);
  }
  return split;
}

Error unknown_option(std::string_view word, const CommandSpec* command) {
  std::string name(word.substr(0, word.find('=')));
  std::vector<std::string> known;
  if (command != nullptr)
    for (const auto& option : command->options) known.emplace_back(option.name);
  for (const auto& option : global_options()) known.emplace_back(option.name);
  const auto meant = nearest(name, known);
  const std::string where = command == nullptr ? "pgmint" : fmt::format("pgmint {}", command->verb);
  return Error(Errc::Usage,
               fmt::format("unknown option {}{}", name, meant ? fmt::format("; the nearest is {}", *meant) : ""),
               Hint{fmt::format("{} --help", where)});
}

Status check_positions(const CommandSpec& command, const std::vector<std::string>& given,
                       std::map<std::string, std::vector<std::string>>& values) {
  const std::string hint = fmt::format("pgmint {} --help", command.verb);
  if (given.size() > command.positionals.size())
    return Error(Errc::Usage,
                 fmt::format("{}: unexpected argument \"{}\"", command.verb, given[command.positionals.size()]),
                 Hint{hint});
  for (std::size_t i = 0; i < command.positionals.size(); ++i) {
    const auto& position = command.positionals[i];
    if (i < given.size()) {
      if (given[i].empty())
        return Error(Errc::Usage, fmt::format("{}: {} is empty", command.verb, position.name), Hint{hint});
      values[std::string(position.name)] = {given[i]};
    } else if (position.required) {
      return Error(Errc::Usage, fmt::format("{}: {} is missing", command.verb, position.name), Hint{hint});
    }
  }
  return ok();
}

Status check_values(const std::vector<OptionSpec>& options,
                    const std::map<std::string, std::vector<std::string>>& values, std::string_view verb) {
  const std::string hint = fmt::format("pgmint {} --help", verb);
  for (const auto& option : options) {
    const auto given = values.find(std::string(option.name));
    if (given == values.end()) {
      if (option.required)
        return Error(Errc::Usage, fmt::format("{}: {} {} is missing", verb, option.name, option.value), Hint{hint});
      continue;
    }
    if (!option.repeatable && given->second.size() > 1)
      return Error(Errc::Usage, fmt::format("{} is given {} times", option.name, given->second.size()), Hint{hint});
    for (const auto& value : given->second) {
      if (!option.value.empty() && value.empty())
        return Error(Errc::Usage, fmt::format("{}: the value is empty", option.name), Hint{hint});
      if (!option.words.empty() && std::ranges::find(option.words, value) == option.words.end())
        return Error(Errc::Usage,
                     fmt::format("{} {}: must be one of {}", option.name, value, fmt::join(option.words, ", ")),
                     Hint{hint});
    }
  }
  return ok();
}

/// Takes `rest` apart for `command` (null: no command, global options only).
///
/// Own code, and not CLI11: that rewrites values of the form [a,b] into lists, so that a restore point named "[x]"
/// would be looked for as "x". Here every value arrives as it was typed.
Status take_apart(const CommandSpec* command, const std::vector<std::string>& rest,
                  std::map<std::string, std::vector<std::string>>& values, std::vector<std::string>& positions) {
  const std::string hint = command == nullptr ? "pgmint --help" : fmt::format("pgmint {} --help", command->verb);
  const auto known = [&](std::string_view name) -> const OptionSpec* {
    const auto* option = command == nullptr ? nullptr : find_option(command->options, name);
    return option != nullptr ? option : find_option(global_options(), name);
  };
  bool only_positions = false;
  for (std::size_t i = 0; i < rest.size(); ++i) {
    const std::string_view word = rest[i];
    if (only_positions || !word.starts_with('-') || word == "-") {
      positions.emplace_back(word);
      continue;
    }
    if (word == "--") {
      only_positions = true;
      continue;
    }
    const auto equals = word.find('=');
    const auto* option = known(word.substr(0, equals));
    if (option == nullptr) return unknown_option(word, command);
    auto& given = values[std::string(option->name)];
    if (option->value.empty()) {
      if (equals != std::string_view::npos)
        return Error(Errc::Usage, fmt::format("{} takes no value", option->name), Hint{hint});
      given = {""};
    } else if (equals != std::string_view::npos) {
      given.emplace_back(word.substr(equals + 1));
    } else if (i + 1 < rest.size() && known(rest[i + 1]) == nullptr) {
      given.push_back(rest[++i]);
    } else {
      return Error(Errc::Usage, fmt::format("{} lacks its value {}", option->name, option->value), Hint{hint});
    }
  }
  return ok();
}

}  // namespace

std::optional<std::string> Arguments::get(const std::string& option) const {
  const auto found = values_.find(option);
  if (found == values_.end() || found->second.empty()) return std::nullopt;
  return found->second.back();
}

std::vector<std::string> Arguments::all(const std::string& option) const {
  const auto found = values_.find(option);
  return found == values_.end() ? std::vector<std::string>{} : found->second;
}

Result<Arguments> parse_arguments(const std::vector<std::string>& words) {
  Arguments arguments;
  arguments.command_line = redact(fmt::format("{}", fmt::join(words, " ")));
  Split split = split_words(words);
  const auto asks = [&](std::string_view flag) { return std::ranges::find(words, flag) != words.end(); };
  const bool help = asks("--help") || asks("-h");

  if (!split.verb_words.empty() && split.verb_words[0] == "help") {  // pgmint help wal push
    split.verb_words.erase(split.verb_words.begin());
    while (!split.rest.empty() && !split.rest[0].starts_with('-') && split.verb_words.size() < 2) {
      split.verb_words.push_back(split.rest[0]);
      split.rest.erase(split.rest.begin());
    }
    arguments.help = true;
  }
  arguments.help = arguments.help || help;
  if (split.verb_words.empty()) {
    std::vector<std::string> positions;
    TRY(take_apart(nullptr, split.rest, arguments.values_, positions));
    arguments.version = arguments.has("--version");
    if (!arguments.help && !arguments.version) return Error(Errc::Usage, "no command", Hint{"pgmint --help"});
    return arguments;
  }
  // What is a command itself as well (replicate) has a page of its own.
  const bool is_command = !split.verb_words.empty() && std::ranges::find(all_commands(), split.verb_words[0], &CommandSpec::verb) != all_commands().end();
  if (arguments.help && !is_command && split.verb_words.size() == 1 && !commands_of_group(split.verb_words[0]).empty()) {
    arguments.help_group = split.verb_words[0];
    return arguments;
  }
  const auto found = TRY(find_command(split.verb_words));
  arguments.command = found.command;
  if (arguments.help) return arguments;
  // A second word that is no part of the name is the first argument.
  split.rest.insert(split.rest.begin(), split.verb_words.begin() + static_cast<std::ptrdiff_t>(found.words),
                    split.verb_words.end());
  std::vector<std::string> positions;
  TRY(take_apart(found.command, split.rest, arguments.values_, positions));
  TRY(check_values(found.command->options, arguments.values_, found.command->verb));
  TRY(check_values(global_options(), arguments.values_, found.command->verb));
  TRY(check_positions(*found.command, positions, arguments.values_));
  return arguments;
}

}  // namespace pgmint::cli

#include <fmt/format.h>

#include <algorithm>

#include "cli/config.h"
#include "cli/manual.h"

namespace pgmint::cli {
namespace {

/// Breaks `text` at blanks, every line `indent` to the right.
std::string wrapped(std::string_view text, std::size_t indent, std::size_t columns) {
  const std::size_t room = std::max<std::size_t>(columns > indent ? columns - indent : 0, 20);
  const std::string margin(indent, ' ');
  std::string out, line;
  const auto flush = [&] {
    if (!line.empty()) out += margin + line + "\n";
    line.clear();
  };
  while (!text.empty()) {
    const auto blank = std::min(text.find(' '), text.size());
    const auto word = text.substr(0, blank);
    text.remove_prefix(std::min(blank + 1, text.size()));
    if (word.empty()) continue;
    if (!line.empty() && line.size() + 1 + word.size() > room) flush();
    line += (line.empty() ? "" : " ") + std::string(word);
  }
  flush();
  return out;
}

std::string labelled(std::string_view label, std::string_view text, std::size_t columns) {
  return fmt::format("    {}\n{}", label, wrapped(text, 8, columns));
}

/// "  init            create the repository ..." with the text hanging.
std::string entry(std::string_view name, std::string_view text, std::size_t name_width, std::size_t columns) {
  const std::size_t indent = 4 + name_width + 2;
  std::string body = wrapped(text, indent, columns);
  return fmt::format("    {:<{}}  {}", name, name_width, body.substr(std::min(indent, body.size())));
}

std::string option_label(const OptionSpec& option) {
  if (option.value.empty()) return std::string(option.name);
  return fmt::format("{} {}{}", option.name, option.value, option.repeatable ? " (may be repeated)" : "");
}

std::string options_section(const std::vector<OptionSpec>& options, std::size_t columns) {
  std::string out;
  for (const auto& option : options) out += labelled(option_label(option), option.text, columns);
  return out;
}

std::string exits_section(const std::vector<ExitSpec>& own, std::size_t columns) {
  std::vector<ExitSpec> all = own;
  for (const auto& common : common_exits())
    if (std::ranges::find(all, common.code, &ExitSpec::code) == all.end()) all.push_back(common);
  std::ranges::sort(all, {}, &ExitSpec::code);
  std::string out;
  for (const auto& exit : all) out += entry(std::to_string(exit.code), exit.text, 3, columns);
  return out;
}

std::string commands_section(const std::vector<const CommandSpec*>& commands, std::size_t columns) {
  std::size_t width = 0;
  for (const auto* command : commands) width = std::max(width, command->verb.size());
  std::string out;
  for (const auto* command : commands) out += entry(command->verb, command->summary, width, columns);
  return out;
}

}  // namespace

std::string synopsis(const CommandSpec& command) {
  std::string out = fmt::format("pgmint {}", command.verb);
  for (const auto& position : command.positionals)
    out += position.required ? fmt::format(" {}", position.name) : fmt::format(" [{}]", position.name);
  for (const auto& option : command.options) {
    std::string text(option.name);
    if (!option.value.empty()) text += fmt::format(" {}", option.value);
    if (!option.required) text = fmt::format("[{}]", text);
    out += " " + text + (option.repeatable ? "..." : "");
  }
  return out;
}

std::string help_text(const CommandSpec& command, std::size_t columns) {
  std::string out =
      "NAME\n" + wrapped(fmt::format("pgmint {} - {}", command.verb, command.summary), 4, columns) + "\nSYNOPSIS\n";
  out += wrapped(synopsis(command) + " [GLOBAL OPTIONS]", 4, columns) + "\nDESCRIPTION\n";
  bool first = true;
  for (const auto& paragraph : command.description) {
    out += (first ? "" : "\n") + wrapped(paragraph, 4, columns);
    first = false;
  }
  if (!command.positionals.empty()) {
    out += "\nARGUMENTS\n";
    for (const auto& position : command.positionals) out += labelled(position.name, position.text, columns);
  }
  if (!command.options.empty()) out += "\nOPTIONS\n" + options_section(command.options, columns);
  out += "\nGLOBAL OPTIONS\n" + options_section(global_options(), columns);
  out += "\nEXIT STATUS\n" + exits_section(command.exits, columns);
  if (!command.examples.empty()) {
    out += "\nEXAMPLES\n";
    for (const auto& example : command.examples)
      out += fmt::format("    {}\n{}", example.command, wrapped(example.text, 8, columns));
  }
  out += "\nSEE ALSO\n";
  std::string pages;
  for (const auto& other : command.see_also) pages += fmt::format("pgmint {}, ", other);
  return out + wrapped(pages + "pgmint.toml(5)", 4, columns);
}

std::string overview_text(std::size_t columns) {
  std::string out =
      "NAME\n    pgmint - back up PostgreSQL, and bring it back to any moment\n\nSYNOPSIS\n    pgmint COMMAND "
      "[ARGUMENTS] [OPTIONS]\n\nDESCRIPTION\n";
  out += wrapped(
      "pgmint keeps full backups and the write-ahead log of PostgreSQL clusters in one encrypted repository, and "
      "restores them to any moment in between.",
      4, columns);
  out += "\n" + wrapped(
                    "Start with init, then set archive_command as it says, then take a backup. Everything is described "
                    "by pgmint COMMAND --help.",
                    4, columns);
  out += "\nCOMMANDS\n" + commands_section(all_commands(), columns);
  out += "\nGLOBAL OPTIONS\n" + options_section(global_options(), columns);
  out += "\nEXIT STATUS\n" + exits_section({{1, "A negative answer: nothing was found."},
                                            {5, "Busy: somebody else holds what is needed."},
                                            {9, "PostgreSQL refused or went away."},
                                            {10, "An objective is breached (status)."}},
                                           columns);
  out += "\nENVIRONMENT\n";
  for (const auto& variable : documented_variables()) out += labelled(variable.name, variable.text, columns);
  out += "\nFILES\n" + labelled(kDefaultConfigFile, "The configuration; pgmint.toml(5).", columns);
  return out + "\nSEE ALSO\n    pgmint COMMAND --help, pgmint.toml(5)\n";
}

std::string group_text(std::string_view group, std::size_t columns) {
  return fmt::format(
      "SYNOPSIS\n    pgmint {} COMMAND [ARGUMENTS] [OPTIONS]\n\nCOMMANDS\n{}\n    pgmint {} COMMAND --help says "
      "more.\n",
      group, commands_section(commands_of_group(group), columns), group);
}

}  // namespace pgmint::cli

#include <fmt/format.h>

#include <algorithm>

#include "cli/config.h"
#include "cli/manual.h"

namespace pgmint::cli {
namespace {

/// roff: a backslash or a leading dot or apostrophe would be a command, a hyphen would be typographic.
std::string escaped(std::string_view text) {
  std::string out;
  for (char c : text) {
    if ((c == '.' || c == '\'') && (out.empty() || out.back() == '\n')) out += "\\&";
    if (c == '\\')
      out += "\\e";
    else if (c == '-')
      out += "\\-";
    else
      out += c;
  }
  return out;
}

std::string heading(std::string_view page, int section) {
  std::string upper(page);
  std::ranges::transform(upper, upper.begin(),
                         [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; });
  return fmt::format(
      ".\\\" Made from the command table; do not edit.\n.TH \"{}\" {} \"\" \"pgmint {}\" \"pgmint manual\"\n",
      escaped(upper), section, PGMINT_VERSION);
}

std::string tagged(std::string_view tag, std::string_view text) {
  return fmt::format(".TP\n\\fB{}\\fR\n{}\n", escaped(tag), escaped(text));
}

std::string option_entry(const OptionSpec& option) {
  std::string tag = fmt::format("\\fB{}\\fR", escaped(option.name));
  if (!option.value.empty()) tag += fmt::format(" \\fI{}\\fR", escaped(option.value));
  return fmt::format(".TP\n{}\n{}{}\n", tag, escaped(option.text), option.repeatable ? " May be repeated." : "");
}

std::string exit_section(std::vector<ExitSpec> all) {
  for (const auto& common : common_exits())
    if (std::ranges::find(all, common.code, &ExitSpec::code) == all.end()) all.push_back(common);
  std::ranges::sort(all, {}, &ExitSpec::code);
  std::string out = ".SH EXIT STATUS\n";
  for (const auto& exit : all) out += tagged(std::to_string(exit.code), exit.text);
  return out;
}

}  // namespace

std::string page_name(const CommandSpec& command) {
  std::string name = fmt::format("pgmint-{}", command.verb);
  std::ranges::replace(name, ' ', '-');
  return name;
}

std::string man_page(const CommandSpec& command) {
  std::string out = heading(page_name(command), 1);
  out += fmt::format(".SH NAME\n{} \\- {}\n", escaped(page_name(command)), escaped(command.summary));
  out +=
      fmt::format(".SH SYNOPSIS\n\\fB{}\\fR [\\fIglobal options\\fR]\n.SH DESCRIPTION\n", escaped(synopsis(command)));
  bool first = true;
  for (const auto& paragraph : command.description) {
    out += (first ? "" : ".PP\n") + escaped(paragraph) + "\n";
    first = false;
  }
  if (!command.positionals.empty()) out += ".SH ARGUMENTS\n";
  for (const auto& position : command.positionals) out += tagged(position.name, position.text);
  if (!command.options.empty()) out += ".SH OPTIONS\n";
  for (const auto& option : command.options) out += option_entry(option);
  out += ".SH GLOBAL OPTIONS\n";
  for (const auto& option : global_options()) out += option_entry(option);
  out += exit_section(command.exits);
  if (!command.examples.empty()) out += ".SH EXAMPLES\n";
  for (const auto& example : command.examples) out += tagged(example.command, example.text);
  out += ".SH SEE ALSO\n";
  for (const auto& other : command.see_also) {
    std::string page = fmt::format("pgmint-{}", other);
    std::ranges::replace(page, ' ', '-');
    out += fmt::format(".BR {} (1),\n", escaped(page));
  }
  return out + ".BR pgmint.toml (5)\n";
}

std::string man_overview() {
  std::string out = heading("pgmint", 1);
  out +=
      ".SH NAME\npgmint \\- back up PostgreSQL, and bring it back to any moment\n.SH SYNOPSIS\n\\fBpgmint\\fR "
      "\\fIcommand\\fR [\\fIarguments\\fR] [\\fIoptions\\fR]\n";
  out +=
      ".SH DESCRIPTION\npgmint keeps full backups and the write\\-ahead log of PostgreSQL clusters in one encrypted "
      "repository, and restores them to any moment in between.\n";
  out += ".SH COMMANDS\n";
  for (const auto* command : all_commands()) out += tagged(command->verb, command->summary);
  out += ".SH GLOBAL OPTIONS\n";
  for (const auto& option : global_options()) out += option_entry(option);
  out += exit_section({{1, "A negative answer: nothing was found."},
                       {5, "Busy: somebody else holds what is needed."},
                       {9, "PostgreSQL refused or went away."},
                       {10, "An objective is breached (status), or a step of a recovery failed."}});
  out += ".SH ENVIRONMENT\n";
  for (const auto& variable : documented_variables()) out += tagged(variable.name, variable.text);
  out += ".SH FILES\n" + tagged(kDefaultConfigFile, "The configuration.") + ".SH SEE ALSO\n";
  for (const auto* command : all_commands()) out += fmt::format(".BR {} (1),\n", escaped(page_name(*command)));
  return out + ".BR pgmint.toml (5)\n";
}

std::string man_configuration() {
  std::string out = heading("pgmint.toml", 5);
  out += ".SH NAME\npgmint.toml \\- configuration of pgmint\n.SH DESCRIPTION\n";
  out += "A TOML file, by default " + escaped(kDefaultConfigFile) +
         ". What a command line says beats the environment, which beats this file. An unknown key is an error.\n";
  std::string table = "?";
  for (const auto& key : documented_keys()) {
    if (key.table != table) {
      table = key.table;
      out += fmt::format(".SH \"{}\"\n", table.empty() ? "TOP LEVEL" : escaped(table));
    }
    out += fmt::format(".TP\n\\fB{}\\fR (\\fI{}\\fR)\n{}\n", escaped(key.key), escaped(key.kind), escaped(key.text));
  }
  out +=
      ".SH EXAMPLE\n.nf\nrepository = \"/var/lib/pgmint\"\n\n[encryption]\nkey_file = "
      "\"/etc/pgmint/repository.key\"\n\n[cluster.main]\n"
      "data_directory = \"/var/lib/postgresql/15/main\"\nconnection = \"host=/var/run/postgresql port=5432 "
      "user=postgres dbname=postgres\"\n"
      "environment = \"production\"\n.fi\n";
  out += ".SH ENVIRONMENT\n";
  for (const auto& variable : documented_variables()) out += tagged(variable.name, variable.text);
  return out + ".SH SEE ALSO\n.BR pgmint (1)\n";
}

}  // namespace pgmint::cli

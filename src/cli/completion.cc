#include <fmt/format.h>
#include <fmt/ranges.h>

#include <set>

#include "cli/manual.h"

namespace pgmint::cli {
namespace {

/// The `case` arm that completes the value of one option.
std::string value_arm(const OptionSpec& option) {
  std::string action;
  if (!option.words.empty())
    action = fmt::format("COMPREPLY=($(compgen -W '{}' -- \"$cur\"))", fmt::join(option.words, " "));
  else if (option.completes == Completes::File)
    action = "compopt -o filenames; COMPREPLY=($(compgen -f -- \"$cur\"))";
  else if (option.completes == Completes::Directory)
    action = "compopt -o filenames; COMPREPLY=($(compgen -d -- \"$cur\"))";
  else if (option.completes == Completes::Cluster)
    action = "COMPREPLY=($(compgen -W \"$(_pgmint_clusters)\" -- \"$cur\"))";
  else
    action = "COMPREPLY=()";
  return fmt::format("      {}) {}; return ;;\n", option.name, action);
}

}  // namespace

std::string bash_completion() {
  std::set<std::string_view> first_words;
  std::string groups, commands;
  for (const auto* command : all_commands()) {
    const auto blank = command->verb.find(' ');
    first_words.insert(command->verb.substr(0, blank));
    std::string options;
    std::string arms;
    for (const auto* list : {&command->options, &global_options()})
      for (const auto& option : *list) {
        options += std::string(option.name) + " ";
        if (!option.value.empty()) arms += value_arm(option);
      }
    std::string positional = "COMPREPLY=()";
    if (!command->positionals.empty()) {
      const auto completes = command->positionals.front().completes;
      if (completes == Completes::Cluster) positional = "COMPREPLY=($(compgen -W \"$(_pgmint_clusters)\" -- \"$cur\"))";
      if (completes == Completes::File) positional = "compopt -o filenames; COMPREPLY=($(compgen -f -- \"$cur\"))";
    }
    commands += fmt::format(
        "    '{}')\n      case $prev in\n{}      esac\n      if [[ $cur == -* ]]; then COMPREPLY=($(compgen -W '{}' -- "
        "\"$cur\")); else {}; fi ;;\n",
        command->verb, arms, options, positional);
  }
  for (const auto& word : first_words) {
    std::vector<std::string_view> seconds;
    for (const auto* command : commands_of_group(word)) seconds.push_back(command->verb.substr(word.size() + 1));
    if (!seconds.empty())
      groups +=
          fmt::format("    {}) COMPREPLY=($(compgen -W '{}' -- \"$cur\")); return ;;\n", word, fmt::join(seconds, " "));
  }
  return fmt::format(R"(# bash completion for pgmint; made from the command table, do not edit.
_pgmint_clusters() {{
  local i file=${{PGMINT_CONFIG:-/etc/pgmint/pgmint.toml}}
  for ((i = 1; i < ${{#words[@]}} - 1; i++)); do [[ ${{words[i]}} == --config ]] && file=${{words[i+1]}}; done
  sed -n 's/^[[:space:]]*\[cluster\.\([A-Za-z0-9._-]*\)\].*/\1/p' "$file" 2>/dev/null
}}
_pgmint() {{
  local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD-1]}} words=("${{COMP_WORDS[@]}}")
  local i verb='' skip=''
  for ((i = 1; i < COMP_CWORD; i++)); do
    if [[ -n $skip ]]; then skip=''; continue; fi
    case ${{words[i]}} in
      --config|--log-level|--progress) skip=1 ;;
      -*) [[ -n $verb ]] && break ;;
      *) [[ $verb == *' '* ]] && break; verb="${{verb:+$verb }}${{words[i]}}" ;;
    esac
  done
  [[ $prev == --config ]] && {{ compopt -o filenames; COMPREPLY=($(compgen -f -- "$cur")); return; }}
  if [[ -z $verb ]]; then COMPREPLY=($(compgen -W '{} --help --version --config' -- "$cur")); return; fi
  case $verb in
{}  esac
  # A second word that is an argument, not part of the command's name.
  case $verb in {}) ;; *' '*) verb=${{verb%% *}} ;; esac
  case $verb in
{}  esac
}}
complete -F _pgmint pgmint
)",
                     fmt::join(first_words, " "), groups,
                     [] {
                       std::vector<std::string> pairs;
                       for (const auto* command : all_commands())
                         if (command->verb.find(' ') != std::string_view::npos)
                           pairs.push_back(fmt::format("'{}'", command->verb));
                       return fmt::format("{}", fmt::join(pairs, "|"));
                     }(),
                     commands);
}

}  // namespace pgmint::cli

#include "cli/command_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "cli/commands.h"
#include "cli/nearest.h"

namespace pgmint::cli {
namespace {

/// Verbs that the command line is to have one day. Naming them is better than "unknown", and pretending would be worse.
constexpr std::string_view kLaterVerbs[] = {"wal receive"};

Error later_version(std::string_view verb) {
  return Error(Errc::Precondition, fmt::format("{}: not in this version (pgmint {})", verb, PGMINT_VERSION),
               Hint{"pgmint --help lists what is"});
}

}  // namespace

const std::vector<const CommandSpec*>& all_commands() {
  static const std::vector<const CommandSpec*> commands = {
      &init_command(), &backup_command(), &list_command(), &show_command(), &restore_command(), &plan_command(), &validate_command(), &backup_db_command(),
      &restore_db_command(), &export_command(), &import_command(), &diff_command(), &wal_push_command(), &wal_get_command(), &wal_status_command(), &wal_drain_command(),
      &wal_show_command(), &verify_command(), &status_command(), &doctor_command(), &metrics_command(), &alert_check_command(), &alert_test_command(),
      &alert_list_command(), &alert_dismiss_command(), &hold_command(), &release_command(), &expire_command(), &collect_command(), &lock_command(), &replicate_command(), &replicate_promote_command(), &repair_command(), &key_list_command(),
      &key_add_command(), &key_remove_command(), &key_rotate_command(), &key_check_command(), &audit_list_command(), &audit_verify_command(),
      &audit_anchor_command(), &cluster_adopt_command(), &roles_command(), &policy_aws_command(), &report_command(), &recover_command(), &runbook_command(), &schedule_show_command(),
      &schedule_install_command(), &daemon_command(),
  };
  return commands;
}

const std::vector<OptionSpec>& global_options() {
  static const std::vector<OptionSpec> options = {
      {.name = "--config",
       .value = "FILE",
       .text = "The configuration. Default: PGMINT_CONFIG, else /etc/pgmint/pgmint.toml.",
       .completes = Completes::File},
      {.name = "--repository",
       .value = "NAME",
       .text = "One of the configured repositories, or a directory or URL. Default: PGMINT_REPOSITORY, else all of them, or, where something is looked for, the first that has it."},
      {.name = "--json",
       .value = "",
       .text = "Answer with one JSON document on standard output. Everything else still goes to standard error."},
      {.name = "--log-level",
       .value = "LEVEL",
       .text = "debug, info, warning or error: what is told on standard error beside errors.",
       .words = {"debug", "info", "warning", "error"}},
      {.name = "--log-format",
       .value = "FORMAT",
       .text = "text, json (one object a line), journal, or auto: how that looks.",
       .words = {"auto", "text", "json", "journal"}},
      {.name = "--progress",
       .value = "HOW",
       .text = "auto: a bar on a terminal, else plain lines every few seconds, with --log-format json events; plain; json: one event a line; none. "
               "Always on standard error.",
       .words = {"auto", "plain", "json", "none"}},
      {.name = "--yes", .value = "", .text = "Do what would otherwise need a confirmation."},
      {.name = "--help", .value = "", .text = "Show this page."},
      {.name = "--version", .value = "", .text = "Show pgmint's version."},
  };
  return options;
}

const std::vector<ExitSpec>& common_exits() {
  static const std::vector<ExitSpec> exits = {
      {0, "Done."},
      {2, "The command line is wrong."},
      {3, "The configuration is wrong."},
      {4, "Cannot be done as things stand; nothing was changed."},
      {6, "The repository or a file system could not be reached or written."},
      {7, "A key is missing or wrong, or permission is denied."},
      {8, "Corruption was found."},
      {70, "A bug in pgmint."},
      {130, "Cancelled."},
  };
  return exits;
}

std::vector<const CommandSpec*> commands_of_group(std::string_view group) {
  std::vector<const CommandSpec*> found;
  for (const auto* command : all_commands())
    if (command->verb.size() > group.size() && command->verb.starts_with(group) && command->verb[group.size()] == ' ')
      found.push_back(command);
  return found;
}

Result<FoundCommand> find_command(const std::vector<std::string>& words) {
  PGMINT_ASSERT(!words.empty());
  const std::string& first = words[0];
  const std::string pair = words.size() > 1 ? fmt::format("{} {}", first, words[1]) : first;
  const auto known = [](std::string_view verb) -> const CommandSpec* {
    const auto& all = all_commands();
    const auto found = std::ranges::find(all, verb, &CommandSpec::verb);
    return found == all.end() ? nullptr : *found;
  };
  if (words.size() > 1)
    if (const auto* command = known(pair)) return FoundCommand{command, 2};
  if (const auto* command = known(first)) return FoundCommand{command, 1};
  if (first == "wal" && words.size() > 1 && words[1] == "prefetch") return FoundCommand{&wal_prefetch_command(), 2};
  for (const auto later : kLaterVerbs)
    if (later == first || later == pair) return later_version(later);
  const auto group = commands_of_group(first);
  if (!group.empty() && words.size() == 1) {
    // `pgmint audit` is `pgmint audit list`, `pgmint key` is `pgmint key list`.
    if (const auto* command = known(first + " list")) return FoundCommand{command, 1};
    return Error(Errc::Usage, fmt::format("{} needs another word", first),
                 Hint{fmt::format("pgmint {} --help", first)});
  }
  std::vector<std::string> names;
  if (!group.empty())
    for (const auto* command : group) names.emplace_back(command->verb);
  else
    for (const auto* command : all_commands()) names.emplace_back(command->verb.substr(0, command->verb.find(' ')));
  const std::string typed = group.empty() ? first : pair;
  const auto meant = nearest(typed, names);
  return Error(Errc::Usage,
               fmt::format("unknown command \"{}\"{}", typed, meant ? fmt::format("; the nearest is {}", *meant) : ""),
               Hint{group.empty() ? "pgmint --help" : fmt::format("pgmint {} --help", first)});
}

}  // namespace pgmint::cli

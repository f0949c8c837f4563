#include <fmt/format.h>

#include <algorithm>

#include "base/log.h"
#include "cli/cluster_choice.h"
#include "cli/commands.h"
#include "cli/dump_run.h"

namespace pgmint::cli {
namespace {

/// A server's name in the repository when it has none yet: the configured cluster's, if it is that; else its host's.
Result<std::string> name_for(Context& context, postgres::SystemIdentifier identifier) {
  if (const auto known = TRY(TRY(context.repository())->find_by_system_id(identifier.value()))) return known->state().cluster_name();
  const auto& configuration = *TRY(context.configuration());
  for (const auto& cluster : configuration.clusters)
    if (const auto control = control_of(cluster); control && control->system_identifier == identifier) return cluster.name;
  std::string name = context.arguments().get("--host").value_or("main");
  std::ranges::replace_if(name, [](char c) { return !std::isalnum(static_cast<unsigned char>(c)) && c != '.' && c != '-'; }, '_');
  if (name.empty() || name.front() == '.' || name.front() == '-' || name.front() == '_') name = "main";
  for (const auto& cluster : configuration.clusters)
    if (cluster.name == name) return fmt::format("{}-{}", name, identifier.value());
  return name;
}

Result<int> run(Context& context) {
  const auto& arguments = context.arguments();
  const auto& configuration = *TRY(context.configuration());
  const auto* only = configuration.clusters.size() == 1 ? &configuration.clusters.front() : nullptr;
  DumpChoice choice;
  choice.connect = TRY(connect_options(arguments, only != nullptr ? only->connection : ""));
  choice.connect.database = *arguments.get("--db");
  choice.databases = {*arguments.get("--db")};
  choice.note = arguments.get("--note").value_or("");
  if (only != nullptr) choice.bin_directory = only->bin_directory.value_or("");
  const auto name = TRY(name_for(context, TRY(identifier_of(context, choice.connect))));
  return run_dump(context, name, choice);
}

}  // namespace

const CommandSpec& backup_db_command() {
  static const CommandSpec command = {
      .verb = "backup-db",
      .summary = "dump one database into the repository",
      .description = {"The runbook's command, also installed under that name. It takes a logical backup of one database, as pgmint backup --type "
                      "logical --database does, from any server that can be reached; see there.",
                      "A password is better kept in ~/.pgpass, or given in PGPASSWORD, than in a command line."},
      .positionals = {},
      .options = {{.name = "--host", .value = "HOST", .text = "The server, or the directory of its socket. Default: as configured."},
                  {.name = "--port", .value = "PORT", .text = "Default: 5432, or as configured."},
                  {.name = "--user", .value = "USER", .text = "Default: as configured, else who runs this."},
                  {.name = "--db", .value = "DB", .text = "The database.", .required = true},
                  {.name = "--note", .value = "TEXT", .text = "Stands beside the backup in list and show."},
                  {.name = "--jobs", .value = "N", .text = "Threads that compress. Default: the configured jobs, else the cores."}},
      .exits = {{4, "There is no pg_dump for this server, no such database, or the like; nothing was changed."},
                {9, "PostgreSQL could not be reached, or pg_dump failed."}},
      .examples = {{"backup-db --host db1 --db mint_replica --user backup", "As crontab runs it."},
                   {"pgmint backup-db --db mint_replica", "The same, of the configured server."}},
      .see_also = {"restore-db", "backup", "list"},
      .changes_repository = true,
      .leaves_note = true,
      .repositories = Repositories::Each,
      .copies = BackupCopies::OwnPacks,
      .run = run,
  };
  return command;
}

}  // namespace pgmint::cli

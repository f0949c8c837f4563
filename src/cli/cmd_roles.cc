#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/context.h"
#include "logical/database_sql.h"

namespace pgmint::cli {
namespace {

/// As SQL writes a text.
std::string literal(std::string_view text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("''") : std::string(1, c);
  return out + "'";
}

std::string make_role(const std::string& name, std::string_view attributes) {
  return fmt::format("  IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = {0}) THEN CREATE ROLE {1}; END IF;\n"
                     "  ALTER ROLE {1} {2};\n",
                     literal(name), logical::sql_name(name), attributes);
}

/// Reads every table, starts and ends a backup, and changes nothing else. The server's version is asked where it matters, so that one text fits all.
std::string backup_sql(const std::string& name) {
  const auto role = logical::sql_name(name);
  return fmt::format("  -- Backups, dumps and configuration backups. BYPASSRLS: a dump that row security cuts short would be worse than none. pg_read_all_data\n"
                     "  -- reads the catalogs as well, password hashes among them: this role sees what a backup holds.\n") +
         make_role(name, "LOGIN BYPASSRLS NOSUPERUSER NOCREATEDB NOCREATEROLE") +
         fmt::format("  GRANT pg_read_all_settings, pg_read_all_stats TO {0};\n"
                     "  GRANT EXECUTE ON FUNCTION pg_catalog.pg_switch_wal(), pg_catalog.pg_create_restore_point(text) TO {0};\n"
                     "  GRANT EXECUTE ON FUNCTION pg_catalog.pg_show_all_file_settings(), pg_catalog.pg_hba_file_rules() TO {0};\n"
                     "  GRANT SELECT ON pg_catalog.pg_file_settings, pg_catalog.pg_hba_file_rules TO {0};\n"
                     "  IF version >= 150000 THEN\n"
                     "    EXECUTE 'GRANT EXECUTE ON FUNCTION pg_catalog.pg_backup_start(text, boolean), pg_catalog.pg_backup_stop(boolean) TO ' || {1};\n"
                     "  ELSE\n"
                     "    EXECUTE 'GRANT EXECUTE ON FUNCTION pg_catalog.pg_start_backup(text, boolean, boolean), pg_catalog.pg_stop_backup(boolean, boolean) TO ' || {1};\n"
                     "  END IF;\n"
                     "  IF version >= 140000 THEN\n"
                     "    EXECUTE 'GRANT pg_read_all_data TO ' || {1};\n"
                     "  ELSE\n"
                     "    RAISE NOTICE 'PostgreSQL 13 has no pg_read_all_data: for dumps, GRANT SELECT ON ALL TABLES and ALL SEQUENCES IN SCHEMA ... in each database';\n"
                     "  END IF;\n",
                     role, literal(role));
}

std::string restore_sql(const std::string& name, const std::vector<std::string>& owners) {
  const auto role = logical::sql_name(name);
  auto text = std::string("  -- restore-db: makes databases, and ends connections to the one that it swaps. What is not its own is given to who it belongs to only\n"
                          "  -- where it is a member of that role (--owner); else restore-db --no-owner.\n") +
              make_role(name, "LOGIN CREATEDB NOSUPERUSER NOCREATEROLE") + fmt::format("  GRANT pg_signal_backend TO {};\n", role);
  for (const auto& owner : owners) text += fmt::format("  GRANT {} TO {};\n", logical::sql_name(owner), role);
  return text;
}

std::string monitor_sql(const std::string& name) {
  return "  -- status, doctor and metrics: sees how the server does, and no row of any table.\n" +
         make_role(name, "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS") + fmt::format("  GRANT pg_monitor TO {};\n", logical::sql_name(name));
}

Result<int> run(Context& context) {
  const auto& arguments = context.arguments();
  const auto prefix = arguments.get("--prefix").value_or("pgmint_");
  const auto wanted = arguments.all("--role");
  const auto wants = [&](std::string_view role) { return wanted.empty() || std::ranges::find(wanted, role) != wanted.end(); };
  if (!wants("restore") && arguments.has("--owner")) return Error(Errc::Usage, "--owner goes with the restore role", Hint{"pgmint roles --help"});
  std::string body;
  Json names = Json::array();
  const auto add = [&](std::string_view role, auto make) {
    if (!wants(role)) return;
    const auto name = fmt::format("{}{}", prefix, role);
    names.push_back(name);
    body += make(name);
  };
  add("backup", backup_sql);
  add("restore", [&](const std::string& name) { return restore_sql(name, arguments.all("--owner")); });
  add("monitor", monitor_sql);
  const auto sql = fmt::format("-- Roles for pgmint, for PostgreSQL 13 to 18. Run it as a superuser in the database that `connection` names, since rights on functions are a database's own:\n"
                               "--   pgmint roles | psql -X -v ON_ERROR_STOP=1 -d postgres\n"
                               "-- It may be run again. No role gets a password: pg_hba.conf says how they log in (peer, or scram-sha-256 after \\password).\n"
                               "DO $pgmint$\n"
                               "DECLARE version int := pg_catalog.current_setting('server_version_num')::int;\n"
                               "BEGIN\n{}END\n$pgmint$;",
                               body);
  context.output().line(sql);
  context.output().document({{"roles", std::move(names)}, {"sql", sql}});
  return 0;
}

}  // namespace

const CommandSpec& roles_command() {
  static const CommandSpec command = {
      .verb = "roles",
      .summary = "print SQL for roles that may do what backup, restore and monitoring need, and nothing else",
      .description = {"Three roles without superuser's rights. pgmint_backup reads: for backup of all types. pgmint_restore makes databases: for restore-db. pgmint_monitor "
                      "sees the server's state and no row: for status, doctor and metrics. Nothing is connected to and nothing is changed: read the SQL, then run it.",
                      "A backup of the data directory also reads its files: pgmint runs as their owner, or in their group (initdb --allow-group-access). restore needs no role at "
                      "all. From PostgreSQL 14 on pgmint_backup is a member of pg_read_all_data, which also reads the catalogs, password hashes among them: guard its login as you guard the "
                      "backups. pgmint_restore cannot install extensions that are not trusted."},
      .positionals = {},
      .options = {{.name = "--role", .value = "ROLE", .text = "backup, restore or monitor alone.", .repeatable = true, .words = {"backup", "restore", "monitor"}},
                  {.name = "--prefix", .value = "TEXT", .text = "What the names begin with. Default: pgmint_."},
                  {.name = "--owner", .value = "NAME", .text = "pgmint_restore may give what it restores to this role.", .repeatable = true}},
      .exits = {},
      .examples = {{"pgmint roles --owner mint_app", "To look at; pipe it into psql as a superuser."}},
      .see_also = {"backup", "restore-db", "status"},
      .only_reads = true,
      .run = run,
  };
  return command;
}

}  // namespace pgmint::cli

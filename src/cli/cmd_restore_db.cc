#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/log.h"
#include "base/units.h"
#include "cli/checks_answer.h"
#include "cli/cluster_choice.h"
#include "cli/commands.h"
#include "cli/dump_names.h"
#include "cli/dump_run.h"
#include "cli/progress.h"
#include "logical/load.h"

namespace pgmint::cli {
namespace {

constexpr std::size_t kTablesShown = 12;

struct ListedDump {
  TimePoint started{};
  std::uint64_t bytes = 0;
  std::string database, name, backup, cluster;
};

/// Every dump, oldest first.
Result<std::vector<ListedDump>> dumps(Context& context, const std::optional<std::string>& database) {
  std::vector<ListedDump> all;
  for (const auto& cluster : TRY(clusters_to_show(context, context.arguments().get("--cluster")))) {
    for (const auto& backup : TRY(backups_of(*cluster))) {
      if (backup.snap.type != repository::BackupType::Logical) continue;
      if (!backup.root) {
        print_warning(fmt::format("{}: {}", backup.snap.name, backup.problem));
        continue;
      }
      const auto overview = TRY(logical::read_overview(*cluster, backup.snap.session));
      for (const auto& name : overview.databases) {
        if (database && *database != name) continue;
        const auto archive = overview.files.find(fmt::format("{}/{}", logical::database_directory(name), logical::kArchiveFile));
        all.push_back({backup.started(), archive == overview.files.end() ? 0 : archive->second.size, name, dump_name(name, backup.started()),
                       backup.snap.name, backup.cluster});
      }
    }
  }
  std::ranges::sort(all, {}, [](const ListedDump& dump) { return std::tie(dump.started, dump.database); });
  return all;
}

Result<int> list(Context& context) {
  const auto all = TRY(dumps(context, context.arguments().get("--db")));
  Json json = Json::array();
  for (const auto& dump : all) {
    context.output().line(fmt::format("{} | {} | {}", dump_time(dump.started), dump_size(dump.bytes), dump.name));
    json.push_back({{"dump", dump.name}, {"database", dump.database}, {"started", format_rfc3339(dump.started)}, {"bytes", dump.bytes},
                    {"backup", dump.backup}, {"cluster", dump.cluster}});
  }
  context.output().document({{"dumps", std::move(json)}});
  if (!all.empty()) return 0;
  print_warning("there are no dumps yet: backup-db --db DB, or pgmint backup --type logical, takes one");
  return exit_code(Errc::NotFound);
}

std::string_view step_name(logical::LoadStep step) {
  switch (step) {
    case logical::LoadStep::Preflight: return "preflight";
    case logical::LoadStep::Schema: return "schema";
    case logical::LoadStep::Data: return "data";
    case logical::LoadStep::Indexes: return "indexes";
    case logical::LoadStep::Constraints: return "constraints";
    case logical::LoadStep::Analyze: return "analyze";
    case logical::LoadStep::Check: return "check";
    case logical::LoadStep::Swap: return "swap";
  }
  return "restore";
}

std::string some_of(const std::vector<std::string>& tables) {
  if (tables.size() <= kTablesShown) return fmt::format("{}", fmt::join(tables, ", "));
  const std::vector<std::string> first(tables.begin(), tables.begin() + kTablesShown);
  return fmt::format("{} and {} more", fmt::join(first, ", "), tables.size() - kTablesShown);
}

void answer(Context& context, const logical::LoadReport& report, const std::string& backup) {
  auto& out = context.output();
  Json ready = Json::object();
  for (const auto& [stage, after] : report.ready) ready[stage] = std::chrono::duration<double>(after).count();
  out.document({{"database", report.database},
                {"backup", backup},
                {"tables", report.tables},
                {"rows", report.rows},
                {"uncounted_tables", report.uncounted},
                {"took_s", std::chrono::duration<double>(report.took).count()},
                {"ready_s", std::move(ready)},
                {"kept_as", report.kept_as.empty() ? Json(nullptr) : Json(report.kept_as)},
                {"differences", report.differences},
                {"warnings", report.warnings}});
  out.line(fmt::format("database {} is restored from {}", report.database, backup));
  out.line(fmt::format("  took {}; {}", human(report.took), counted(report.tables, "table")));
  if (report.uncounted < report.tables)
    out.line(fmt::format("  {}{}", counted(report.rows, "row"), report.differences.empty() ? ", as many as were dumped" : ""));
  if (report.uncounted != 0)
    out.line(fmt::format("  the rows of {} could not be held against the dump: they were not counted in it", counted(report.uncounted, "table")));
  if (report.ready.size() > 1)
    for (const auto& [stage, after] : report.ready) out.line(fmt::format("  tables of class {} could be used after {}", stage, human(after)));
  if (!report.kept_as.empty())
    out.line(fmt::format("  the database that was there is now {}: when it is no longer needed, DROP DATABASE \"{}\"", report.kept_as, report.kept_as));
  for (const auto& difference : report.differences) print_warning(difference);
  for (const auto& warning : report.warnings) print_warning(warning);
}

/// The newest dump of that database, for --backup latest.
Result<FoundBackup> newest_dump(Context& context, const std::string& database) {
  const auto all = TRY(dumps(context, database));
  if (all.empty()) return Error(Errc::NotFound, fmt::format("there is no dump of {}", database), Hint{"restore-db --list"});
  auto found = TRY(find_backup(context, all.back().backup, all.back().cluster));
  found.database = database;
  return found;
}

Result<int> restore(Context& context) {
  const auto& arguments = context.arguments();
  const auto database = arguments.get("--db");
  const auto backup = arguments.get("--backup");
  if (!database) return Error(Errc::Usage, "--db: which database?", Hint{"restore-db --list shows what there is"});
  if (!backup) return Error(Errc::Usage, "--backup: which backup?", Hint{"restore-db --list shows what there is; --backup latest takes the newest"});
  const auto found = *backup == "latest" ? TRY(newest_dump(context, arguments.get("--from-db").value_or(*database)))
                                         : TRY(find_backup(context, *backup, arguments.get("--cluster")));
  const auto& configuration = *TRY(context.configuration());
  const auto* settings = configuration.find_cluster(found.cluster->state().cluster_name());

  ProgressDisplay display(progress_mode(context));
  logical::LoadRequest request{.cluster = *found.cluster, .session = found.session, .source = {}, .connect = {}, .target = *database};
  request.connect = TRY(connect_options(arguments, settings != nullptr ? settings->connection : ""));
  request.connect.database = "postgres";  // never the one that is to be renamed
  if (*database == "postgres") request.connect.database = "template1";
  const auto overview = TRY(logical::read_overview(*found.cluster, found.session));
  request.source = arguments.get("--from-db").value_or(found.database);
  if (request.source.empty() && std::ranges::find(overview.databases, *database) != overview.databases.end()) request.source = *database;
  request.choice.tables = arguments.all("--table");
  request.choice.schemas = arguments.all("--schema");
  request.choice.high = configuration.recovery.high;
  request.choice.medium = configuration.recovery.medium;
  request.choice.schema_only = arguments.has("--schema-only");
  request.choice.data_only = arguments.has("--data-only");
  request.no_owner = arguments.has("--no-owner");
  if (settings != nullptr) request.bin_directory = settings->bin_directory.value_or("");
  request.jobs = TRY(context.jobs());
  request.cancel = &context.cancel();
  request.event = [&](const logical::LoadEvent& event) {
    if (event.stage_ready) {
      display.finish();
      log_info("tables of class {} can be used: {}", event.stage, some_of(event.tables));
      if (event.stage == "high") log_info("critical service can start now; the rest goes on");
      return;
    }
    const bool measured = event.step == logical::LoadStep::Data;
    display.update({step_name(event.step), measured ? event.bytes_done : 0, measured ? event.bytes_total : 0, std::nullopt, event.stage});
  };
  if (arguments.has("--check-only")) {
    const auto checked = logical::check(request);
    return answer_checks(context, checked.checks, checked.refusal);
  }
  auto loaded = logical::load(request);
  display.finish();
  const auto report = TRY(std::move(loaded));
  answer(context, report, overview.root.name);
  return report.differences.empty() ? 0 : exit_code(Errc::Corruption);
}

Result<int> run(Context& context) { return context.arguments().has("--list") ? list(context) : restore(context); }

}  // namespace

const CommandSpec& restore_db_command() {
  static const CommandSpec command = {
      .verb = "restore-db",
      .summary = "list dumps, or restore one into a running server",
      .description = {"The runbook's command, also installed under that name. With --list it shows every dump with its time, its size and its name; "
                      "that name, or the backup's own, says which one to restore.",
                      "The dump is streamed from the repository into pg_restore, several tables at once. A database that does not exist is made; one that "
                      "is empty is filled. One that holds something is left as it is until the dump is loaded beside it: then the two are swapped by "
                      "rename, its connections are ended, and the old database is kept under a name that the answer tells. Nothing is dropped.",
                      "Where the configuration has [recovery] with high and medium, the schema comes first, then the tables of class high with their "
                      "indexes and constraints; that they can be used is told at once, and a swap takes place then. The others follow.",
                      "With --table or --schema only these are loaded, into the database that is there; they must not be there themselves.",
                      "The rows of each table are counted and held against what was dumped, before a class of tables is said to be usable and before a "
                      "swap. A database with other rows is not swapped in: the one that is there stays as it is, and the exit status is 8. Of files that "
                      "pgmint import took in compressed, the rows are not known; the answer says of how many tables."},
      .positionals = {},
      .options = {{.name = "--list", .value = "", .text = "Show the dumps. With --db only those of that database."},
                  {.name = "--host", .value = "HOST", .text = "The server, or the directory of its socket. Default: as configured."},
                  {.name = "--port", .value = "PORT", .text = "Default: 5432, or as configured."},
                  {.name = "--user", .value = "USER", .text = "Default: as configured, else who runs this."},
                  {.name = "--db", .value = "DB", .text = "The database to restore."},
                  {.name = "--backup", .value = "NAME", .text = "A name as --list or pgmint list shows it, or latest."},
                  {.name = "--from-db", .value = "DB", .text = "The database in the backup, where it has another name than the one to restore."},
                  {.name = "--table", .value = "PATTERN", .text = "This table alone: name or schema.name; '*' stands for any characters.", .repeatable = true},
                  {.name = "--schema", .value = "PATTERN", .text = "This schema alone.", .repeatable = true},
                  {.name = "--schema-only", .value = "", .text = "No data."},
                  {.name = "--data-only", .value = "", .text = "Data alone, into tables that are there."},
                  {.name = "--no-owner", .value = "", .text = "Everything belongs to the user who restores, and nobody is granted anything."},
                  {.name = "--check-only", .value = "", .text = "Look at everything that is looked at before a restore, change nothing, and show it as a list."},
                  {.name = "--jobs", .value = "N", .text = "Tables loaded at once. Default: the configured jobs, else the cores."},
                  {.name = "--cluster", .value = "NAME", .text = "Where several clusters have a backup of that name.", .completes = Completes::Cluster}},
      .exits = {{1, "There is no such backup, or nothing to list."},
                {4, "A role is missing, the server is older than the dump, or the like; nothing was changed."},
                {8, "A dump is damaged, or other rows were loaded than were dumped; nothing was swapped then."},
                {9, "PostgreSQL could not be reached, or pg_restore failed; what was loaded beside is removed again."}},
      .examples = {{"restore-db --list", "What there is."},
                   {"restore-db --host db1 --db mint_replica --user restore --backup mint_replica_20240120_010000.sql.gz.enc", "One of them, as the runbook has it."},
                   {"restore-db --db mint_replica --backup latest --table transactions", "One table that was lost."},
                   {"restore-db --db inspection --from-db mint_replica --backup latest", "Into another database, to look at."}},
      .see_also = {"backup-db", "backup", "restore", "list"},
      .repositories = Repositories::Fitting,
      .copies = BackupCopies::None,
      .run = run,
  };
  return command;
}

}  // namespace pgmint::cli

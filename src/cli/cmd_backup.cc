#include <fmt/format.h>

#include <charconv>
#include <nlohmann/json.hpp>

#include "backup/backup.h"
#include "backup/page_inspector.h"
#include "base/log.h"
#include "base/units.h"
#include "cli/backup_facts.h"
#include "cli/cluster_choice.h"
#include "cli/commands.h"
#include "cli/dump_run.h"
#include "cli/option_values.h"
#include "cli/progress.h"
#include "cli/reuse.h"
#include "cli/wal_spool.h"
#include "logical/config_backup.h"

namespace pgmint::cli {
namespace {

constexpr std::size_t kNoteMax = 4096;

/// What the kinds of backup take.
Status check_type(const Arguments& arguments) {
  const auto type = arguments.get("--type").value_or("auto");
  for (const auto* option : {"--database", "--schema", "--table", "--consistent"})
    if (type != "logical" && arguments.has(option))
      return Error(Errc::Usage, fmt::format("{} is for dumps", option), Hint{"add --type logical, or leave it out: other backups have everything"});
  return ok();
}

Result<int> run_logical(Context& context, const std::string& note) {
  const auto& arguments = context.arguments();
  const auto* settings = TRY(configured_cluster(context, arguments.position("CLUSTER")));
  DumpChoice choice;
  choice.connect.conninfo = settings->connection;
  choice.databases = arguments.all("--database");
  choice.schemas = arguments.all("--schema");
  choice.tables = arguments.all("--table");
  choice.consistent = arguments.has("--consistent") || settings->consistent_dumps;
  choice.note = note;
  choice.bin_directory = settings->bin_directory.value_or("");
  return run_dump(context, settings->name, choice);
}

Result<int> run_config(Context& context, const std::string& note) {
  const auto* settings = TRY(configured_cluster(context, context.arguments().position("CLUSTER")));
  const auto control = TRY(control_of(*settings));
  const auto cluster = TRY(cluster_for_writing(context, settings->name, control.system_identifier));
  logical::ConfigRequest request{.cluster = *cluster, .connect = {}};
  request.connect.conninfo = settings->connection;
  request.data_directory = settings->data_directory;
  request.is_remote = settings->is_remote();
  request.paths = settings->config_paths;
  request.bin_directory = settings->bin_directory.value_or("");
  request.note = note;
  request.codec = TRY(configured_codec(context));
  request.cancel = &context.cancel();
  const auto report = TRY(logical::back_up_config(request));
  for (const auto& warning : report.warnings) print_warning(warning);
  TRY(cluster->log().refresh());
  const auto* snapshot = cluster->state().find(report.name);
  if (snapshot == nullptr) return Error(Errc::Internal, fmt::format("backup {} was committed but is not in the log", report.name));
  auto json = to_json(TRY(facts_of(*cluster, *snapshot)));
  json["warnings"] = report.warnings;
  context.output().document(json);
  const bool is_complete = report.server_answered && report.has_all_files;
  context.output().line(fmt::format("backup {} is {}: {}, stored as {}", report.name, is_complete ? "complete" : "kept, and not complete", counted(report.files, "file"),
                                    human(ByteCount(report.stored_bytes))));
  if (!report.parent.empty()) context.output().line(fmt::format("what has changed: pgmint diff {} {}", report.parent, report.name));
  context.output().line(fmt::format("write its files out: pgmint export {} --to DIR", report.name));
  if (!report.server_answered) return exit_code(Errc::Postgres);
  return report.has_all_files ? 0 : exit_code(Errc::Io);
}

void describe(Output& out, const backup::BackupReport& report) {
  out.line(fmt::format("backup {} is complete", report.name));
  if (!report.copied_from.empty()) out.line(fmt::format("  copied from {}: the database was not read again", report.copied_from));
  out.line(fmt::format("  took {}; {} in {} files, stored as {} (ratio {:.1f})",
                       human(report.finished - report.started), human(ByteCount(report.total_bytes)), report.files,
                       human(ByteCount(report.stored_bytes)), report.ratio()));
  if (report.type == repository::BackupType::Incremental) {
    out.line(fmt::format("  built on {}: {} changed pages, {} read", report.parent, report.changed_pages,
                         human(ByteCount(report.read_bytes))));
    out.line(fmt::format("  read: {}", report.method));
  } else if (!report.method.empty()) {
    out.line(fmt::format("  a full backup: {}", report.method));
  }
  if (report.remote) out.line(fmt::format("  read over the network: the server sent {} of {}", human(ByteCount(report.received_bytes)), human(ByteCount(report.total_bytes))));
  if (report.checksums_enabled)
    out.line(
        fmt::format("  {} page checksums verified, {} pages read again", report.pages_checked, report.pages_reread));
  else
    out.line("  page checksums are off in this cluster: damage in pages cannot be seen");
  out.line(fmt::format("  WAL {} to {}{}", report.first_wal, report.last_wal, report.carried_wal.empty() ? "" : ", in the backup itself"));
  out.line(fmt::format("restore it with: pgmint restore --backup {} --to DIR", report.name));
}

/// Damaged pages and warnings go to standard error: the answer on standard output stays one document.
void complain(const backup::BackupReport& report) {
  for (const auto& warning : report.warnings) print_warning(warning);
  for (const auto& page : report.bad_pages)
    print_warning(fmt::format("damaged page: {} block {}{}", page.path, page.block,
                              page.reason == backup::kChangedWithoutWal ? " (changed since the last backup, and no WAL says so)" : ""));
  if (report.bad_page_count > report.bad_pages.size())
    print_warning(fmt::format("and {} more damaged pages", report.bad_page_count - report.bad_pages.size()));
  if (report.bad_page_count > 0)
    print_warning(fmt::format(
        "{} damaged pages are stored as they are: the server's files are damaged, look after them (pg_amcheck)",
        report.bad_page_count));
  if (report.refuted)
    print_warning("this backup is whole, but what it should have been built on is not sound: run `pgmint verify --read-data`");
}

Result<int> run(Context& context) {
  const auto& arguments = context.arguments();
  TRY(check_type(arguments));
  const auto max_rate = TRY(rate_option(arguments, "--max-rate"));
  const auto wal_timeout = TRY(seconds_option(arguments, "--wal-timeout", std::chrono::seconds(300)));
  const auto note = arguments.get("--note").value_or("");
  if (note.size() > kNoteMax)
    return Error(Errc::Usage, fmt::format("--note: at most {} bytes", kNoteMax), Hint{"pgmint backup --help"});
  if (arguments.get("--type") == "logical") return run_logical(context, note);
  if (arguments.get("--type") == "config") return run_config(context, note);
  const auto* settings = TRY(configured_cluster(context, arguments.position("CLUSTER")));
  const auto control = TRY(control_of(*settings));
  const auto cluster = TRY(cluster_for_writing(context, settings->name, control.system_identifier));
  TRY(drain_spool_first(context));
  const auto announced = announce_backup(context, settings->name);

  ProgressDisplay display(progress_mode(context));
  backup::BackupRequest request{.cluster = *cluster,
                                .data_directory = settings->data_directory,
                                .connect = {},
                                .primary = {},
                                .note = note,
                                .max_rate = max_rate,
                                .progress = {}};
  request.connect.conninfo = settings->connection;
  request.incremental = arguments.get("--type").value_or("auto") != "full";
  request.codec = TRY(configured_codec(context));
  request.workers = TRY(context.jobs());
  request.archive_timeout = wal_timeout;
  request.send_on = [&context] { return send_on(context); };
  request.count_tables = settings->validation.count;
  request.cancel = &context.cancel();
  auto phase = backup::Phase::Preflight;
  request.progress = [&](const backup::Progress& now) {
    phase = now.phase;
    display.update({backup::phase_name(now.phase), now.bytes_done,
                    now.phase == backup::Phase::Copy ? now.bytes_total : 0, now.stored_bytes, now.detail});
  };
  const auto began = arguments.one_of_several ? arguments.began : system_clock().now();
  auto result = [&]() -> Result<backup::BackupReport> {
    if (const auto other = TRY(backup_to_reuse(context, *cluster, settings->name, began))) {
      const auto archiver = backup::connect_server({.connect = request.connect, .primary = {}, .label = {}, .data_directory = request.data_directory}, request.cancel);
      if (auto copied = TRY(backup::copy_backup(request, other->origin(), archiver.get()))) return std::move(*copied);
    }
    return backup::run(request);
  }();
  display.finish();
  // WAL that never came is the server's doing: archive_command or the archiver.
  if (!result && result.error().code() == Errc::Busy && phase == backup::Phase::WaitForWal)
    return std::move(result.error()).with_code(Errc::Postgres);
  const auto report = TRY(std::move(result));

  complain(report);
  const auto* snapshot = cluster->state().find(report.name);
  if (snapshot == nullptr)
    return Error(Errc::Internal, fmt::format("backup {} was committed but is not in the log", report.name));
  context.output().document(to_json(TRY(facts_of(*cluster, *snapshot))));
  describe(context.output(), report);
  return report.exit_code();
}

}  // namespace

const CommandSpec& backup_command() {
  static const CommandSpec command = {
      .verb = "backup",
      .summary = "take a backup of a running cluster",
      .description = {"Reads the data directory of a running PostgreSQL (13 to 18), checks every page, compresses and "
                      "encrypts, and stores it. Runs on the database host as the owner of the data "
                      "directory or as root; the server goes on meanwhile. A standby will do.",
                      "The backup is listed only when every byte it needs is durable in the repository, the WAL up to "
                      "its end included: archive_command must work. When that WAL does not come, "
                      "the run fails after --wal-timeout and nothing is listed.",
                      "A cluster without data_directory in the configuration is a remote one: the server sends its files over connection (BASE_BACKUP of the "
                      "replication protocol). Of PostgreSQL 17 and later with summarize_wal on an incremental backup receives only what changed; of others, all files each "
                      "time: it then saves storage, not network. The output says which. The role needs REPLICATION, "
                      "pg_hba.conf a line for \"replication\". Where nothing shows that the server's WAL reaches this repository, and from a standby, "
                      "the backup carries the WAL that it needs itself. docs/manual/remote-clusters.md has the rest.",
                      "Where there is a backup to build on, only what has changed since is read and stored: the blocks that the WAL "
                      "of the time between names (its summaries stand in the repository, beside the WAL), and small files and maps by "
                      "content. Every backup restores by itself, in one pass, whatever becomes of the older ones. Where the WAL cannot "
                      "be asked, all files are read and compared; where there is nothing to build on, the backup is a full one. "
                      "The output says which, and why.",
                      "The WAL's word is not taken on trust: pages that are read beside those it names must not have changed, and each "
                      "file is read again and compared once in 28 days. Where that shows a page that changed without WAL, it is named "
                      "as damaged; where it shows one that the WAL should have named, everything is read, the backup becomes a full "
                      "one, and the exit status is 8.",
                      "With several repositories the database is read for the first of them. Into each other one the backup is copied from there: opened, its pages checked, "
                      "compared with what that repository has, and sealed with its keys. It has the times of the backup that it was copied from. Where that one cannot be read, the database is.",
                      "Pages whose checksum is wrong are stored as they are and named; the backup is kept, and the "
                      "exit status is 8.",
                      "A logical backup (--type logical) is what pg_dump and pg_dumpall --globals-only write, one database after the other, each "
                      "consistent in itself. It needs no WAL and no access to the data directory, restores into other versions (restore-db), table by "
                      "table if need be, and is streamed into the repository: no plaintext touches a disk. What the dump before has is not stored again.",
                      "With --consistent all databases of a logical backup show one moment: no transaction, in whatever database, is in one dump and missing in another "
                      "that came before it. Their snapshots are taken at the same time, again and again until no transaction has ended in between, for a minute at most (then "
                      "exit status 4). On a standby (PostgreSQL 14 or later) replay is stopped for that instant. Every pg_dump is started at once and holds its locks until its "
                      "turn is over; it takes two connections a database. Roles and tablespaces are read just before and are not part of the moment; sequences, as in every dump, are read later and may be ahead.",
                      "A configuration backup (--type config) has the server's configuration files with all that they include, its settings, extensions, roles "
                      "and tablespaces, and the files that config_paths names, with owner, mode and links. pgmint diff compares two of them. What cannot be "
                      "had is named; the backup is kept without it, and the exit status is 6 for a file, 9 for what the server did not say.",
                      "Ctrl-C stops at once; the server leaves backup mode and nothing is listed."},
      .positionals = {{.name = "CLUSTER",
                       .text = "May be left out when one is configured.",
                       .required = false,
                       .completes = Completes::Cluster}},
      .options =
          {
              {.name = "--type",
               .value = "TYPE",
               .text = "auto (the default) and incremental: what changed since the last backup, or a full backup where there is nothing to "
                       "build on. full: everything, whatever there is. logical: databases as pg_dump dumps them. config: configuration.",
               .words = {"auto", "full", "incremental", "logical", "config"}},
              {.name = "--database", .value = "DB", .text = "With --type logical: this database. Default: all of them.", .repeatable = true},
              {.name = "--schema", .value = "PATTERN", .text = "With --type logical: these schemas, as pg_dump takes them.", .repeatable = true},
              {.name = "--table", .value = "PATTERN", .text = "With --type logical: these tables, as pg_dump takes them.", .repeatable = true},
              {.name = "--consistent",
               .value = "",
               .text = "With --type logical: all databases as of one moment. Default: consistent_dumps in the configuration, else each as of its own."},
              {.name = "--note", .value = "TEXT", .text = "Stands beside the backup in list and show."},
              {.name = "--jobs",
               .value = "N",
               .text = "Threads that read and compress. Default: the configured jobs, else the cores."},
              {.name = "--reuse",
               .value = "SECONDS",
               .text = "With several repositories: copy the newest backup of an earlier one that began at most so long ago, instead of reading the database once more; one that is "
                       "being made there is waited for, so long at most. 0: never. Default: what this run of the command has made there."},
              {.name = "--max-rate", .value = "SIZE", .text = "Read at most so many bytes a second, e.g. 20MiB; a remote server is told not to send more."},
              {.name = "--wal-timeout",
               .value = "SECONDS",
               .text = "How long to wait for WAL when none arrives. Default: 300."},
          },
      .exits = {{4, "Another server's data directory, archiving is off, or the like; nothing was changed."},
                {6, "The repository or a file could not be read or written; with --type config: done, but without the files that are named."},
                {8, "Done, but pages are damaged (they are named), or what the backup should have been built on is not sound."},
                {9, "PostgreSQL could not be reached, refused, or its WAL did not arrive; with --type config: done, with the files alone."}},
      .examples = {{"pgmint backup", "The only cluster; incremental from the second time on."},
                   {"pgmint backup main --type full", "Everything once more."},
                   {"pgmint backup --type logical --database shop", "A dump of one database."},
                   {"pgmint backup --type logical --consistent", "All databases as of one moment."},
                   {"pgmint backup main --note \"before the upgrade\" --max-rate 50MiB", "With a note, and gently."}},
      .see_also = {"list", "restore", "restore-db", "wal push", "verify"},
      .changes_repository = true,
      .leaves_note = true,
      .repositories = Repositories::Each,
      .copies = BackupCopies::OwnPacks,
      .run = run,
  };
  return command;
}

}  // namespace pgmint::cli

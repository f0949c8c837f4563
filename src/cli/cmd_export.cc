#include <fmt/format.h>
#include <sys/stat.h>

#include <nlohmann/json.hpp>

#include "base/log.h"
#include "base/units.h"
#include "cli/cluster_choice.h"
#include "cli/commands.h"
#include "cli/dump_names.h"
#include "cli/dump_run.h"
#include "cli/export_bucket.h"
#include "cli/option_values.h"
#include "cli/progress.h"
#include "cli/secrets.h"
#include "logical/config_backup.h"
#include "logical/export.h"
#include "logical/export_bucket.h"

namespace pgmint::cli {
namespace {

/// --passphrase-file, else the configured one; empty: neither.
Result<std::string> passphrase(Context& context) {
  if (const auto file = context.arguments().get("--passphrase-file")) return read_passphrase_file(*file);
  const auto encryption = TRY(context.encryption());
  if (encryption.export_passphrase_file) return read_passphrase_file(*encryption.export_passphrase_file);
  return std::string();
}

Result<int> export_config(Context& context, const FoundBackup& found) {
  const auto to = *context.arguments().get("--to");
  if (is_bucket(to)) return Error(Errc::Precondition, fmt::format("the files of a configuration backup are written unencrypted, and so to a folder alone, not to {}", to), Hint{"--to DIR"});
  TRY(refuse_bucket_options(context.arguments()));
  const auto directory = fs::absolute(to);
  const auto root = TRY(repository::read_root(found.cluster->store(), found.cluster->context(), found.session, found.cluster->keys()));
  const auto tree = TRY(logical::read_config_tree(*found.cluster, root));
  const auto files = TRY(logical::extract_config(*found.cluster, tree, directory, &context.cancel()));
  context.output().line(fmt::format("{} of {} are in {}", counted(files, "file"), root.name, directory.string()));
  context.output().document({{"backup", root.name}, {"directory", directory.string()}, {"files", files}});
  return 0;
}

/// What stands in the document about one database's file; likewise to_bucket().
Result<Json> to_folder(Context& context, const fs::path& folder, const logical::DumpFileRequest& dump, ProgressDisplay& display) {
  const auto report = TRY(logical::export_dump({dump, folder}));
  display.finish();
  context.output().line(fmt::format("{}: {}, SHA-256 {}", report.file.string(), human(ByteCount(report.bytes)), report.sha256));
  return Json{{"database", dump.database}, {"file", report.file.string()}, {"sha256_file", report.sum_file.string()}, {"sha256", report.sha256}, {"bytes", report.bytes}};
}

Result<Json> to_bucket(Context& context, const ExportBucket& bucket, const logical::DumpFileRequest& dump, ProgressDisplay& display) {
  const logical::BucketExportRequest request{
      .dump = dump, .bucket = *bucket.objects, .folder = TRY(folder_in_bucket(dump.database, dump.file_name)), .spool_directory = TRY(context.state_directory()) / "export",
      .progress = [&](std::string_view phase, std::uint64_t done, std::uint64_t total) { display.update({phase, done, total, std::nullopt, dump.database}); }};
  const auto report = TRY(logical::export_dump_to_bucket(request));
  display.finish();
  if (!bucket.encryption.empty() && report.encryption != bucket.encryption)
    print_warning(fmt::format("{}: the store was asked to encrypt by {}, and says {}", report.url, bucket.encryption, report.encryption.empty() ? "nothing of it" : report.encryption));
  context.output().line(fmt::format("{}: {}, SHA-256 {}; {}", report.url, human(ByteCount(report.bytes)), report.sha256,
                                    report.was_there ? "it was there already, with these bytes" : "read back, and the same"));
  return Json{{"database", dump.database}, {"file", report.url}, {"sha256_file", report.sum_url}, {"sha256", report.sha256}, {"bytes", report.bytes},
              {"sha256_file_bytes", report.sum_bytes}, {"was_there", report.was_there}, {"guarded", bucket.objects->guarded()}, {"storage_class", bucket.storage_class},
              {"server_side_encryption", report.encryption.empty() ? Json() : Json(report.encryption)}};
}

void tell_how_to_open(Context& context, const std::string& to) {
  if (is_bucket(to))
    context.output().line("check it with: aws s3 cp --recursive FOLDER . && sha256sum -c *.sha256");
  else
    context.output().line(fmt::format("check it with: cd {} && sha256sum -c *.sha256", to));
  context.output().line("open it with: openssl enc -d -aes-256-cbc -pbkdf2 -pass file:PASSPHRASE_FILE -in FILE | gunzip | pg_restore --list");
}

/// Of `databases`, one after the other.
Result<Json> export_each(Context& context, const FoundBackup& found, const logical::DumpOverview& dump, const std::vector<std::string>& databases, const std::string& secret) {
  const auto to = *context.arguments().get("--to");
  std::optional<ExportBucket> bucket;
  if (is_bucket(to))
    bucket = TRY(open_export_bucket(context, to));
  else
    TRY(refuse_bucket_options(context.arguments()));
  ProgressDisplay display(progress_mode(context));
  Json files = Json::array();
  for (const auto& database : databases) {
    logical::DumpFileRequest request{.cluster = *found.cluster, .dump = dump, .database = database, .file_name = dump_name(database, dump.root.started), .passphrase = secret};
    request.workers = TRY(context.jobs());
    request.cancel = &context.cancel();
    request.progress = [&](std::uint64_t done, std::uint64_t total) { display.update({"export", done, total, std::nullopt, database}); };
    files.push_back(TRY(bucket ? to_bucket(context, *bucket, request, display) : to_folder(context, fs::absolute(to), request, display)));
  }
  return files;
}

Result<int> run_export(Context& context) {
  const auto& arguments = context.arguments();
  const auto found = TRY(find_backup(context, *arguments.position("BACKUP"), arguments.get("--cluster")));
  if (found.cluster->state().snapshots().at(found.session).snap.type == repository::BackupType::Config) return export_config(context, found);
  const auto secret = TRY(passphrase(context));
  if (secret.empty())
    return Error(Errc::Configuration, "which passphrase is the file to have?",
                 Hint{"--passphrase-file F, or export_passphrase_file in [encryption]: its first line is the passphrase"});
  const auto dump = TRY(logical::read_overview(*found.cluster, found.session));
  std::vector<std::string> databases = dump.databases;
  if (!found.database.empty()) databases = {found.database};
  if (const auto database = arguments.get("--db")) databases = {*database};
  auto files = TRY(export_each(context, found, dump, databases, secret));
  tell_how_to_open(context, *arguments.get("--to"));
  context.output().document({{"backup", dump.root.name}, {"files", std::move(files)}});
  return 0;
}

/// A cluster that the repository has, or the configured one, which it gets.
Result<ClusterPtr> cluster_for_import(Context& context) {
  const auto name = context.arguments().get("--cluster");
  auto known = existing_cluster(context, name);
  if (known || known.failure().code() != Errc::Precondition) return known;
  const auto* settings = TRY(configured_cluster(context, name));
  if (const auto control = control_of(*settings)) return cluster_for_writing(context, settings->name, control->system_identifier);
  postgres::ConnectOptions connect;
  connect.conninfo = settings->connection;
  return cluster_for_writing(context, settings->name, TRY(identifier_of(context, connect)));
}

Result<int> run_import(Context& context) {
  const auto& arguments = context.arguments();
  const fs::path file = *arguments.position("FILE");
  const auto status = TRY(stat_if_exists(file));
  if (!status) return Error(Errc::NotFound, fmt::format("{} does not exist", file.string()));
  const auto secret = TRY(passphrase(context));
  const auto cluster = TRY(cluster_for_import(context));
  const TimePoint changed{std::chrono::seconds(status->st_mtim.tv_sec)};
  ProgressDisplay display(progress_mode(context));
  logical::ImportRequest request{.cluster = *cluster, .file = file, .passphrase = secret, .database = arguments.get("--db").value_or(""),
                                 .started = time_of_dump_name(file.filename().string()).value_or(changed)};
  request.note = arguments.get("--note").value_or("");
  request.codec = TRY(configured_codec(context));
  request.workers = TRY(context.jobs());
  request.cancel = &context.cancel();
  request.progress = [&](std::uint64_t bytes) { display.update({"import", bytes, 0, std::nullopt, ""}); };
  auto imported = logical::import_dump(request);
  display.finish();
  const auto report = TRY(std::move(imported));
  for (const auto& warning : report.warnings) print_warning(warning);
  const auto& database = report.databases.front();
  context.output().line(fmt::format("{} is in the repository as {}, dump {}", file.string(), report.name, dump_name(database.name, report.started)));
  context.output().line(fmt::format("  taken {}; {}, {}; {}, stored as {}", dump_time(report.started), counted(database.tables, "table"),
                                    database.rows == 0 ? std::string("rows not counted") : counted(database.rows, "row"),
                                    human(ByteCount(report.total_bytes)), human(ByteCount(report.stored_bytes))));
  context.output().document({{"backup", report.name}, {"dump", dump_name(database.name, report.started)}, {"database", database.name},
                             {"started", format_rfc3339(report.started)}, {"tables", database.tables}, {"rows", database.rows},
                             {"bytes", report.total_bytes}, {"stored_bytes", report.stored_bytes}});
  return 0;
}

}  // namespace

const CommandSpec& export_command() {
  static const CommandSpec command = {
      .verb = "export",
      .summary = "write a dump as a file that openssl, gunzip and pg_restore open",
      .description = {"Writes DATABASE_DATE_TIME.sql.gz.enc and its .sha256 into a folder: what pg_dump wrote, through gzip, through openssl enc "
                      "-aes-256-cbc -pbkdf2. It is streamed, and appears when it is whole: no plaintext touches a disk.",
                      "Into a bucket (--to s3://BUCKET/PREFIX) it goes as the runbook's scripts put it there: PREFIX/DATABASE/DATE_TIME/DATABASE_DATE_TIME.sql.gz.enc and its "
                      ".sha256, of storage class STANDARD_IA, encrypted by the store with AWS KMS besides. Until it is sent the encrypted file waits below the state directory, "
                      "without a name, so that it is gone whatever happens; as much room is needed. It is sent under the condition that there is no such object, then read back whole: what does not "
                      "agree is named (exit 8). Where an object of that name is there, what would be written is compared with it: the same is success, and another is refused. "
                      "The same command can be run again after a failure. Which service it is, and who we are to it, [export.s3] says, else [s3], else it is AWS and the usual chain of credentials.",
                      "Such a file is encrypted, but nothing authenticates it: the sum beside it shows damage, not who made it. The repository does both; "
                      "export is for those who have no pgmint.",
                      "Of a configuration backup the files themselves are written, as they were, below the folder: the host's under their absolute path, what was "
                      "made of the server's words beside them. They are not encrypted."},
      .positionals = {{.name = "BACKUP", .text = "A logical backup, or one of its dumps, as restore-db --list shows it; or a configuration backup."}},
      .options = {{.name = "--to", .value = "PLACE", .text = "The folder, made when it is not there; or s3://BUCKET/PREFIX, whose bucket must be there.", .required = true, .completes = Completes::Directory},
                  {.name = "--passphrase-file", .value = "FILE", .text = "Its first line is the passphrase. Default: export_passphrase_file in [encryption].", .completes = Completes::File},
                  {.name = "--sse", .value = "HOW", .text = "What the store does beside the file's own encryption: aws:kms, AES256 or none (as the bucket says). Default: server_side_encryption in [export.s3], else aws:kms."},
                  {.name = "--kms-key-id", .value = "KEY", .text = "The key for aws:kms. Default: kms_key_id in [export.s3], else the service's own."},
                  {.name = "--db", .value = "DB", .text = "This database alone."},
                  {.name = "--cluster", .value = "NAME", .text = "Where several clusters have a backup of that name.", .completes = Completes::Cluster},
                  {.name = "--jobs", .value = "N", .text = "Threads that read. Default: the configured jobs, else the cores."}},
      .exits = {{1, "There is no such backup."},
                {4, "The file exists, in a bucket with other bytes; there is no such bucket; or the backup is no dump. Nothing was changed."},
                {6, "The bucket was not reached, or not until the end. Parts are removed; an object that is there is whole, and one without a .sha256 was not read back: run it again."},
                {7, "The bucket, or the key, may not be used."},
                {8, "The dump is damaged; or what was read back from the bucket is not what was sent."}},
      .examples = {{"pgmint export mint_replica_20240120_010000.sql.gz.enc --to /mnt/usb --passphrase-file /root/export.pass", "One dump, to take away."},
                   {"pgmint export mint_replica_20240120_010000.sql.gz.enc --to s3://mint-db-backups/dumps --kms-key-id alias/backups", "Where the runbook's scripts put it."}},
      .see_also = {"import", "restore-db"},
      .repositories = Repositories::Fitting,
      .copies = BackupCopies::None,
      .run = run_export,
  };
  return command;
}

const CommandSpec& import_command() {
  static const CommandSpec command = {
      .verb = "import",
      .summary = "take a dump file into the repository",
      .description = {"Takes what pg_dump -Fc wrote, plain or through gzip, and either of them through openssl enc -aes-256-cbc: with -pbkdf2, as export "
                      "writes it, or without, as older scripts did. The file stays where it is.",
                      "The dump is listed under the moment that the file's name tells (NAME_YYYYMMDD_HHMMSS, local time), else that of its last change."},
      .positionals = {{.name = "FILE", .text = "The file.", .completes = Completes::File}},
      .options = {{.name = "--passphrase-file", .value = "FILE", .text = "Its first line is the passphrase. Default: export_passphrase_file in [encryption].", .completes = Completes::File},
                  {.name = "--db", .value = "DB", .text = "The database's name, where it is not to be the one that the archive has."},
                  {.name = "--cluster", .value = "NAME", .text = "Whose dump it is. May be left out when there is one.", .completes = Completes::Cluster},
                  {.name = "--note", .value = "TEXT", .text = "Stands beside the backup in list and show."},
                  {.name = "--jobs", .value = "N", .text = "Threads that compress. Default: the configured jobs, else the cores."}},
      .exits = {{1, "There is no such file."}, {7, "The passphrase does not open it."}, {8, "It is damaged, or no archive of pg_dump's."}},
      .examples = {{"pgmint import /mnt/old/mint_replica_20240120_010000.sql.gz.enc --passphrase-file /root/old.pass", "A dump of the old scripts."}},
      .see_also = {"export", "restore-db"},
      .changes_repository = true,
      .repositories = Repositories::Each,
      .run = run_import,
  };
  return command;
}

}  // namespace pgmint::cli

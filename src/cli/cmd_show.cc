#include <fmt/format.h>
#include <fmt/ranges.h>

#include <nlohmann/json.hpp>

#include "base/log.h"
#include "base/units.h"
#include "cli/cluster_choice.h"
#include "cli/commands.h"
#include "cli/dump_names.h"
#include "cli/proofs.h"
#include "cli/recovery_facts.h"
#include "logical/load.h"
#include "postgres/parse_number.h"
#include "repository/record.h"

namespace pgmint::cli {
namespace {

constexpr std::size_t kDamagedPagesShown = 20;

Result<std::vector<std::string>> configuration_files(repository::Cluster& cluster,
                                                     const repository::ManifestRoot& root) {
  std::vector<std::string> paths;
  repository::RecordOpener opener(cluster.context(), cluster.keys());
  TRY(repository::walk_manifest(
      cluster.store(), cluster.context(), opener, root, [&](const repository::FileEntry& entry) -> Status {
        if (entry.area == repository::FileArea::Configuration && entry.kind != repository::FileKind::Directory)
          paths.push_back(entry.path);
        return ok();
      }));
  return paths;
}

/// A full backup writes one setting "database" for each (src/backup).
std::vector<std::string> databases(const repository::ManifestRoot& root) {
  std::vector<std::string> names;
  for (const auto& [name, value] : root.settings)
    if (name == "database") names.push_back(value);
  return names;
}

Json details_json(const repository::ManifestRoot& root, const std::vector<std::string>& config_files) {
  Json tablespaces = Json::array(), damaged = Json::array(), settings = Json::object();
  for (const auto& space : root.tablespaces) tablespaces.push_back({{"oid", space.oid}, {"location", space.location}});
  for (const auto& page : root.bad_pages) damaged.push_back({{"path", page.path}, {"block", page.block}});
  for (const auto& [name, value] : root.settings)
    if (name != "database" && name != "database_collation") settings[name] = redact(value);
  return {{"data_checksums", root.checksum_version != 0},
          {"block_size", root.block_size},
          {"wal_segment_size", root.wal_segment_size},
          {"tablespaces", std::move(tablespaces)},
          {"damaged_pages", std::move(damaged)},
          {"config_files", config_files},
          {"databases", databases(root)},
          {"warnings", root.warnings},
          {"settings", std::move(settings)},
          {"host", root.host},
          {"pgmint_version", root.pgmint_version},
          {"session", root.session.hex()}};
}

/// What a logical backup holds, database by database.
Result<std::vector<logical::DumpContents>> dumps_in(Context& context, repository::Cluster& cluster, const BackupFacts& backup) {
  std::vector<logical::DumpContents> all;
  if (backup.snap.type != repository::BackupType::Logical) return all;
  const auto overview = TRY(logical::read_overview(cluster, backup.snap.session));
  for (const auto& database : overview.databases) all.push_back(TRY(logical::read_contents(cluster, overview, database, &context.cancel())));
  return all;
}

Json dumps_json(const BackupFacts& backup, const std::vector<logical::DumpContents>& dumps) {
  Json all = Json::array();
  for (const auto& dump : dumps) {
    Json tables = Json::array();
    for (const auto& entry : dump.entries)
      if (entry.kind == "TABLE DATA")
        tables.push_back({{"schema", entry.schema}, {"name", entry.name}, {"rows", entry.rows ? Json(*entry.rows) : Json(nullptr)}, {"bytes", entry.length}});
    all.push_back({{"database", dump.database}, {"dump", dump_name(dump.database, backup.started())}, {"bytes", dump.length}, {"tables", std::move(tables)}});
  }
  return all;
}

void print_dump(Output& out, const BackupFacts& backup, const logical::DumpContents& dump) {
  out.line("");
  out.line(fmt::format("database {} as {}: {}", dump.database, dump_name(dump.database, backup.started()), human(ByteCount(dump.length))));
  std::vector<std::vector<std::string>> rows;
  for (const auto& entry : dump.entries)
    if (entry.kind == "TABLE DATA")
      rows.push_back({fmt::format("{}.{}", entry.schema, entry.name), entry.rows ? std::to_string(*entry.rows) : "?", human(ByteCount(entry.length))});
  if (!rows.empty()) out.line(text_table({"TABLE", ">ROWS", ">SIZE"}, rows));
}

void print_cluster_facts(const repository::ManifestRoot& root, const BackupFacts& backup, const std::function<void(std::string_view, std::string_view)>& field) {
  field("timeline", std::to_string(backup.snap.timeline));
  field("LSN", fmt::format("{} to {}", postgres::format(postgres::Lsn(backup.snap.start_lsn)),
                           postgres::format(postgres::Lsn(backup.snap.stop_lsn))));
  if (const auto names = wal_names(backup)) field("WAL", fmt::format("{} to {}", names->first, names->last));
  field("page checksums", root.checksum_version != 0 ? "on" : "off");
  field("block size", std::to_string(root.block_size));
  field("WAL segment size", human(ByteCount(root.wal_segment_size)));
}

void print_consistency(const repository::ManifestRoot& root, const std::function<void(std::string_view, std::string_view)>& field) {
  const auto names = dumped_databases(root);
  if (const auto consistent = consistency_json(root); !consistent.is_null())
    field("consistent", fmt::format("as of {}: {}; not part of it: roles and tablespaces", consistent["at"].get<std::string>(), fmt::join(names, ", ")));
  else if (names.size() > 1)
    field("consistent", "each database in itself: they were dumped one after the other");
}

void print(Output& out, const BackupFacts& backup, const std::vector<std::string>& config_files,
           const repository::EarlierProofs& proofs) {
  const auto& root = *backup.root;
  const auto field = [&](std::string_view name, std::string_view value) {
    out.line(fmt::format("{:<18}{}", name, value));
  };
  const bool is_physical = needs_wal(backup);
  field("backup", backup.snap.name);
  field("cluster", is_physical ? fmt::format("{} (system identifier {})", backup.cluster, backup.snap.system_id) : backup.cluster);
  field("type", repository::backup_type_name(backup.snap.type));
  for (const auto& [name, value] : root.settings) {
    if (name == "parent") field("built on", value);
    if (name == "copied_from") field("copied from", value);
    if (name == logical::kImportedFromSetting) field("imported from", value);
    if (name == "incremental_by") field("read", value);
    if (name == "full_because") field("a full one", value);
    if (name == "received_bytes") field("over the network", fmt::format("{} of {}", human(ByteCount(postgres::parse_number<std::uint64_t>(value, 10).value_or(0))), human(ByteCount(root.total_bytes))));
  }
  field("started", readable_time(root.started));
  if (const auto took = backup.took()) field("finished", fmt::format("{} (took {})", readable_time(root.finished), human(*took)));
  else field("imported", readable_time(root.finished));
  field("taken from", fmt::format("{}{}", root.host, root.from_standby ? ", a standby" : ""));
  field("PostgreSQL", server_version_text(root));
  field("size", fmt::format("{} in {} files", human(ByteCount(root.total_bytes)), root.file_count));
  field("stored", human(ByteCount(root.stored_bytes)));
  if (is_physical) print_cluster_facts(root, backup, field);
  if (backup.snap.type == repository::BackupType::Logical) print_consistency(root, field);
  if (const auto all = databases(root); !all.empty()) field("databases", fmt::format("{}", fmt::join(all, ", ")));
  for (const auto& space : root.tablespaces) field("tablespace", fmt::format("{} {}", space.oid, space.location));
  for (const auto& path : config_files) field("configuration", path);
  if (!root.note.empty()) field("note", root.note);
  if (backup.hold) field("held", hold_text(*backup.hold));
  field("found sound", proofs_text(proofs));
  if (proofs.damaged_packs > 0) field("", fmt::format("{} damaged: pgmint verify --read-data", counted(proofs.damaged_packs, "pack")));
  if (is_physical) field("damaged pages", std::to_string(root.bad_pages.size()));
  for (std::size_t i = 0; i < root.bad_pages.size() && i < kDamagedPagesShown; ++i)
    field("", fmt::format("{} block {}", root.bad_pages[i].path, root.bad_pages[i].block));
  if (root.bad_pages.size() > kDamagedPagesShown)
    field("", fmt::format("and {} more: --json lists all", root.bad_pages.size() - kDamagedPagesShown));
  for (const auto& warning : root.warnings) field("warning", warning);
}

Result<int> run(Context& context) {
  const auto found =
      TRY(find_backup(context, *context.arguments().position("BACKUP"), context.arguments().get("--cluster")));
  const auto backup = TRY(facts_of(*found.cluster, found.cluster->state().snapshots().at(found.session)));
  if (!backup.root)
    return Error(Errc::Corruption, fmt::format("{}: its manifest cannot be read: {}", backup.snap.name, backup.problem),
                 Hint{"pgmint verify --read-data"});
  const auto files = TRY(configuration_files(*found.cluster, *backup.root));
  const auto dumps = TRY(dumps_in(context, *found.cluster, backup));
  const auto proofs = proofs_of(*found.cluster, found.session);
  Json json = to_json(backup);
  json.update(details_json(*backup.root, files));
  json["verified"] = proofs_json(proofs);
  json["dumps"] = dumps_json(backup, dumps);
  json["consistent"] = consistency_json(*backup.root);
  context.output().document(json);
  print(context.output(), backup, files, proofs);
  for (const auto& dump : dumps) print_dump(context.output(), backup, dump);
  return 0;
}

}  // namespace

const CommandSpec& show_command() {
  static const CommandSpec command = {
      .verb = "show",
      .summary = "show everything about one backup",
      .description = {"Shows what list shows, and the server that the backup was taken from: version, block size, "
                      "tablespaces, databases, configuration files from outside "
                      "the data directory, damaged pages, warnings; and when verify last read what it refers to. Of a logical backup: its databases, and their tables with rows and sizes."},
      .positionals = {{.name = "BACKUP", .text = "A name as list shows it."}},
      .options = {{.name = "--cluster",
                   .value = "NAME",
                   .text = "Where several clusters have a backup of that name.",
                   .completes = Completes::Cluster}},
      .exits = {{1, "There is no such backup."}},
      .examples = {{"pgmint show 20261122T084001Z-full", "One backup in detail."}},
      .see_also = {"list", "restore"},
      .only_reads = true,
      .repositories = Repositories::Fitting,
      .run = run,
  };
  return command;
}

}  // namespace pgmint::cli

#include "backup/describe_root.h"

#include <fmt/format.h>
#include <unistd.h>

namespace pgmint::backup {
namespace {

std::string host_name() {
  char name[256] = {};
  return ::gethostname(name, sizeof name - 1) == 0 ? name : "";
}

std::vector<std::pair<std::string, std::string>> settings(const RootFacts& facts) {
  std::vector<std::pair<std::string, std::string>> settings(facts.server.settings.begin(), facts.server.settings.end());
  auto add = [&](const std::string& name, const std::string& value) { settings.emplace_back(name, value); };
  add("server_version", facts.server.version_text);
  add("server_version_num", std::to_string(facts.server.version_num));
  add("data_directory", facts.server.data_directory);
  add("config_file", facts.server.config_file);
  add("hba_file", facts.server.hba_file);
  add("ident_file", facts.server.ident_file);
  add("server_encoding", facts.server.server_encoding);
  add("libc_version", facts.server.libc_version);
  add("icu_version", facts.server.icu_version);
  add("read_bytes", std::to_string(facts.counters.read_bytes.load()));
  if (facts.incremental.active()) {
    add("changed_pages", std::to_string(facts.counters.changed_pages.load()));
    add("parent", facts.incremental.parent().name);
    add("incremental_by", facts.incremental.method());
  } else if (!facts.incremental.reason().empty()) {
    add("full_because", facts.incremental.reason());
  }
  // A restore counts these as present.
  for (const auto& segment : facts.report.carried_wal) add("carried_wal", segment);
  // Where a restore with --immediate lets recovery end.
  if (facts.consistent_after) add(std::string(repository::kConsistentAfterSetting), postgres::format(*facts.consistent_after));
  for (const auto& database : facts.server.databases) {
    add("database", database.name);
    add("database_collation", fmt::format("{}={} {}", database.name, database.collate, database.collation_version));
  }
  if (facts.contents)
    for (auto& [name, value] : postgres::contents_settings(*facts.contents)) settings.emplace_back(std::move(name), std::move(value));
  return settings;
}

}  // namespace

repository::ManifestRoot describe_root(const RootFacts& facts) {
  repository::ManifestRoot root;
  root.session = facts.session.id();
  root.name = facts.report.name;
  root.type = facts.type;
  root.parent = facts.parent;
  root.started = facts.report.started;
  root.finished = facts.report.finished;
  const auto identity = repository::current_identity(facts.cluster.state());
  root.system_id = identity.system_id;
  root.incarnation = identity.incarnation;
  root.timeline = facts.start.timeline.value();
  root.start_lsn = facts.start.start_lsn.value();
  root.stop_lsn = facts.stop.stop_lsn.value();
  root.pg_major = static_cast<std::uint32_t>(facts.control.version->major);
  root.control_version = facts.control.version->control_version;
  root.catalog_version = facts.control.catalog_version;
  root.block_size = facts.control.block_size;
  root.blocks_per_segment = facts.control.relation_segment_blocks;
  root.wal_segment_size = facts.control.wal_segment_size.bytes();
  root.checksum_version = facts.control.data_checksum_version;
  root.backup_label = to_bytes(as_bytes(facts.stop.label_file));
  root.tablespace_map = to_bytes(as_bytes(facts.stop.tablespace_map));
  root.tree_depth = facts.tree.tree.depth;
  root.tree = facts.tree.tree.root;
  root.extent_size = facts.extent_size;
  root.file_count = facts.tree.files;
  root.total_bytes = facts.tree.total_bytes;
  root.stored_bytes = facts.session.stored_bytes();
  root.from_standby = facts.start.on_standby;
  root.note = facts.note;
  for (const auto& tablespace : facts.scan.tablespaces)
    root.tablespaces.push_back({tablespace.oid.value(), tablespace.location});
  root.bad_pages = facts.report.bad_pages;
  root.warnings = facts.report.warnings;
  root.settings = settings(facts);
  root.pgmint_version = PGMINT_VERSION;
  root.account = facts.account;
  root.host = host_name();
  return root;
}

}  // namespace pgmint::backup

#include "backup/describe_root.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>

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
  if (!facts.report.copied_from.empty()) add("copied_from", facts.report.copied_from);
  if (facts.report.remote) {
    add("read_from", "the server's base backup");
    add("received_bytes", std::to_string(facts.counters.received.load()));
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

/// Lines of a root that tell of the run, or of what stands in the databases, and not of the server.
bool is_of_the_run(std::string_view name) {
  static constexpr std::array kNames{std::string_view("read_bytes"), std::string_view("changed_pages"), std::string_view("received_bytes"), std::string_view("parent"), std::string_view("incremental_by"),
                                     std::string_view("full_because"), std::string_view("copied_from"), std::string_view("carried_wal"), repository::kConsistentAfterSetting,
                                     postgres::kContentsSetting, postgres::kExtensionSetting, postgres::kDatabaseTablesSetting, postgres::kDatabaseUnreadSetting,
                                     postgres::kTableSetting, postgres::kIcuSetting};
  return std::ranges::find(kNames, name) != kNames.end();
}

std::string* text_of(postgres::ServerFacts& server, std::string_view name) {
  if (name == "server_version") return &server.version_text;
  if (name == "data_directory") return &server.data_directory;
  if (name == "config_file") return &server.config_file;
  if (name == "hba_file") return &server.hba_file;
  if (name == "ident_file") return &server.ident_file;
  if (name == "server_encoding") return &server.server_encoding;
  if (name == "libc_version") return &server.libc_version;
  if (name == "icu_version") return &server.icu_version;
  return nullptr;
}

/// "shop=de_DE.utf8 2.36", behind the line that names the database.
void read_collation(postgres::ServerFacts& server, std::string_view text) {
  if (server.databases.empty()) return;
  auto& database = server.databases.back();
  if (!text.starts_with(database.name) || text.substr(database.name.size()).substr(0, 1) != "=") return;
  text.remove_prefix(database.name.size() + 1);
  const auto space = text.rfind(' ');
  if (space == std::string_view::npos) return;
  database.collate = text.substr(0, space);
  database.collation_version = text.substr(space + 1);
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
  root.host = facts.origin.host().empty() ? host_name() : facts.origin.host();
  return root;
}

postgres::ServerFacts server_of(const repository::ManifestRoot& root) {
  postgres::ServerFacts server;
  server.system_identifier = postgres::SystemIdentifier(root.system_id);
  server.in_recovery = root.from_standby;
  server.timeline = postgres::TimelineId(root.timeline);
  server.data_checksums = root.checksum_version != 0;
  server.block_size = root.block_size;
  for (const auto& [name, value] : root.settings) {
    if (is_of_the_run(name)) continue;
    if (auto* text = text_of(server, name)) *text = value;
    else if (name == "server_version_num") std::from_chars(value.data(), value.data() + value.size(), server.version_num);
    else if (name == "database") server.databases.emplace_back().name = value;
    else if (name == "database_collation") read_collation(server, value);
    else server.settings.emplace(name, value);
  }
  return server;
}

}  // namespace pgmint::backup

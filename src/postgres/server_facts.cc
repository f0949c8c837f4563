#include "postgres/server_facts.h"

#include <fmt/format.h>

#include "postgres/parse_number.h"

namespace pgmint::postgres {
namespace {

constexpr std::string_view kBasics =
    "SELECT version(), (pg_control_system()).system_identifier::text, pg_is_in_recovery()::text, "
    "(pg_control_checkpoint()).timeline_id::text, "
    "(SELECT pg_collation_actual_version(oid) FROM pg_collation WHERE collprovider = 'c' AND collname NOT IN ('C', "
    "'POSIX') "
    " AND pg_collation_actual_version(oid) IS NOT NULL ORDER BY oid LIMIT 1), "
    "(SELECT pg_collation_actual_version(oid) FROM pg_collation WHERE collprovider = 'i' ORDER BY oid LIMIT 1)";

// Values as pg_settings has them: without units, lists as one text. Those only a privileged role sees are absent for
// others.
constexpr std::string_view kSettings =
    "SELECT name, setting FROM pg_settings WHERE name IN ('archive_command', 'archive_library', 'archive_mode', "
    "'archive_timeout', 'block_size', 'config_file', 'cluster_name', 'data_checksums', 'data_directory', "
    "'external_pid_file', "
    "'full_page_writes', 'hba_file', 'huge_pages', 'ident_file', 'lc_collate', 'lc_ctype', 'listen_addresses', "
    "'log_directory', "
    "'max_connections', 'max_locks_per_transaction', 'max_prepared_transactions', 'max_wal_senders', "
    "'max_worker_processes', "
    "'port', 'primary_conninfo', 'primary_slot_name', 'recovery_target_timeline', 'restore_command', 'segment_size', "
    "'server_encoding', 'shared_buffers', 'shared_preload_libraries', 'ssl', 'summarize_wal', "
    "'unix_socket_directories', "
    "'wal_block_size', 'wal_compression', 'wal_keep_size', 'wal_level', 'wal_log_hints', 'wal_segment_size')";

Error unreadable(std::string_view what) {
  return Error(Errc::Postgres, fmt::format("PostgreSQL does not show {} to this role", what),
               Hint{"GRANT pg_read_all_settings TO the role in connection, or use a superuser"});
}

Result<std::string> needed(const std::map<std::string, std::string>& settings, const std::string& name) {
  auto found = settings.find(name);
  if (found == settings.end() || found->second.empty()) return unreadable(name);
  return found->second;
}

std::string optional(const std::map<std::string, std::string>& settings, const std::string& name) {
  auto found = settings.find(name);
  return found == settings.end() ? std::string() : found->second;
}

Result<std::uint64_t> number(const std::map<std::string, std::string>& settings, const std::string& name) {
  auto value = parse_number<std::uint64_t>(TRY(needed(settings, name)), 10);
  if (!value) return Error(Errc::Postgres, fmt::format("PostgreSQL: {} is not a number", name));
  return *value;
}

Status read_basics(Connection& connection, ServerFacts& facts) {
  Rows rows = TRY(connection.query(std::string(kBasics)));
  if (rows.rows.size() != 1) return Error(Errc::Postgres, "PostgreSQL: no row of basics");
  const Row& row = rows.rows[0];
  facts.version_num = connection.server_version_num();
  facts.version_text = row[0].value_or("");
  auto identifier = parse_system_identifier(row[1].value_or(""));
  auto timeline = parse_timeline(row[3].value_or(""));
  if (!identifier || !timeline) return Error(Errc::Postgres, "PostgreSQL: no system identifier or timeline");
  facts.system_identifier = *identifier;
  facts.in_recovery = row[2] == "true";
  facts.timeline = *timeline;
  facts.libc_version = row[4].value_or("");
  facts.icu_version = row[5].value_or("");
  return ok();
}

Status read_settings(Connection& connection, ServerFacts& facts, Asked asked) {
  Rows rows = TRY(connection.query(std::string(kSettings)));
  auto& settings = facts.settings;
  for (auto& row : rows.rows) settings[row[0].value_or("")] = row[1].value_or("");
  const auto place = [&](const std::string& name) -> Result<std::string> {
    return asked == Asked::OnItsHost ? needed(settings, name) : optional(settings, name);
  };
  facts.data_directory = TRY(place("data_directory"));
  facts.config_file = TRY(place("config_file"));
  facts.hba_file = TRY(place("hba_file"));
  facts.ident_file = TRY(place("ident_file"));
  facts.archive_mode = optional(settings, "archive_mode");
  facts.archive_command = optional(settings, "archive_command");
  if (facts.archive_command == "(disabled)")
    facts.archive_command.clear();  // what the server shows with archive_mode off
  facts.archive_library = optional(settings, "archive_library");
  facts.wal_level = TRY(needed(settings, "wal_level"));
  facts.full_page_writes = optional(settings, "full_page_writes") == "on";
  facts.data_checksums = optional(settings, "data_checksums") == "on";
  facts.server_encoding = optional(settings, "server_encoding");
  facts.wal_segment_size = TRY(WalSegmentSize::of(TRY(number(settings, "wal_segment_size"))));
  facts.block_size = static_cast<std::uint32_t>(TRY(number(settings, "block_size")));
  return ok();
}

Status read_included_files(Connection& connection, ServerFacts& facts) {
  auto allowed = TRY(connection.value("SELECT has_function_privilege('pg_show_all_file_settings()', 'EXECUTE')::text"));
  if (allowed != "true") return ok();
  Rows rows =
      TRY(connection.query("SELECT DISTINCT sourcefile FROM pg_file_settings WHERE sourcefile IS NOT NULL ORDER BY 1"));
  for (auto& row : rows.rows) {
    std::string file = row[0].value_or("");
    if (file != facts.config_file && !file.ends_with("/postgresql.auto.conf"))
      facts.included_files.push_back(std::move(file));
  }
  return ok();
}

Status read_databases(Connection& connection, ServerFacts& facts) {
  std::string collation_version = connection.version().major >= 15 ? "datcollversion" : "NULL";
  Rows rows = TRY(connection.query(fmt::format(
      "SELECT oid::text, datname, pg_encoding_to_char(encoding), datcollate, {}, datallowconn::text FROM pg_database "
      "ORDER BY oid",
      collation_version)));
  for (auto& row : rows.rows) {
    facts.databases.push_back({.oid = Oid(parse_number<std::uint32_t>(row[0].value_or(""), 10).value_or(0)),
                               .name = row[1].value_or(""),
                               .encoding = row[2].value_or(""),
                               .collate = row[3].value_or(""),
                               .collation_version = row[4].value_or(""),
                               .allows_connections = row[5] == "true"});
  }
  return ok();
}

Result<Lsn> lsn_value(Connection& connection, const std::string& sql,
                      const std::vector<std::optional<std::string>>& parameters = {}) {
  auto lsn = parse_lsn(TRY(connection.value(sql, parameters)));
  if (!lsn) return Error(Errc::Postgres, "PostgreSQL: not a WAL position");
  return *lsn;
}

}  // namespace

Result<ServerFacts> server_facts(Connection& connection, Asked asked) {
  ServerFacts facts;
  TRY(read_basics(connection, facts));
  TRY(read_settings(connection, facts, asked));
  TRY(read_included_files(connection, facts));
  TRY(read_databases(connection, facts));
  return facts;
}

Result<ControlFile> control_by_sql(Connection& connection) {
  const auto rows = TRY(connection.query(
      "SELECT s.system_identifier::text, s.pg_control_version::text, s.catalog_version_no::text, i.max_data_alignment::text, i.database_block_size::text, "
      "i.blocks_per_segment::text, i.wal_block_size::text, i.bytes_per_wal_segment::text, i.data_page_checksum_version::text "
      "FROM pg_control_system() s, pg_control_init() i"));
  if (rows.rows.size() != 1) return Error(Errc::Postgres, "PostgreSQL: no row of pg_control");
  const auto number = [&](std::size_t column) { return parse_number<std::uint32_t>(rows.rows[0].at(column).value_or(""), 10).value_or(0); };
  ControlFile control;
  const auto identifier = parse_system_identifier(rows.rows[0].at(0).value_or(""));
  if (!identifier) return Error(Errc::Postgres, "PostgreSQL: no system identifier");
  control.system_identifier = *identifier;
  control.catalog_version = number(2);
  control.version = find_version_by_catalog(number(1), control.catalog_version);
  if (control.version == nullptr)
    return Error(Errc::Precondition, fmt::format("the server's pg_control has version {}, its catalog {}: pgmint knows PostgreSQL 13 to 18", number(1), number(2)));
  control.max_align = number(3);
  control.block_size = number(4);
  control.relation_segment_blocks = number(5);
  control.wal_block_size = number(6);
  control.wal_segment_size = TRY(WalSegmentSize::of(number(7)));
  control.data_checksum_version = number(8);
  if (control.block_size == 0 || control.relation_segment_blocks == 0 || control.wal_block_size == 0)
    return Error(Errc::Postgres, "PostgreSQL: pg_control's sizes are none");
  return control;
}

Result<Lsn> current_lsn(Connection& connection) {
  return lsn_value(
      connection,
      "SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END");
}

Result<Lsn> switch_wal(Connection& connection) {
  return lsn_value(connection, "SELECT pg_switch_wal()");
}

Result<Lsn> create_restore_point(Connection& connection, const std::string& name) {
  return lsn_value(connection, "SELECT pg_create_restore_point($1)", {name});
}

}  // namespace pgmint::postgres

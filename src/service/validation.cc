#include "service/validation.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <set>

#include "base/child_process.h"
#include "base/units.h"
#include "logical/client_programs.h"
#include "postgres/history.h"
#include "postgres/wal_name.h"
#include "service/recovery_end.h"

namespace pgmint::service {
namespace {

using policy::Check;
using policy::CheckState;
using postgres::Connection;
using postgres::quoted_names;

constexpr std::size_t kNamed = 10;              ///< in a detail
constexpr int kRuns = 3, kBaselineRuns = 5;
constexpr std::chrono::seconds kLookLimit{60};  ///< for the newest moment of one column
constexpr std::chrono::microseconds kSlowRun = std::chrono::seconds(5);  ///< measured once
/// Differences of a few milliseconds are the machine's.
constexpr std::chrono::microseconds kSlowerMin = std::chrono::milliseconds(50);
constexpr int kAmcheckFound = 2;
/// By which the clock that dates files may be behind the one that tells when a server started.
constexpr std::string_view kFileClockLag = "10 ms";
constexpr std::string_view kDenied = "42501";
constexpr std::chrono::seconds kRecoveryPatience{60};

constexpr const char* kDatabases = "SELECT datname FROM pg_catalog.pg_database WHERE datallowconn AND NOT datistemplate ORDER BY datname";
constexpr const char* kTables =
    "SELECT n.nspname, c.relname, c.reltuples::bigint::text, c.relpersistence::text, EXISTS (SELECT 1 FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::regclass "
    "AND d.objid = c.oid AND d.deptype = 'e')::text FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
    "WHERE c.relkind IN ('r', 'p', 'm') AND c.relpersistence <> 't' AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\\_toast%'";
constexpr const char* kMoments =
    "SELECT n.nspname, c.relname, a.attname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid "
    "WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND a.attnum > 0 AND NOT a.attisdropped AND a.atttypid IN ('pg_catalog.timestamp'::regtype, 'pg_catalog.timestamptz'::regtype, "
    "'pg_catalog.date'::regtype) AND n.nspname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1, 2, 3";
constexpr const char* kOtherCollations =
    "SELECT collname || ': ' || collversion || ', here ' || pg_catalog.pg_collation_actual_version(oid) FROM pg_catalog.pg_collation "
    "WHERE collversion <> pg_catalog.pg_collation_actual_version(oid) AND collencoding IN (-1, (SELECT encoding FROM pg_catalog.pg_database WHERE datname = current_database()))";
/// A version that is not there says nothing; of C, POSIX and C.UTF-8 there is none, and they sort alike everywhere.
constexpr const char* kUndatedCollations =
    "SELECT collname FROM pg_catalog.pg_collation WHERE collversion IS NULL AND collprovider <> 'd' AND coalesce(collcollate, '') !~* '^(C|POSIX)(\\.|$)' "
    "AND collencoding IN (-1, (SELECT encoding FROM pg_catalog.pg_database WHERE datname = current_database())) ORDER BY 1";
constexpr const char* kDefaultCollation =
    "SELECT datlocprovider::text, datcollate, datcollversion, pg_catalog.pg_database_collation_actual_version(oid) FROM pg_catalog.pg_database WHERE datname = current_database()";
/// Before 15 it is the C library's, and its version stands nowhere; any other collation of the library has the same.
constexpr const char* kDefaultCollationBefore15 =
    "SELECT 'c', datcollate, NULL, (SELECT pg_catalog.pg_collation_actual_version(oid) FROM pg_catalog.pg_collation WHERE collprovider = 'c' AND collname NOT IN ('C', 'POSIX') "
    "AND pg_catalog.pg_collation_actual_version(oid) IS NOT NULL ORDER BY oid LIMIT 1) FROM pg_catalog.pg_database WHERE datname = current_database()";
constexpr const char* kLostExtensions =
    "SELECT e.extname || ' ' || e.extversion FROM pg_catalog.pg_extension e WHERE NOT EXISTS (SELECT 1 FROM pg_catalog.pg_available_extension_versions a WHERE a.name = e.extname "
    "AND a.version = e.extversion) ORDER BY 1";

std::string some_of(const std::vector<std::string>& all) {
  const std::vector<std::string> first(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(std::min(all.size(), kNamed)));
  return fmt::format("{}{}", fmt::join(first, "; "), all.size() > kNamed ? fmt::format("; and {} more", all.size() - kNamed) : "");
}

template <class Number>
std::optional<Number> number(const std::optional<std::string>& text) {
  Number value{};
  if (!text) return std::nullopt;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), value);
  if (text->empty() || error != std::errc() || end != text->data() + text->size()) return std::nullopt;
  return value;
}

/// Not smaller; nullopt: one of them is no number.
std::optional<bool> at_least(const std::string& value, const std::string& least) {
  const auto parse = [](const std::string& text) -> std::optional<long double> {
    char* end = nullptr;
    const auto parsed = std::strtold(text.c_str(), &end);
    if (text.empty() || *end != '\0' || !std::isfinite(parsed)) return std::nullopt;
    return parsed;
  };
  const auto a = parse(value), b = parse(least);
  if (!a || !b) return std::nullopt;
  return *a >= *b;
}

struct Answered {
  Check check;
  std::optional<std::chrono::microseconds> median;
};

class Validation {
 public:
  explicit Validation(const ValidationRequest& request) : request_(request) {}

  Result<ValidationReport> run() {
    report_.started = request_.clock.now();
    report_.backup = request_.root->name;
    server_.emplace(TRY(Connection::open(request_.connect, request_.cancel)));
    TRY(look_at_server());
    for (const auto& database : request_.databases) TRY(look_at(database));
    if (!request_.contents_known) note("tables and rows", CheckState::Unknown, "the backup does not say what stood in its databases");
    if (!request_.contents_complete) note("record of the databases", CheckState::Unknown, "not everything could be looked at when the backup was taken");
    for (const auto& table : request_.uncounted) note(fmt::format("count of {}", table), CheckState::Unknown, "it is configured to be counted, and the backup has no count of it");
    const auto names = TRY(server_->query(kDatabases));
    std::vector<std::string> all;
    for (const auto& row : names.rows) all.push_back(row.at(0).value_or(""));
    TRY(look_at_schemas(all));
    TRY(run_amcheck(all));
    TRY(log_in());
    TRY(ask());
    report_.took = request_.clock.now() - report_.started;
    return std::move(report_);
  }

  Result<Answered> answer(const ExpectedAnswer& expected, int runs) {
    const auto name = fmt::format("query {}", expected.name);
    auto opened = open(expected.database);
    if (!opened) return Answered{{name, CheckState::Failed, opened.failure().describe()}, {}};
    auto connection = std::move(*opened);
    TRY(connection.execute(fmt::format("SET statement_timeout = '{}s'", expected.limit.count())));
    TRY(connection.execute("RESET search_path"));  // names mean what they mean to the application
    std::vector<std::chrono::microseconds> times;
    std::string value;
    for (int run = 0; run < runs; ++run) {
      TRY(connection.execute("BEGIN TRANSACTION READ ONLY"));
      const auto before = std::chrono::steady_clock::now();
      auto rows = connection.query(expected.sql);
      times.push_back(std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - before));
      if (!rows) {
        if (rows.failure().code() == Errc::Cancelled) return std::move(rows).failure();
        return Answered{{name, CheckState::Failed, rows.failure().describe()}, {}};
      }
      TRY(connection.execute("ROLLBACK"));
      if (rows->rows.size() != 1 || rows->rows[0].size() != 1)
        return Answered{{name, CheckState::Failed, fmt::format("{} rows of {} columns came, one value was expected", rows->rows.size(), rows->columns.size())}, {}};
      value = rows->rows[0][0].value_or("NULL");
      if (times.back() > kSlowRun) break;
    }
    std::ranges::sort(times);
    const auto median = times[times.size() / 2];
    if (expected.equal) {
      const bool equal = value == *expected.equal;
      return Answered{{name, equal ? CheckState::Ok : CheckState::Failed, equal ? fmt::format("{}, as expected", value) : fmt::format("{}, expected was {}", value, *expected.equal)}, median};
    }
    const auto enough = at_least(value, expected.at_least.value_or("0"));
    return Answered{{name, enough.value_or(false) ? CheckState::Ok : CheckState::Failed, fmt::format("{}, expected was {} or more", value, expected.at_least.value_or("0"))}, median};
  }

 private:
  void note(std::string name, CheckState state, std::string detail) { report_.checks.push_back({std::move(name), state, std::move(detail)}); }
  /// The data are others than were expected.
  void differ(std::string name, std::string detail) {
    report_.data_differ = true;
    note(std::move(name), CheckState::Failed, std::move(detail));
  }
  void refuse(std::string name, std::string detail) {
    report_.refused = true;
    note(std::move(name), CheckState::Failed, std::move(detail));
  }

  Result<Connection> open(const std::string& database) {
    auto options = request_.connect;
    if (!database.empty()) options.database = database;
    return Connection::open(options, request_.cancel);
  }

  /// Rows that a policy hides would be missing silently: so it is an error.
  Result<Connection> open_for_rows(const std::string& database) {
    auto connection = TRY(open(database));
    TRY(connection.execute("SET row_security = off"));
    return connection;
  }

  Status look_at_server() {
    const auto place = TRY(server_->query(
        "SELECT coalesce(host(inet_server_addr()), (SELECT setting FROM pg_catalog.pg_settings WHERE name = 'unix_socket_directories')), coalesce(inet_server_port()::text, "
        "(SELECT setting FROM pg_catalog.pg_settings WHERE name = 'port')), current_setting('server_version'), pg_catalog.pg_is_in_recovery()::text, "
        "(SELECT system_identifier::text FROM pg_catalog.pg_control_system())"));
    const auto& row = place.rows.at(0);
    report_.server = fmt::format("PostgreSQL {} on {}:{}", row.at(2).value_or("?"), row.at(0).value_or("a socket"), row.at(1).value_or("?"));
    const auto recovery = row.at(3) == "true" ? TRY(await_recovery(*server_, request_.clock, kRecoveryPatience, request_.cancel)) : SeenRecovery{};
    note_recovery(recovery);
    const auto& root = *request_.root;
    if (root.type == repository::BackupType::Logical) return look_at_loaded();
    if (row.at(4) != std::to_string(root.system_id)) {
      differ("origin", fmt::format("the server is of another cluster: its system identifier is {}, and that of {} is {}", row.at(4).value_or("?"), root.name, root.system_id));
      return ok();
    }
    TRY(look_at_label());
    if (const auto moment = server_->query("SELECT to_char(pg_catalog.pg_last_xact_replay_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US\"+00\"')"))
      if (moment->rows.at(0).at(0)) {
        if (const auto time = parse_time(*moment->rows[0][0])) report_.moment = *time;
      }
    if (recovery.state == RecoveryState::Ended) measure_replay();
    return ok();
  }

  void note_recovery(const SeenRecovery& recovery) {
    switch (recovery.state) {
      case RecoveryState::Ended: return note("server", CheckState::Ok, report_.server);
      case RecoveryState::AtTarget: return note("server", CheckState::Ok, fmt::format("{}, paused in its recovery at {}", report_.server, recovery.replayed));
      case RecoveryState::Halted:
        return refuse("server", fmt::format("{}: its recovery was paused at {}, before its end: SELECT pg_wal_replay_resume(), once its log says why", report_.server, recovery.replayed));
      case RecoveryState::Standby: return note("server", CheckState::Ok, fmt::format("{}, a standby, at {}", report_.server, recovery.replayed));
      case RecoveryState::StandsStill:
        return refuse("server", fmt::format("{}: its recovery waits for WAL at {}, and has not gone on for {}: see its log", report_.server, recovery.replayed, human(kRecoveryPatience)));
    }
  }

  /// A physical restore leaves the label of its backup; the origin never has it. It keeps the time at which it was written, however long the server lives.
  Status look_at_label() {
    auto label = server_->query("SELECT pg_catalog.pg_read_file('backup_label.old', 0, 65536, true)");
    if (!label) {
      if (label.failure().code() == Errc::Cancelled) return std::move(label).failure();
      note("origin", CheckState::Unknown, "whether the server was restored from this backup cannot be told by this role (pg_read_file)");
      return ok();
    }
    const auto text = label->rows.at(0).at(0);
    if (text && *text == as_text(request_.root->backup_label)) {
      report_.is_restored = true;
      TRY(date_restore());
    } else if (text) {
      differ("origin", fmt::format("the server was restored from another backup than {}", request_.root->name));
    } else {
      note("origin", CheckState::Warning, fmt::format("the server has no backup_label.old, which every restore leaves: it may be the origin of {} itself, and nothing is proven", request_.root->name));
    }
    return ok();
  }

  Status date_restore() {
    auto dated = server_->query(
        "SELECT extract(epoch FROM modification)::bigint::text, (extract(epoch FROM pg_catalog.clock_timestamp() - modification) * 1000000)::bigint::text "
        "FROM pg_catalog.pg_stat_file('backup_label.old')");
    if (!dated && dated.failure().code() == Errc::Cancelled) return std::move(dated).failure();
    const auto when = dated && !dated->rows.empty() ? number<std::int64_t>(dated->rows[0][0]) : std::nullopt;
    const auto age = when ? number<std::int64_t>(dated->rows[0][1]) : std::nullopt;
    if (!when || !age) {
      report_.unproven = "when it was restored cannot be told by this role (pg_stat_file)";
      note("origin", CheckState::Unknown, fmt::format("restored from {}, but {}", request_.root->name, report_.unproven));
      return ok();
    }
    note_restored("origin", TimePoint(std::chrono::seconds(*when)), std::chrono::microseconds(*age), fmt::format("restored from {}", request_.root->name));
    return ok();
  }

  void note_restored(std::string title, TimePoint when, std::chrono::microseconds age, const std::string& what) {
    if (!report_.restored || when < *report_.restored) report_.restored = when;
    const auto why = too_old_to_prove(age);
    if (!why.empty()) report_.unproven = why;
    note(std::move(title), why.empty() ? CheckState::Ok : CheckState::Warning, fmt::format("{}, {}{}{}", what, format_rfc3339(when), why.empty() ? "" : ": ", why));
  }

  /// A dump leaves nothing behind, but its databases are younger than it is: every one of them.
  Status look_at_loaded() {
    std::size_t younger = 0;
    for (const auto& database : request_.databases) {
      auto made = server_->query(
          "SELECT (s.modification > $2::timestamptz)::text, extract(epoch FROM s.modification)::bigint::text, (extract(epoch FROM pg_catalog.clock_timestamp() - s.modification) * 1000000)::bigint::text "
          "FROM pg_catalog.pg_database d, LATERAL pg_catalog.pg_stat_file('base/' || d.oid || '/PG_VERSION', true) s WHERE d.datname = $1",
          {database.name, format_rfc3339(request_.root->started)});
      const auto name = fmt::format("origin of {}", database.name);
      if (!made && made.failure().code() == Errc::Cancelled) return std::move(made).failure();
      const auto when = made && !made->rows.empty() ? number<std::int64_t>(made->rows[0][1]) : std::nullopt;
      const auto age = when ? number<std::int64_t>(made->rows[0][2]) : std::nullopt;
      if (!when || !age) {
        note(name, CheckState::Unknown, made && made->rows.empty() ? "there is no such database" : "when the database was made cannot be told by this role, or it is not in the default tablespace");
      } else if (made->rows[0][0] == "true") {
        ++younger;
        note_restored(name, TimePoint(std::chrono::seconds(*when)), std::chrono::microseconds(*age), fmt::format("made after {} was begun", request_.root->name));
      } else {
        note(name, CheckState::Warning, fmt::format("older than {}: it may be the origin itself", request_.root->name));
      }
    }
    report_.is_restored = younger == request_.databases.size() && younger > 0;
    return ok();
  }

  /// From the server's start to its new timeline, if it has run since; nothing more exact outlives recovery than that. Not where recovery may have waited (for somebody who
  /// resumed it, or for WAL that was still being written) or had begun under an earlier start: then there is no measure.
  void measure_replay() {
    auto row = server_->query(fmt::format(
        "SELECT w.name, (extract(epoch FROM w.modification - pg_catalog.pg_postmaster_start_time()) * 1000)::bigint::text, pg_catalog.pg_read_file('pg_wal/' || w.name, 0, 1048576, true), "
        "((SELECT setting FROM pg_catalog.pg_settings WHERE name = 'recovery_target_action') = 'pause' AND EXISTS (SELECT 1 FROM pg_catalog.pg_settings WHERE setting <> '' AND name IN "
        "('recovery_target', 'recovery_target_lsn', 'recovery_target_name', 'recovery_target_time', 'recovery_target_xid')) "
        "OR (pg_catalog.pg_stat_file('backup_label.old')).change < pg_catalog.date_trunc('second', pg_catalog.pg_postmaster_start_time() - interval '{}') "
        "OR coalesce(pg_catalog.pg_last_xact_replay_timestamp() > pg_catalog.pg_postmaster_start_time(), false))::text "
        "FROM pg_catalog.pg_ls_waldir() w WHERE w.name ~ '^[0-9A-F]{{8}}\\.history$' ORDER BY 1 DESC LIMIT 1", kFileClockLag));
    if (!row || row->rows.empty() || row->rows[0][3] != "false") return;
    const auto milliseconds = number<std::int64_t>(row->rows[0][1]);
    const auto timeline = postgres::parse_history_file_name(row->rows[0][0].value_or(""));
    if (!milliseconds || *milliseconds <= -1000 || !timeline || !row->rows[0][2]) return;
    const auto history = postgres::TimelineHistory::parse(*timeline, *row->rows[0][2]);
    if (!history || history->switches().empty()) return;
    const auto end = history->switches().back().switch_point.value(), start = request_.root->start_lsn;
    // The file's time has whole seconds, those that were full: one more is never too short.
    if (end > start) report_.replay = policy::Measure{end - start, std::chrono::milliseconds(*milliseconds + 1000)};
  }

  struct There {
    std::int64_t estimate = -1;
  };
  using Tables = std::map<std::pair<std::string, std::string>, There>;

  Status look_at(const ExpectedDatabase& database) {
    auto opened = open_for_rows(database.name);
    if (!opened) {
      if (opened.failure().code() == Errc::Cancelled) return std::move(opened).failure();
      refuse(fmt::format("database {}", database.name), opened.failure().describe());
      return ok();
    }
    if (!database.known) {
      for (const auto* what : {"tables", "rows"}) note(fmt::format("{} of {}", what, database.name), CheckState::Unknown, "the database could not be looked into when it was backed up");
      return ok();
    }
    auto connection = std::move(*opened);
    const auto rows = TRY(connection.query(kTables));
    Tables there;
    std::size_t kept = 0;  // those that both sides count: unlogged ones are not in the record of a data directory, and an extension's are not in a dump
    std::vector<std::string> surplus;
    for (const auto& row : rows.rows) {
      const auto schema = row.at(0).value_or(""), name = row.at(1).value_or("");
      there[{schema, name}] = {number<std::int64_t>(row.at(2)).value_or(-1)};
      const bool owned = row.at(4) == "true";
      kept += (database.exact ? !owned : row.at(3) == "p") ? 1U : 0U;
      if (database.exact && !owned && std::ranges::none_of(database.listed, [&](const auto& table) { return table.schema == schema && table.name == name; }))
        surplus.push_back(quoted_names({schema, name}));
    }
    note_tables(database, there, kept, surplus);
    return compare(connection, database, there);
  }

  void note_tables(const ExpectedDatabase& database, const Tables& there, std::size_t kept, const std::vector<std::string>& surplus) {
    std::vector<std::string> missing;
    for (const auto& table : database.listed)
      if (!there.contains({table.schema, table.name})) missing.push_back(quoted_names({table.schema, table.name}));
    const auto title = fmt::format("tables of {}", database.name), count = fmt::format("{} tables, {} in the backup", kept, database.tables);
    const auto more = surplus.empty() ? "" : fmt::format("; made since then, as the backup has none of that name: {}", some_of(surplus));
    if (!missing.empty() && database.exact) {
      differ(title, fmt::format("{}; missing: {}{}", count, some_of(missing), more));
    } else if (!missing.empty()) {
      note(title, CheckState::Warning, fmt::format("{}; dropped since then, or missing: {}", count, some_of(missing)));
    } else if (!surplus.empty()) {
      note(title, CheckState::Warning, count + more);
    } else {
      // Tables may have been made and dropped since a physical backup; of a dump every one was looked for by name.
      note(title, !database.exact && kept < database.tables ? CheckState::Warning : CheckState::Ok, count);
    }
  }

  Status compare(Connection& connection, const ExpectedDatabase& database, const Tables& there) {
    std::vector<std::string> failed, warned, unseen;
    std::size_t counted = 0, estimated = 0;
    // Those of which nothing is known; the record names no more than the largest.
    std::size_t unknown = !database.exact && database.tables > database.listed.size() ? database.tables - database.listed.size() : 0;
    for (const auto& table : database.listed) {
      const auto found = there.find({table.schema, table.name});
      if (found == there.end()) continue;
      if (request_.cancel != nullptr) TRY(request_.cancel->check());
      std::optional<std::uint64_t> rows;
      const auto name = quoted_names({table.schema, table.name});
      if (table.rows) {
        auto value = connection.value(fmt::format("SELECT count(*) FROM {}{}", database.exact ? "ONLY " : "", name));
        if (!value) {
          if (value.failure().code() == Errc::Cancelled || !connection.alive()) return std::move(value).failure();
          (postgres::sqlstate_of(value.failure()) == kDenied ? unseen : failed).push_back(fmt::format("{}: {}", name, value.failure().describe()));
          continue;
        }
        rows = number<std::uint64_t>(*value);
      }
      const auto check = compare_rows(name, table, database.exact, rows, found->second.estimate);
      switch (check.state) {
        case CheckState::Ok: ++(table.rows ? counted : estimated); break;
        case CheckState::Unknown: ++unknown; break;
        case CheckState::Warning: warned.push_back(check.detail); break;
        case CheckState::Failed: failed.push_back(check.detail); break;
      }
    }
    const auto title = fmt::format("rows of {}", database.name);
    if (!failed.empty()) differ(title, some_of(failed));
    if (!warned.empty()) note(title, CheckState::Warning, some_of(warned));
    if (!unseen.empty()) note(failed.empty() && warned.empty() ? title : title + ", not seen", CheckState::Unknown, fmt::format("this role may not see all rows: {}", some_of(unseen)));
    if (!failed.empty() || !warned.empty() || !unseen.empty() || database.tables == 0) return ok();
    const auto rest = unknown == 0 ? "" : fmt::format("; of {} the backup does not say, or has an estimate that says nothing", unknown);
    if (counted + estimated == 0) {
      note(title, CheckState::Unknown, fmt::format("none was compared{}", rest));
    } else if (database.exact) {
      note(title, CheckState::Ok, fmt::format("{} tables have as many rows as were dumped{}", counted, rest));
    } else {
      note(title, CheckState::Ok, fmt::format("{} tables were counted and have not shrunk, {} are about as large as estimated when the backup began{}", counted, estimated, rest));
    }
    return ok();
  }

  /// Of every database: newest moments, collations, extensions.
  Status look_at_schemas(const std::vector<std::string>& databases) {
    std::vector<std::string> collations, undated, extensions;
    std::set<std::string> unseen(request_.newest.begin(), request_.newest.end());
    for (const auto& database : databases) {
      auto opened = open_for_rows(database);
      if (!opened) {
        if (opened.failure().code() == Errc::Cancelled) return std::move(opened).failure();
        note(fmt::format("database {}", database), CheckState::Unknown, opened.failure().describe());
        continue;
      }
      auto connection = std::move(*opened);
      TRY(look_at_moments(connection, database, unseen));
      const auto add = [&](const char* sql, std::vector<std::string>& to) -> Status {
        const auto rows = TRY(connection.query(sql));
        for (const auto& row : rows.rows) to.push_back(fmt::format("{} in {}", row.at(0).value_or("?"), database));
        return ok();
      };
      TRY(add(kOtherCollations, collations));
      TRY(add(kUndatedCollations, undated));
      const auto rows = TRY(connection.query(connection.version().major >= 15 ? kDefaultCollation : kDefaultCollationBefore15));
      const auto& own = rows.rows.at(0);
      const auto check = judge_default_collation({own.at(0).value_or(""), own.at(1).value_or(""), own.at(2), own.at(3)}, libc_of_origin());
      if (check.state == CheckState::Warning) collations.push_back(fmt::format("database {}: {}", database, check.detail));
      if (check.state == CheckState::Unknown) undated.push_back(fmt::format("database {}: {}", database, check.detail));
      TRY(add(kLostExtensions, extensions));
    }
    for (const auto& column : unseen) note(fmt::format("newest {}", column), CheckState::Warning, "no table has this column");
    note("collations", collations.empty() ? CheckState::Ok : CheckState::Warning,
         collations.empty() ? "none has another version than was recorded" : fmt::format("sorted otherwise here than where they were used: REINDEX what depends on them: {}", some_of(collations)));
    // What was loaded from a dump was sorted here.
    if (!undated.empty() && request_.root->type != repository::BackupType::Logical)
      note("collations without a version", CheckState::Unknown, fmt::format("whether they sort here as they did is not known: {}", some_of(undated)));
    note("extensions", extensions.empty() ? CheckState::Ok : CheckState::Warning, extensions.empty() ? "those that are used are installed" : fmt::format("not installed here: {}", some_of(extensions)));
    return ok();
  }

  std::string libc_of_origin() const {
    for (const auto& [name, value] : request_.root->settings)
      if (name == "libc_version") return value;
    return {};
  }

  Status look_at_moments(Connection& connection, const std::string& database, std::set<std::string>& unseen) {
    TRY(connection.execute(fmt::format("SET statement_timeout = '{}s'", kLookLimit.count())));
    const auto columns = TRY(connection.query(kMoments));
    for (const auto& row : columns.rows) {
      const auto schema = row.at(0).value_or(""), table = row.at(1).value_or(""), column = row.at(2).value_or("");
      if (request_.newest.empty()) {
        if (column != "created_at") continue;
      } else {
        bool wanted = false;
        for (const auto& name : request_.newest)
          if (name == fmt::format("{}.{}", table, column) || name == fmt::format("{}.{}.{}", schema, table, column)) {
            wanted = true;
            unseen.erase(name);
          }
        if (!wanted) continue;
      }
      const auto title = fmt::format("newest {} in {}", quoted_names({schema, table, column}), database);
      auto newest = connection.query(fmt::format("SELECT max({})::text FROM {}", quoted_names({column}), quoted_names({schema, table})));
      if (!newest) {
        if (newest.failure().code() == Errc::Cancelled) return std::move(newest).failure();
        note(title, CheckState::Unknown, newest.failure().describe());
        continue;
      }
      const auto value = newest->rows.at(0).at(0);
      note(title, value ? CheckState::Ok : CheckState::Warning, value.value_or("none: the table is empty, or the column"));
    }
    return connection.execute("SET statement_timeout = 0");
  }

  Status run_amcheck(const std::vector<std::string>& databases) {
    if (!request_.amcheck) {
      note("pg_amcheck", CheckState::Unknown, "left out (--no-amcheck)");
      return ok();
    }
    if (request_.pg_amcheck.empty()) {
      note("pg_amcheck", CheckState::Unknown, server_->version().major < 14 ? "PostgreSQL has it from 14 on" : "the program was not found: it comes with the server's package");
      return ok();
    }
    for (const auto& database : databases) {
      const auto title = fmt::format("pg_amcheck of {}", database);
      if (!request_.install_amcheck) {
        auto opened = open(database);
        if (!opened) continue;  // look_at_schemas has told
        if (TRY(opened->query("SELECT 1 FROM pg_catalog.pg_extension WHERE extname = 'amcheck'")).rows.empty()) {
          note(title, CheckState::Unknown, "the extension amcheck is not there: --install-amcheck makes it, where the server may be written to");
          continue;
        }
      }
      auto options = request_.connect;
      options.database = database;
      auto client = TRY(postgres::client_connection(options));
      std::vector<std::string> arguments{request_.pg_amcheck, "--no-password", "--heapallindexed"};
      if (request_.install_amcheck) arguments.emplace_back("--install-missing");
      arguments.push_back(client.conninfo);
      auto child = TRY(ChildProcess::start({.arguments = std::move(arguments), .environment = std::move(client.environment), .pipe_output = true, .passed = std::move(client.passed), .cancel = request_.cancel}));
      std::string said;
      ByteArray<4096> buffer;
      for (;;) {
        const auto got = TRY(child->read(buffer));
        if (got == 0) break;
        if (said.size() < (1U << 16)) said += as_text(ByteView(buffer).first(got));
      }
      const auto status = TRY(child->wait());
      const auto text = logical::one_line(said + child->errors());
      if (status == 0) {
        note(title, CheckState::Ok, "tables, and the B-tree indexes on them, are sound and fit; it looks at no others");
      } else if (status == kAmcheckFound) {
        differ(title, text);
      } else {
        refuse(title, fmt::format("it ended with status {}: {}", status, text));
      }
    }
    return ok();
  }

  Status log_in() {
    if (!request_.login) {
      note("login of the application", CheckState::Unknown, "no login is configured ([cluster.NAME.validation])");
      return ok();
    }
    postgres::ConnectOptions options;
    options.conninfo = *request_.login;
    auto connection = Connection::open(options, request_.cancel);
    auto who = connection ? connection->value("SELECT current_user || ' in ' || current_database()") : Result<std::string>(connection.failure());
    if (!who) {
      if (who.failure().code() == Errc::Cancelled) return std::move(who).failure();
      refuse("login of the application", who.failure().describe());
      return ok();
    }
    // The same server, not the one that the application uses otherwise. A time as text would depend on the time zone of each role.
    const auto identity = [](Connection& c) {
      return c.value("SELECT (extract(epoch FROM pg_catalog.pg_postmaster_start_time()) * 1000000)::bigint::text || ' ' || current_setting('port')");
    };
    const auto here = TRY(identity(*server_)), there = TRY(identity(*connection));
    if (here != there) {
      refuse("login of the application", fmt::format("{}, but on another server than the one that is validated", *who));
    } else {
      note("login of the application", CheckState::Ok, *who);
    }
    return ok();
  }

  Status ask() {
    for (const auto& expected : request_.answers) {
      auto answered = TRY(answer(expected, kRuns));
      if (answered.check.state == CheckState::Failed) report_.data_differ = true;
      report_.checks.push_back(answered.check);
      if (!answered.median) continue;
      Timing timing{expected.name, *answered.median, {}};
      const auto title = fmt::format("time of {}", expected.name);
      if (const auto base = request_.baseline.find(expected.name); base != request_.baseline.end()) {
        timing.baseline = base->second;
        const bool slower = timing.median > base->second * request_.slower_than && timing.median > kSlowerMin;
        note(title, slower ? CheckState::Warning : CheckState::Ok, fmt::format("{}, {} on the origin", human(timing.median), human(base->second)));
      } else {
        note(title, CheckState::Unknown, fmt::format("{}; no baseline is recorded (validate --record-baseline on the origin)", human(timing.median)));
      }
      report_.timings.push_back(std::move(timing));
    }
    return ok();
  }

  const ValidationRequest& request_;
  ValidationReport report_;
  std::optional<Connection> server_;
};

}  // namespace

std::size_t ValidationReport::count(CheckState state) const {
  return static_cast<std::size_t>(std::ranges::count(checks, state, &Check::state));
}

Result<ValidationReport> validate(const ValidationRequest& request) { return Validation(request).run(); }

Result<std::vector<Timing>> measure_answers(const ValidationRequest& request) {
  Validation validation(request);
  std::vector<Timing> timings;
  for (const auto& expected : request.answers) {
    const auto answered = TRY(validation.answer(expected, kBaselineRuns));
    if (answered.check.state != CheckState::Ok)
      return Error(Errc::Precondition, fmt::format("{}: {}", answered.check.name, answered.check.detail), Hint{"a baseline is of answers that are right: see [[validation]] in the configuration"});
    timings.push_back({expected.name, *answered.median, {}});
  }
  return timings;
}

}  // namespace pgmint::service

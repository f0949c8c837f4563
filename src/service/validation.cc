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

namespace pgmint::service {
namespace {

using policy::Check;
using policy::CheckState;
using postgres::Connection;
using postgres::quoted_names;

constexpr std::size_t kNamed = 10;              ///< in a detail
constexpr std::int64_t kEstimateMin = 1000;     ///< rows below which an estimate says nothing
constexpr double kEstimateFactor = 2;
constexpr int kRuns = 3, kBaselineRuns = 5;
constexpr std::chrono::seconds kLookLimit{60};  ///< for the newest moment of one column
constexpr std::chrono::microseconds kSlowRun = std::chrono::seconds(5);  ///< measured once
/// Differences of a few milliseconds are the machine's.
constexpr std::chrono::microseconds kSlowerMin = std::chrono::milliseconds(50);
constexpr int kAmcheckFound = 2;

constexpr const char* kDatabases = "SELECT datname FROM pg_catalog.pg_database WHERE datallowconn AND NOT datistemplate ORDER BY datname";
constexpr const char* kTables =
    "SELECT n.nspname, c.relname, c.reltuples::bigint::text, c.relkind::text FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
    "WHERE c.relkind IN ('r', 'p', 'm') AND c.relpersistence <> 't' AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\\_toast%'";
constexpr const char* kMoments =
    "SELECT n.nspname, c.relname, a.attname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid "
    "WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND a.attnum > 0 AND NOT a.attisdropped AND a.atttypid IN ('pg_catalog.timestamp'::regtype, 'pg_catalog.timestamptz'::regtype, "
    "'pg_catalog.date'::regtype) AND n.nspname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1, 2, 3";
constexpr const char* kOtherCollations =
    "SELECT collname || ': ' || collversion || ', here ' || pg_catalog.pg_collation_actual_version(oid) FROM pg_catalog.pg_collation "
    "WHERE collversion <> pg_catalog.pg_collation_actual_version(oid) AND collencoding IN (-1, (SELECT encoding FROM pg_catalog.pg_database WHERE datname = current_database()))";
constexpr const char* kOtherDatabaseCollation =
    "SELECT 'database ' || datname || ': ' || datcollversion || ', here ' || pg_catalog.pg_database_collation_actual_version(oid) FROM pg_catalog.pg_database "
    "WHERE datname = current_database() AND datcollversion <> pg_catalog.pg_database_collation_actual_version(oid)";
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

  Status look_at_server() {
    const auto place = TRY(server_->query(
        "SELECT coalesce(host(inet_server_addr()), (SELECT setting FROM pg_catalog.pg_settings WHERE name = 'unix_socket_directories')), coalesce(inet_server_port()::text, "
        "(SELECT setting FROM pg_catalog.pg_settings WHERE name = 'port')), current_setting('server_version'), pg_catalog.pg_is_in_recovery()::text, "
        "(SELECT system_identifier::text FROM pg_catalog.pg_control_system())"));
    const auto& row = place.rows.at(0);
    report_.server = fmt::format("PostgreSQL {} on {}:{}", row.at(2).value_or("?"), row.at(0).value_or("a socket"), row.at(1).value_or("?"));
    const bool in_recovery = row.at(3) == "true";
    note("server", CheckState::Ok, report_.server + (in_recovery ? ", still in recovery (paused, or a standby)" : ""));
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
    if (!in_recovery) measure_replay();
    return ok();
  }

  /// A physical restore leaves the label of its backup; the origin never has it.
  Status look_at_label() {
    auto label = server_->query("SELECT pg_catalog.pg_read_file('backup_label.old', 0, 65536, true)");
    if (!label) {
      if (label.failure().code() == Errc::Cancelled) return std::move(label).failure();
      note("origin", CheckState::Unknown, "whether the server was restored from this backup cannot be told by this role (pg_read_server_files)");
      return ok();
    }
    const auto text = label->rows.at(0).at(0);
    if (text && *text == as_text(request_.root->backup_label)) {
      report_.is_restored = true;
      note("origin", CheckState::Ok, fmt::format("restored from {}", request_.root->name));
    } else if (text) {
      differ("origin", fmt::format("the server was restored from another backup than {}", request_.root->name));
    } else {
      note("origin", CheckState::Warning, fmt::format("the server has no backup_label.old, which every restore leaves: it may be the origin of {} itself, and nothing is proven", request_.root->name));
    }
    return ok();
  }

  /// A dump leaves nothing behind, but its databases are younger than it is.
  Status look_at_loaded() {
    for (const auto& database : request_.databases) {
      auto made = server_->query("SELECT (pg_catalog.pg_stat_file('base/' || oid || '/PG_VERSION', true)).modification > $2::timestamptz FROM pg_catalog.pg_database WHERE datname = $1",
                                 {database.name, format_rfc3339(request_.root->started)});
      const auto name = fmt::format("origin of {}", database.name);
      if (!made || made->rows.empty() || !made->rows[0][0]) {
        if (!made && made.failure().code() == Errc::Cancelled) return std::move(made).failure();
        note(name, CheckState::Unknown, made && made->rows.empty() ? "there is no such database" : "when the database was made cannot be told by this role, or it is not in the default tablespace");
        continue;
      }
      const bool younger = made->rows[0][0] == "t";
      note(name, younger ? CheckState::Ok : CheckState::Warning, younger ? fmt::format("made after {} was begun", request_.root->name)
                                                                        : fmt::format("older than {}: it may be the origin itself", request_.root->name));
      report_.is_restored = younger && (report_.is_restored || &database == &request_.databases.front());
      if (!younger) return ok();
    }
    return ok();
  }

  /// From the server's start to its new timeline, if it has run since; nothing more exact outlives recovery than that.
  void measure_replay() {
    auto row = server_->query(
        "SELECT w.name, (extract(epoch FROM w.modification - pg_catalog.pg_postmaster_start_time()) * 1000)::bigint::text, pg_catalog.pg_read_file('pg_wal/' || w.name, 0, 1048576, true) "
        "FROM pg_catalog.pg_ls_waldir() w WHERE w.name ~ '^[0-9A-F]{8}\\.history$' ORDER BY 1 DESC LIMIT 1");
    if (!row || row->rows.empty()) return;
    const auto milliseconds = number<std::int64_t>(row->rows[0][1]);
    const auto timeline = postgres::parse_history_file_name(row->rows[0][0].value_or(""));
    if (!milliseconds || *milliseconds <= -1000 || !timeline || !row->rows[0][2]) return;
    const auto history = postgres::TimelineHistory::parse(*timeline, *row->rows[0][2]);
    if (!history || history->switches().empty()) return;
    const auto end = history->switches().back().switch_point.value(), start = request_.root->start_lsn;
    // The file's time has whole seconds, those that were full: one more is never too short.
    if (end > start) report_.replay = policy::Measure{end - start, std::chrono::milliseconds(*milliseconds + 1000)};
  }

  Status look_at(const ExpectedDatabase& database) {
    const auto title = fmt::format("database {}", database.name);
    auto opened = open(database.name);
    if (!opened) {
      if (opened.failure().code() == Errc::Cancelled) return std::move(opened).failure();
      refuse(title, opened.failure().describe());
      return ok();
    }
    auto connection = std::move(*opened);
    const auto rows = TRY(connection.query(kTables));
    struct There {
      std::int64_t estimate = -1;
      bool ordinary = true;
    };
    std::map<std::pair<std::string, std::string>, There> there;
    for (const auto& row : rows.rows)
      there[{row.at(0).value_or(""), row.at(1).value_or("")}] = {number<std::int64_t>(row.at(2)).value_or(-1), row.at(3) != "p"};

    std::vector<std::string> missing;
    for (const auto& table : database.listed)
      if (!there.contains({table.schema, table.name})) missing.push_back(quoted_names({table.schema, table.name}));
    const auto count = fmt::format("{} tables, {} in the backup", there.size(), database.tables);
    if (!missing.empty() && database.exact) {
      differ(fmt::format("tables of {}", database.name), fmt::format("{}; missing: {}", count, some_of(missing)));
    } else if (!missing.empty()) {
      note(fmt::format("tables of {}", database.name), CheckState::Warning, fmt::format("{}; dropped since then, or missing: {}", count, some_of(missing)));
    } else {
      // Tables may have been made and dropped since a physical backup; of a dump every one was looked for by name.
      note(fmt::format("tables of {}", database.name), !database.exact && there.size() < database.tables ? CheckState::Warning : CheckState::Ok, count);
    }
    std::vector<Check> worse;
    std::size_t equal = 0, uncounted = 0;
    for (const auto& table : database.listed) {
      const auto found = there.find({table.schema, table.name});
      if (found == there.end()) continue;
      if (request_.cancel != nullptr) TRY(request_.cancel->check());
      std::optional<std::uint64_t> counted;
      const auto name = quoted_names({table.schema, table.name});
      if (table.rows) {
        auto value = connection.value(fmt::format("SELECT count(*) FROM {}{}", database.exact ? "ONLY " : "", name));
        if (!value) {
          if (value.failure().code() == Errc::Cancelled) return std::move(value).failure();
          worse.push_back({name, CheckState::Failed, fmt::format("{}: {}", name, value.failure().describe())});
          continue;
        }
        counted = number<std::uint64_t>(*value);
      } else if (database.exact || !table.estimate) {
        ++uncounted;
        continue;
      }
      auto check = compare_rows(name, table, database.exact, counted, found->second.estimate);
      if (check.state == CheckState::Ok) {
        ++equal;
      } else {
        worse.push_back(std::move(check));
      }
    }
    const auto title_rows = fmt::format("rows of {}", database.name);
    std::vector<std::string> failed, warned;
    for (const auto& check : worse) (check.state == CheckState::Failed ? failed : warned).push_back(check.detail);
    if (!failed.empty()) differ(title_rows, some_of(failed));
    if (!warned.empty()) note(title_rows, CheckState::Warning, some_of(warned));
    if (worse.empty() && equal > 0)
      note(title_rows, CheckState::Ok,
           fmt::format("{} tables {}{}", equal, database.exact ? "have as many rows as were dumped" : "fit what was recorded: counted ones have not shrunk, the others are as large as estimated then",
                       uncounted != 0 ? fmt::format("; {} were not counted in the backup", uncounted) : ""));
    if (worse.empty() && equal == 0 && !database.listed.empty()) note(title_rows, CheckState::Unknown, "the backup knows the rows of none");
    return ok();
  }

  /// Of every database: newest moments, collations, extensions.
  Status look_at_schemas(const std::vector<std::string>& databases) {
    std::vector<std::string> collations, extensions;
    std::set<std::string> unseen(request_.newest.begin(), request_.newest.end());
    for (const auto& database : databases) {
      auto opened = open(database);
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
      if (connection.version().major >= 15) TRY(add(kOtherDatabaseCollation, collations));
      TRY(add(kLostExtensions, extensions));
    }
    for (const auto& column : unseen) note(fmt::format("newest {}", column), CheckState::Warning, "no table has this column");
    note("collations", collations.empty() ? CheckState::Ok : CheckState::Warning,
         collations.empty() ? "their versions are those that were recorded" : fmt::format("sorted otherwise here than where they were used: REINDEX what depends on them: {}", some_of(collations)));
    note("extensions", extensions.empty() ? CheckState::Ok : CheckState::Warning, extensions.empty() ? "those that are used are installed" : fmt::format("not installed here: {}", some_of(extensions)));
    return ok();
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
      auto child = TRY(ChildProcess::start({.arguments = std::move(arguments), .environment = std::move(client.environment), .pipe_output = true, .cancel = request_.cancel}));
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
        note(title, CheckState::Ok, "tables and indexes fit");
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
    // The same server, not the one that the application uses otherwise.
    const auto identity = [](Connection& c) { return c.value("SELECT pg_catalog.pg_postmaster_start_time()::text || ' ' || current_setting('port')"); };
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

Check compare_rows(const std::string& table, const ExpectedTable& expected, bool exact, std::optional<std::uint64_t> rows, std::int64_t estimate) {
  if (expected.rows && rows) {
    const bool fits = exact ? *rows == *expected.rows : *rows >= *expected.rows;
    return {table, fits ? CheckState::Ok : CheckState::Failed,
            fmt::format("{}: {} rows, {} {}", table, *rows, *expected.rows, exact ? "were dumped" : "when the backup began, and the table only grows")};
  }
  const auto before = expected.estimate.value_or(-1);
  if (before < kEstimateMin) return {table, CheckState::Ok, ""};
  const auto now = static_cast<double>(std::max<std::int64_t>(estimate, 0)), then = static_cast<double>(before);
  const bool near = now * kEstimateFactor >= then && now <= then * kEstimateFactor;
  return {table, near ? CheckState::Ok : CheckState::Warning, fmt::format("{}: about {} rows, about {} when the backup began", table, std::max<std::int64_t>(estimate, 0), before)};
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

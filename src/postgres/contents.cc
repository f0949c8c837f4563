#include "postgres/contents.h"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>

#include "postgres/parse_number.h"

namespace pgmint::postgres {
namespace {

constexpr const char* kDatabases = "SELECT datname FROM pg_catalog.pg_database WHERE datallowconn AND NOT datistemplate ORDER BY datname";
/// Unlogged tables are empty after every recovery, temporary ones are gone.
constexpr const char* kTables =
    "SELECT n.nspname, c.relname, c.reltuples::bigint::text, pg_catalog.count(*) OVER ()::text FROM pg_catalog.pg_class c "
    "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'm') AND c.relpersistence = 'p' "
    "AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\\_toast%' ORDER BY c.relpages DESC, 1, 2";
/// Since 15 a database itself may sort by ICU. An index has the collations of its columns in pg_attribute, as tables have.
constexpr const char* kUsesIcu =
    "SELECT ({} EXISTS (SELECT 1 FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_collation l ON l.oid = a.attcollation JOIN pg_catalog.pg_class c ON c.oid = a.attrelid "
    "WHERE l.collprovider = 'i' AND c.relkind IN ('r', 'p', 'm', 'i', 'I') AND NOT a.attisdropped))::text";
constexpr const char* kDatabaseUsesIcu = "EXISTS (SELECT 1 FROM pg_catalog.pg_database WHERE datname = current_database() AND datlocprovider = 'i') OR";
constexpr const char* kExtensions = "SELECT extname, extversion FROM pg_catalog.pg_extension ORDER BY 1";

std::optional<std::int64_t> signed_number(std::string_view text) {
  const bool negative = text.starts_with('-');
  const auto number = parse_number<std::uint64_t>(text.substr(negative ? 1 : 0), 10);
  if (!number || *number > (1ULL << 62)) return std::nullopt;
  return negative ? -static_cast<std::int64_t>(*number) : static_cast<std::int64_t>(*number);
}

std::string order_of(const TableFacts& table) { return quoted_names({table.database, table.schema, table.name}); }

class Reader {
 public:
  Reader(const ConnectOptions& connect, const std::vector<std::string>& count, std::chrono::seconds limit, const CancelToken* cancel)
      : connect_(connect), count_(count), limit_(limit), cancel_(cancel) {}

  Result<Contents> read() {
    {
      auto connection = TRY(Connection::open(connect_, cancel_));
      const auto rows = TRY(connection.query(kDatabases));
      for (const auto& row : rows.rows) contents_.databases.push_back({row.at(0).value_or("")});
    }
    contents_.icu_databases.emplace();
    for (auto& database : contents_.databases) {
      const auto before = all_.size();
      auto read = read_database(database);
      if (read) continue;
      if (read.failure().code() == Errc::Cancelled) return std::move(read).failure();
      // Half of its tables would look like all of them.
      std::erase(*contents_.icu_databases, database.name);
      all_.erase(all_.begin() + static_cast<std::ptrdiff_t>(before), all_.end());
      database.tables = 0;
      database.read = false;
      contents_.problems.push_back(fmt::format("database {}: {}", database.name, read.failure().describe()));
    }
    keep_the_largest();
    return std::move(contents_);
  }

 private:
  Status read_database(DatabaseContents& database) {
    auto options = connect_;
    options.database = database.name;
    auto connection = TRY(Connection::open(options, cancel_));
    TRY(connection.execute("SET row_security = off"));  // rows that a policy hides would be missing silently: so it is an error
    TRY(connection.execute("BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"));
    const auto extensions = TRY(connection.query(kExtensions));
    for (const auto& row : extensions.rows)
      contents_.extensions.push_back(fmt::format("{} {} in {}", row.at(0).value_or(""), row.at(1).value_or(""), database.name));
    const auto uses_icu = TRY(connection.value(fmt::format(fmt::runtime(kUsesIcu), connection.version().major >= 15 ? kDatabaseUsesIcu : "")));
    if (uses_icu == "true") contents_.icu_databases->push_back(database.name);
    const auto tables = TRY(connection.query(kTables));
    for (const auto& row : tables.rows) {
      TableFacts table{database.name, row.at(0).value_or(""), row.at(1).value_or(""), signed_number(row.at(2).value_or("")).value_or(-1), {}};
      ++database.tables;
      if (std::ranges::any_of(count_, [&](const auto& pattern) { return names_table(pattern, table.database, table.schema, table.name); }))
        TRY(count_rows(connection, table));
      all_.push_back(std::move(table));
    }
    return ok();
  }

  Status count_rows(Connection& connection, TableFacts& table) {
    TRY(connection.execute("SAVEPOINT pgmint_count"));
    TRY(connection.execute(fmt::format("SET LOCAL statement_timeout = '{}s'", limit_.count())));
    auto rows = connection.value(fmt::format("SELECT count(*) FROM {}", quoted_names({table.schema, table.name})));
    TRY(connection.execute("ROLLBACK TO SAVEPOINT pgmint_count"));
    if (rows) {
      table.rows = parse_number<std::uint64_t>(*rows, 10);
      return ok();
    }
    if (rows.failure().code() == Errc::Cancelled) return std::move(rows).failure();
    table.count_failed = true;
    contents_.problems.push_back(fmt::format("the rows of {} could not be counted: {}", order_of(table), rows.failure().describe()));
    return ok();
  }

  void keep_the_largest() {
    // Each database's come in the order of size; a share for each, so that a large database does not hide the others.
    std::vector<TableFacts> kept;
    const auto share = std::max<std::size_t>(1, kTablesRecordedMax / std::max<std::size_t>(1, contents_.databases.size()));
    std::size_t of_database = 0;
    for (std::size_t i = 0; i < all_.size(); ++i) {
      of_database = i > 0 && all_[i - 1].database == all_[i].database ? of_database + 1 : 0;
      if (of_database < share || all_[i].rows || all_[i].count_failed) kept.push_back(all_[i]);
    }
    std::ranges::sort(kept, {}, [](const TableFacts& table) { return std::tie(table.database, table.schema, table.name); });
    contents_.tables = std::move(kept);
  }

  const ConnectOptions& connect_;
  const std::vector<std::string>& count_;
  std::chrono::seconds limit_;
  const CancelToken* cancel_;
  Contents contents_;
  std::vector<TableFacts> all_;
};

}  // namespace

const TableFacts* Contents::find(std::string_view database, std::string_view schema, std::string_view table) const {
  const auto key = std::tie(database, schema, table);
  const auto found = std::ranges::lower_bound(tables, key, {}, [](const TableFacts& t) { return std::tuple<std::string_view, std::string_view, std::string_view>(t.database, t.schema, t.name); });
  return found != tables.end() && found->database == database && found->schema == schema && found->name == table ? &*found : nullptr;
}

Result<Contents> read_contents(const ConnectOptions& connect, const std::vector<std::string>& count, std::chrono::seconds count_limit, const CancelToken* cancel) {
  return Reader(connect, count, count_limit, cancel).read();
}

bool names_table(std::string_view pattern, std::string_view database, std::string_view schema, std::string_view table) {
  if (const auto colon = pattern.find(':'); colon != std::string_view::npos) {
    if (pattern.substr(0, colon) != database) return false;
    pattern.remove_prefix(colon + 1);
  }
  const auto dot = pattern.find('.');
  if (dot == std::string_view::npos) return pattern == table;
  return pattern.substr(0, dot) == schema && pattern.substr(dot + 1) == table;
}

bool sorts_alike_everywhere(std::string_view locale) { return locale == "C" || locale == "POSIX" || locale == "C.UTF-8" || locale == "C.UTF8" || locale == "C.utf8"; }

std::string quoted_names(const std::vector<std::string>& names) {
  std::string text;
  for (const auto& name : names) {
    text += text.empty() ? "\"" : ".\"";
    for (const char c : name) text += c == '"' ? std::string("\"\"") : std::string(1, c);
    text += '"';
  }
  return text;
}

std::optional<std::vector<std::string>> parse_quoted_names(std::string_view text) {
  std::vector<std::string> names;
  std::size_t at = 0;
  for (;;) {
    if (at >= text.size() || text[at] != '"') return std::nullopt;
    std::string name;
    for (++at;; ++at) {
      if (at >= text.size()) return std::nullopt;
      if (text[at] != '"') {
        name += text[at];
      } else if (at + 1 < text.size() && text[at + 1] == '"') {
        name += text[at++];
      } else {
        break;
      }
    }
    names.push_back(std::move(name));
    if (++at == text.size()) return names;
    if (text[at++] != '.') return std::nullopt;
  }
}

std::vector<std::pair<std::string, std::string>> contents_settings(const Contents& contents) {
  std::vector<std::pair<std::string, std::string>> settings;
  const auto add = [&](std::string_view name, std::string value) { settings.emplace_back(std::string(name), std::move(value)); };
  add(kContentsSetting, contents.problems.empty() ? "complete" : "incomplete");
  for (const auto& extension : contents.extensions) add(kExtensionSetting, extension);
  if (contents.icu_databases) {
    if (contents.icu_databases->empty()) add(kIcuSetting, "none");
    for (const auto& database : *contents.icu_databases) add(kIcuSetting, quoted_names({database}));
  }
  for (const auto& database : contents.databases) {
    if (database.read) {
      add(kDatabaseTablesSetting, fmt::format("{} {}", database.tables, quoted_names({database.name})));
    } else {
      add(kDatabaseUnreadSetting, quoted_names({database.name}));
    }
  }
  for (const auto& table : contents.tables)
    add(kTableSetting, fmt::format("{} {} {}", table.estimate, table.rows ? std::to_string(*table.rows) : table.count_failed ? "?" : "-", quoted_names({table.database, table.schema, table.name})));
  return settings;
}

std::optional<Contents> parse_contents_settings(const std::vector<std::pair<std::string, std::string>>& settings) {
  Contents contents;
  bool any = false, says_what = false;
  for (const auto& [name, value] : settings) {
    std::string_view rest = value;
    const auto word = [&] {
      const auto blank = std::min(rest.find(' '), rest.size());
      const auto taken = rest.substr(0, blank);
      rest.remove_prefix(std::min(blank + 1, rest.size()));
      return taken;
    };
    if (name == kContentsSetting) {
      any = true;
      if (value != "complete") contents.problems.emplace_back("not everything could be looked at when the backup was taken");
    } else if (name == kExtensionSetting) {
      contents.extensions.push_back(value);
    } else if (name == kIcuSetting) {
      if (!contents.icu_databases) contents.icu_databases.emplace();
      if (const auto names = parse_quoted_names(value); names && names->size() == 1) contents.icu_databases->push_back(names->front());
    } else if (name == kDatabaseTablesSetting) {
      const auto tables = parse_number<std::uint64_t>(word(), 10);
      const auto names = parse_quoted_names(rest);
      if (tables && names && names->size() == 1) contents.databases.push_back({names->front(), *tables});
    } else if (name == kDatabaseUnreadSetting) {
      says_what = true;
      if (const auto names = parse_quoted_names(value); names && names->size() == 1) contents.databases.push_back({names->front(), 0, false});
    } else if (name == kTableSetting) {
      const auto estimate = signed_number(word());
      const auto counted = word();
      const auto rows = parse_number<std::uint64_t>(counted, 10);
      const auto names = parse_quoted_names(rest);
      const bool failed = counted == "?";
      if (!estimate || (!rows && !failed && counted != "-") || !names || names->size() != 3) continue;
      says_what = says_what || failed;
      contents.tables.push_back({(*names)[0], (*names)[1], (*names)[2], *estimate, rows, failed});
    }
  }
  if (!any) return std::nullopt;
  // Earlier builds wrote a database that could not be read as one without tables.
  if (!contents.problems.empty() && !says_what)
    for (auto& database : contents.databases) database.read = database.tables != 0;
  std::ranges::sort(contents.tables, {}, [](const TableFacts& table) { return std::tie(table.database, table.schema, table.name); });
  return contents;
}

}  // namespace pgmint::postgres

#include "logical/load_checks.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>

#include "base/file.h"
#include "base/units.h"

namespace pgmint::logical {
namespace {

using policy::Check;
using policy::CheckState;

constexpr std::size_t kNamed = 10;

std::string some_of(const std::vector<std::string>& names) {
  const std::vector<std::string> first(names.begin(), names.begin() + static_cast<std::ptrdiff_t>(std::min(names.size(), kNamed)));
  return fmt::format("{}{}", fmt::join(first, ", "), names.size() > kNamed ? ", ..." : "");
}

class Look {
 public:
  Look(postgres::Connection& server, const LoadNeeds& needs) : server_(server), needs_(needs) {}

  Result<std::vector<Check>> run() {
    TRY(roles());
    TRY(privileges());
    TRY(extensions());
    TRY(collations());
    TRY(space());
    TRY(connections());
    return std::move(checks_);
  }

 private:
  void note(std::string name, CheckState state, std::string detail) { checks_.push_back({std::move(name), state, std::move(detail)}); }

  /// Everybody whom something is to belong to.
  Status roles() {
    const auto rows = TRY(server_.query("SELECT rolname, pg_catalog.pg_has_role(rolname, 'MEMBER')::text FROM pg_catalog.pg_roles"));
    std::map<std::string, bool> there;
    for (const auto& row : rows.rows) there[row.at(0).value_or("")] = row.at(1) == "true";
    std::vector<std::string> missing;
    for (const auto& owner : needs_.owners)
      if (!there.contains(owner)) {
        missing.push_back(owner);
      } else if (!there[owner]) {
        not_member_.push_back(owner);
      }
    if (missing.empty()) {
      note("roles", CheckState::Ok, needs_.owners.empty() ? "none is needed" : fmt::format("{} are there", needs_.owners.size()));
    } else {
      note("roles", CheckState::Failed, fmt::format("the server lacks roles that objects of the dump belong to: {}", some_of(missing)));
    }
    return ok();
  }

  Status privileges() {
    const auto row = TRY(server_.query("SELECT rolsuper::text, rolcreatedb::text, rolname FROM pg_catalog.pg_roles WHERE rolname = current_user"));
    if (row.rows.size() != 1) return Error(Errc::Postgres, "PostgreSQL does not say who is connected");
    is_superuser_ = row.rows[0].at(0) == "true";
    const auto who = row.rows[0].at(2).value_or("");
    if (is_superuser_) {
      note("privileges", CheckState::Ok, fmt::format("{} is a superuser", who));
    } else if (needs_.makes_database && row.rows[0].at(1) != "true") {
      note("privileges", CheckState::Failed, fmt::format("{} may not make databases (ALTER ROLE ... CREATEDB)", who));
    } else if (!not_member_.empty()) {
      note("privileges", CheckState::Warning, fmt::format("{} is no member of roles that objects of the dump belong to, and may not be allowed to give them away: {}", who, some_of(not_member_)));
    } else {
      note("privileges", CheckState::Ok, needs_.makes_database ? fmt::format("{} may make databases", who) : who);
    }
    return ok();
  }

  Status extensions() {
    std::vector<std::string> needed, missing, forbidden;
    for (const auto* entry : needs_.plan.schema.entries)
      if (entry->kind == "EXTENSION") needed.push_back(entry->name);
    const auto rows = TRY(server_.query("SELECT a.name, pg_catalog.bool_or(v.superuser AND NOT v.trusted)::text FROM pg_catalog.pg_available_extensions a "
                                        "JOIN pg_catalog.pg_available_extension_versions v ON v.name = a.name AND v.version = a.default_version GROUP BY 1"));
    std::map<std::string, bool> superuser_only;
    for (const auto& row : rows.rows) superuser_only[row.at(0).value_or("")] = row.at(1) == "true";
    for (const auto& name : needed)
      if (!superuser_only.contains(name)) {
        missing.push_back(name);
      } else if (superuser_only[name] && !is_superuser_) {
        forbidden.push_back(name);
      }
    if (!missing.empty()) {
      note("extensions", CheckState::Failed, fmt::format("not installed on the server's host: {}", some_of(missing)));
    } else if (!forbidden.empty()) {
      // Not the end: the database may have them already, and some services let others make them.
      note("extensions", CheckState::Warning, fmt::format("only a superuser may make, where the database does not have them: {}", some_of(forbidden)));
    } else {
      note("extensions", CheckState::Ok, needed.empty() ? "none is needed" : some_of(needed));
    }
    return ok();
  }

  /// The value behind `key = ` in the statement that makes the database.
  std::string database_option(std::string_view key) const {
    const auto& text = needs_.contents.create_database;
    const auto begins = fmt::format(" {} = ", key);
    auto at = text.find(begins);
    if (at == std::string::npos) return "";
    at += begins.size();
    const bool quoted = at < text.size() && text[at] == '\'';
    if (quoted) ++at;
    const auto end = text.find_first_of(quoted ? "'" : " ;\n", at);
    return text.substr(at, end == std::string::npos ? end : end - at);
  }

  /// Indexes are made anew, so that another version of a collation harms nothing: it only has to be there.
  Status collations() {
    const auto provider = database_option("LOCALE_PROVIDER");
    auto locale = database_option("LC_COLLATE");
    if (locale.empty()) locale = database_option("LOCALE");
    if (!needs_.makes_database || locale.empty()) {
      note("collations", CheckState::Ok, needs_.makes_database ? "those of the server" : "those of the database that is there");
      return ok();
    }
    const bool plain = locale == "C" || locale == "POSIX" || locale == "C.UTF-8" || locale == "C.utf8";
    const auto rows = TRY(server_.query("SELECT 1 FROM pg_catalog.pg_collation WHERE collcollate = $1 OR collname = $1 OR collcollate = replace($1, '.UTF-8', '.utf8') LIMIT 1", {locale}));
    if (plain || !rows.rows.empty()) {
      note("collations", CheckState::Ok, fmt::format("{}{}", locale, provider.empty() ? "" : fmt::format(", {}", provider)));
    } else {
      note("collations", CheckState::Unknown, fmt::format("the database was made with {}, which the server does not list: its host may lack it", locale));
    }
    return ok();
  }

  Status space() {
    const auto row = TRY(server_.query("SELECT pg_catalog.inet_server_addr() IS NULL OR pg_catalog.inet_server_addr() <<= '127.0.0.0/8' OR pg_catalog.inet_server_addr() = '::1', "
                                       "(SELECT setting FROM pg_catalog.pg_settings WHERE name = 'data_directory')"));
    const bool local = row.rows.at(0).at(0) == "t";
    const auto directory = row.rows.at(0).at(1).value_or("");
    const auto wanted = fmt::format("{} of rows as text, {} in the repository; indexes come beside it", human(ByteCount(needs_.bytes)), human(ByteCount(needs_.stored_bytes)));
    if (!local || directory.empty()) {
      note("space", CheckState::Unknown, fmt::format("{}; {}", local ? "the role may not see where the data directory is (pg_read_all_settings)" : "the server is on another host", wanted));
      return ok();
    }
    const auto free = free_space(directory);
    if (!free) {
      note("space", CheckState::Unknown, fmt::format("{}; {}", free.failure().describe(), wanted));
      return ok();
    }
    // An estimate that errs either way (TOAST and file systems compress, rows may go to tablespaces) must not keep anybody from a restore.
    note("space", *free < needs_.bytes ? CheckState::Warning : CheckState::Ok, fmt::format("{} has {} free; {}", directory, human(ByteCount(*free)), wanted));
    return ok();
  }

  Status connections() {
    const auto there = TRY(server_.value("SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE datname = $1 AND pid <> pg_catalog.pg_backend_pid()", {needs_.target}));
    if (!needs_.swaps) {
      note("connections", CheckState::Ok, "none is ended");
    } else {
      note("connections", there == "0" ? CheckState::Ok : CheckState::Warning, fmt::format("{} to {} would be ended by the swap", there, needs_.target));
    }
    return ok();
  }

  postgres::Connection& server_;
  const LoadNeeds& needs_;
  std::vector<Check> checks_;
  std::vector<std::string> not_member_;
  bool is_superuser_ = false;
};

}  // namespace

Result<std::vector<Check>> check_server(postgres::Connection& server, const LoadNeeds& needs) { return Look(server, needs).run(); }

}  // namespace pgmint::logical

// What a validation makes of what it was told: pure.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/units.h"
#include "service/validation.h"

namespace pgmint::service {
namespace {

using policy::Check;
using policy::CheckState;
using postgres::quoted_names;

constexpr std::int64_t kEstimateMin = 1000;        ///< rows below which an estimate says nothing
constexpr double kEstimateFactor = 2;
constexpr std::chrono::hours kClockAheadMax{1};    ///< clocks that differ by more are wrong
constexpr std::string_view kLibc = "c", kBuiltin = "b";  ///< pg_database.datlocprovider

}  // namespace

Check compare_rows(const std::string& table, const ExpectedTable& expected, bool exact, std::optional<std::uint64_t> rows, std::int64_t estimate) {
  if (expected.rows && rows) {
    const bool fits = exact ? *rows == *expected.rows : *rows >= *expected.rows;
    return {table, fits ? CheckState::Ok : CheckState::Failed,
            fmt::format("{}: {} rows, {} {}", table, *rows, *expected.rows, exact ? "were dumped" : "when the backup began, and the table only grows")};
  }
  const auto before = expected.estimate.value_or(-1);
  if (exact || before < kEstimateMin) return {table, CheckState::Unknown, fmt::format("{}: how many rows it had is not known well enough", table)};
  const auto now = static_cast<double>(std::max<std::int64_t>(estimate, 0)), then = static_cast<double>(before);
  const bool near = now * kEstimateFactor >= then && now <= then * kEstimateFactor;
  return {table, near ? CheckState::Ok : CheckState::Warning, fmt::format("{}: about {} rows, about {} when the backup began", table, std::max<std::int64_t>(estimate, 0), before)};
}

std::string too_old_to_prove(std::chrono::microseconds age) {
  if (age < -kClockAheadMax) return "that is still to come: a clock is wrong";
  if (age > kProofAgeMax) return fmt::format("{} ago, and a pass proves a restore of at most {} days", human(age), kProofAgeMax.count() / 24);
  return "";
}

Check judge_default_collation(const DefaultCollation& collation, const std::string& origin_libc) {
  if (collation.recorded) {
    const bool same = collation.recorded == collation.actual;
    return {"", same ? CheckState::Ok : collation.actual ? CheckState::Warning : CheckState::Unknown,
            fmt::format("{}: {}, here {}", collation.locale, *collation.recorded, collation.actual.value_or("it has no version"))};
  }
  if (collation.provider == kBuiltin || (collation.provider == kLibc && postgres::sorts_alike_everywhere(collation.locale))) return {"", CheckState::Ok, ""};
  if (collation.provider != kLibc || origin_libc.empty() || !collation.actual) return {"", CheckState::Unknown, fmt::format("{}: no version was recorded", collation.locale)};
  return {"", origin_libc == collation.actual ? CheckState::Ok : CheckState::Warning, fmt::format("{}: the C library was {} where it was backed up, here {}", collation.locale, origin_libc, *collation.actual)};
}

std::vector<ExpectedDatabase> recorded_databases(const postgres::Contents& contents) {
  std::vector<ExpectedDatabase> databases;
  for (const auto& recorded : contents.databases) {
    ExpectedDatabase database{recorded.name, recorded.name, false, recorded.tables, {}, recorded.read};
    for (const auto& table : contents.tables)
      if (table.database == recorded.name) database.listed.push_back({table.schema, table.name, table.rows, table.estimate});
    databases.push_back(std::move(database));
  }
  return databases;
}

std::vector<std::string> uncounted(const postgres::Contents& contents, const std::vector<std::string>& count) {
  std::set<std::string> missing;
  for (const auto& pattern : count) {
    bool any = false;
    for (const auto& table : contents.tables) {
      if (!postgres::names_table(pattern, table.database, table.schema, table.name)) continue;
      any = true;
      if (!table.rows) missing.insert(quoted_names({table.database, table.schema, table.name}));
    }
    if (!any) missing.insert(pattern);
  }
  // Counting was asked for when the backup was taken, whatever is configured now.
  for (const auto& table : contents.tables)
    if (table.count_failed) missing.insert(quoted_names({table.database, table.schema, table.name}));
  return {missing.begin(), missing.end()};
}

}  // namespace pgmint::service

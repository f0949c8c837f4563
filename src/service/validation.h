// A restored server held against what its backup says, and against what the operator expects of it. Decision: docs/adr/0025-what-a-validation-may-claim.md
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/cancel.h"
#include "base/clock.h"
#include "policy/checks.h"
#include "policy/estimate.h"
#include "postgres/connection.h"
#include "postgres/contents.h"
#include "repository/manifest.h"

namespace pgmint::service {

/// What the backup knows of one table.
struct ExpectedTable {
  std::string schema, name;
  std::optional<std::uint64_t> rows;     ///< counted when it was backed up
  std::optional<std::int64_t> estimate;  ///< reltuples then
};

/// Of one database. In `exact` (a dump) the restored one has these tables with these rows; otherwise what was counted may have grown since.
struct ExpectedDatabase {
  std::string backed_up_as, name;  ///< in the backup, and on the server
  bool exact = false;
  std::uint64_t tables = 0;        ///< that it had
  std::vector<ExpectedTable> listed;
  bool known = true;               ///< false: it was there, and could not be looked into
};

/// What the record of a backup of a data directory says, database by database.
std::vector<ExpectedDatabase> recorded_databases(const postgres::Contents& contents);
/// Of the tables that are configured to be counted, in words: those of which the record has no count.
std::vector<std::string> uncounted(const postgres::Contents& contents, const std::vector<std::string>& count);

struct ExpectedAnswer {
  std::string name, sql, database;  ///< database empty: the connection's
  std::optional<std::string> equal, at_least;
  std::chrono::seconds limit{60};
};

struct ValidationRequest {
  postgres::ConnectOptions connect;
  const repository::ManifestRoot* root = nullptr;  ///< of the backup
  std::vector<ExpectedDatabase> databases;
  bool contents_known = true;                      ///< false: the backup does not say what stood in its databases
  bool contents_complete = true;                   ///< false: not everything could be looked at when it was taken
  std::vector<std::string> uncounted;              ///< tables that were to be counted with the backup, and were not
  std::vector<std::string> newest;                 ///< columns; empty: every created_at
  std::optional<std::string> login;                ///< conninfo of the application's role
  std::vector<ExpectedAnswer> answers;
  std::map<std::string, std::chrono::microseconds> baseline;  ///< by an answer's name
  unsigned slower_than = 3;
  std::string pg_amcheck;                          ///< path; empty: not found
  bool amcheck = true, install_amcheck = false;
  Clock& clock;
  const CancelToken* cancel = nullptr;
};

/// How an answer came.
struct Timing {
  std::string name;
  std::chrono::microseconds median{};
  std::optional<std::chrono::microseconds> baseline;
};

struct ValidationReport {
  std::string backup, server;                    ///< "PostgreSQL 15.14 on /tmp:5433"
  TimePoint started{};
  std::chrono::microseconds took{};
  std::vector<policy::Check> checks;
  std::vector<Timing> timings;
  std::optional<TimePoint> moment;               ///< the last transaction that recovery replayed
  std::optional<policy::Measure> replay;         ///< WAL, and how long its recovery took
  bool is_restored = false;                      ///< it is known to be made from this backup, and not the origin
  std::optional<TimePoint> restored;             ///< when that was, in whole seconds; of several databases the earliest
  std::string unproven;                          ///< why a pass proves no restore, in words; empty: it does, if it is restored
  bool data_differ = false, refused = false;     ///< what a failed check is about

  bool passed() const { return !data_differ && !refused; }
  bool proves() const { return passed() && is_restored && unproven.empty(); }
  std::size_t count(policy::CheckState state) const;
};

/// Looks at the server. A failed check is no error. @errors Postgres (the server cannot be reached), Cancelled
Result<ValidationReport> validate(const ValidationRequest& request);

/// The answers' medians of several runs. @errors Postgres, Precondition (an answer is another one than expected: no base to compare with), Cancelled
Result<std::vector<Timing>> measure_answers(const ValidationRequest& request);

/// A pass proves a restore that is no older: after that a server has lived a life of its own, and shows that this works more than that the restore did.
inline constexpr std::chrono::hours kProofAgeMax{7 * 24};

/// Whether a restore that long ago is too old to be proven, or its date is not to be believed; empty: neither. Pure.
std::string too_old_to_prove(std::chrono::microseconds age);

/// By what a database sorts where nothing else is said.
struct DefaultCollation {
  std::string provider, locale;                 ///< "c", "i" or "b", as pg_database.datlocprovider
  std::optional<std::string> recorded, actual;  ///< versions: in the catalog, and of the library here
};
/// Warning: it sorts otherwise here, Unknown: nobody can tell. Pure. @param origin_libc  version of the C library when the backup was taken; empty: the backup does not say
policy::Check judge_default_collation(const DefaultCollation& collation, const std::string& origin_libc);

/// What was counted may have grown, not shrunk; estimates may be off by a factor of two. Unknown where an estimate says nothing: there is none, or it is below a thousand rows. Pure.
policy::Check compare_rows(const std::string& table, const ExpectedTable& expected, bool exact, std::optional<std::uint64_t> rows, std::int64_t estimate);

}  // namespace pgmint::service

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
};

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
  bool data_differ = false, refused = false;     ///< what a failed check is about

  bool passed() const { return !data_differ && !refused; }
  std::size_t count(policy::CheckState state) const;
};

/// Looks at the server. A failed check is no error. @errors Postgres (the server cannot be reached), Cancelled
Result<ValidationReport> validate(const ValidationRequest& request);

/// The answers' medians of several runs. @errors Postgres, Precondition (an answer is another one than expected: no base to compare with), Cancelled
Result<std::vector<Timing>> measure_answers(const ValidationRequest& request);

/// What was counted may have grown, not shrunk; estimates may be off by a factor of two, and say nothing below a thousand rows. Pure.
policy::Check compare_rows(const std::string& table, const ExpectedTable& expected, bool exact, std::optional<std::uint64_t> rows, std::int64_t estimate);

}  // namespace pgmint::service

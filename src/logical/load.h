// A dump back into a running server: into a database of its own, or beside the one that is there and swapped by rename.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "logical/dump.h"
#include "logical/load_plan.h"
#include "policy/checks.h"
#include "postgres/connection.h"
#include "repository/repository.h"

namespace pgmint::logical {

/// What a logical backup holds.
struct DumpOverview {
  repository::ManifestRoot root;
  std::vector<std::string> databases;
  /// Streams and empty files by path.
  std::map<std::string, repository::FileEntry> files;
};
/// @errors Precondition (a backup of another kind), NotFound, Corruption, Storage, Key
Result<DumpOverview> read_overview(const repository::Cluster& cluster, const repository::SessionId& session);
/// The contents list of one of its databases. @errors NotFound: it has no such database; Corruption, Storage, Key
Result<DumpContents> read_contents(const repository::Cluster& cluster, const DumpOverview& dump, const std::string& database, const CancelToken* cancel);

enum class LoadStep { Preflight, Schema, Data, Indexes, Constraints, Analyze, Check, Swap };

/// One line of what is going on, or of what is done.
struct LoadEvent {
  LoadStep step = LoadStep::Preflight;
  std::string stage;              ///< "high", "medium", "rest"; empty: none
  std::uint64_t bytes_done = 0, bytes_total = 0;
  bool stage_ready = false;       ///< the stage's tables can be used from here on
  std::vector<std::string> tables;  ///< of that stage
};

struct LoadRequest {
  const repository::Cluster& cluster;
  repository::SessionId session;
  std::string source;                     ///< database in the backup; empty: the only one
  postgres::ConnectOptions connect;       ///< to the server; its database is the one to return to
  std::string target;                     ///< database to restore; empty: as the source
  LoadChoice choice{};
  bool no_owner = false;                  ///< objects belong to who restores, nobody is granted anything
  fs::path bin_directory{};
  unsigned jobs = 0;                      ///< 0: the cores
  const CancelToken* cancel = nullptr;
  std::function<void(const LoadEvent&)> event{};
};

struct LoadReport {
  std::string database;
  std::string kept_as;                    ///< the database that was there before, under its new name; empty: none
  std::size_t tables = 0;
  std::size_t uncounted = 0;              ///< tables of which the dump does not know the rows
  std::uint64_t rows = 0;                 ///< as the others have
  std::chrono::microseconds took{};
  /// When each stage's tables could be used, from the start.
  std::vector<std::pair<std::string, std::chrono::microseconds>> ready;
  /// Tables whose rows are not as many as were dumped: "public.orders: 10 rows, 12 were dumped".
  std::vector<std::string> differences;
  std::vector<std::string> warnings;      ///< pg_restore's words where it succeeded
};

struct CheckedLoad {
  std::vector<policy::Check> checks;
  std::optional<Error> refusal;  ///< what load() would fail with
};
/// Everything that load() looks at before it changes anything, one by one.
CheckedLoad check(const LoadRequest& request);

/// A database that is there and holds something is left as it is: the dump is loaded beside it, then they are swapped by rename, and the old one is
/// kept under another name. With tables chosen, they are loaded into the database that is there, where they must not be. The rows of each class of
/// tables are counted before anybody is told that they can be used, and before a swap.
/// @errors Precondition (nothing was changed: a role is missing, an older server, no space, ...), Postgres (pg_restore's own words; what was
///         loaded beside is removed again), Corruption (damage, or other rows than were dumped where the databases were to be swapped), NotFound,
///         Storage, Key, Cancelled
Result<LoadReport> load(const LoadRequest& request);

}  // namespace pgmint::logical

#include "logical/load.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <span>
#include <thread>

#include "base/log.h"
#include "base/units.h"
#include "logical/client_programs.h"
#include "logical/database_sql.h"
#include "logical/load_checks.h"
#include "logical/restorer.h"
#include "logical/stream_reader.h"

namespace pgmint::logical {
namespace {

using repository::FileEntry;
using repository::FileKind;

constexpr std::size_t kContentsMax = std::size_t{1} << 30;
constexpr std::size_t kNamed = 10;  ///< in a message
constexpr int kRenameTries = 100;
constexpr auto kRenameWait = std::chrono::milliseconds(100);
constexpr std::string_view kObjectInUse = "55006";

std::string table_name(const DumpEntry& entry) { return entry.schema.empty() ? entry.name : fmt::format("{}.{}", entry.schema, entry.name); }

std::string some_of(const std::vector<std::string>& names) {
  const auto shown = std::span(names).first(std::min(names.size(), kNamed));
  return fmt::format("{}{}", fmt::join(shown, ", "), names.size() > kNamed ? ", ..." : "");
}

/// What holds for the whole of one load.
class Run {
 public:
  explicit Run(const LoadRequest& request) : request_(request), clock_(request.cluster.repository().environment().clock), started_(clock_.now()) {}

  /// Nothing is changed. What was looked at stands in checks().
  Status examine() {
    dump_ = TRY(read_overview(request_.cluster, request_.session));
    TRY(choose_source());
    contents_ = TRY(read_contents(request_.cluster, dump_, source_, request_.cancel));
    const auto jobs = request_.jobs != 0 ? request_.jobs : std::max(1U, std::thread::hardware_concurrency());
    plan_ = TRY(plan_load(contents_, request_.choice, jobs));
    for (const auto& stage : plan_.stages)
      for (const auto& task : stage.data) bytes_total_ += task.length();
    target_ = request_.target.empty() ? source_ : request_.target;
    report_.database = target_;
    note("dump", fmt::format("{} of {}, PostgreSQL {}", source_, dump_.root.name, contents_.server_version));

    server_.emplace(TRY(postgres::Connection::open(request_.connect, request_.cancel)));
    note("server", fmt::format("PostgreSQL {} can be reached", server_->version().major));
    if (server_->version().major < static_cast<int>(dump_.root.pg_major))
      return Error(Errc::Precondition, fmt::format("the server is PostgreSQL {}, the dump of PostgreSQL {}", server_->version().major, dump_.root.pg_major),
                   Hint{"restore into a server of the same or a newer major version"});
    note("version", fmt::format("the dump is of PostgreSQL {}", dump_.root.pg_major));
    // An older pg_restore cannot read what a newer pg_dump wrote.
    const auto readable_from = std::max(server_->version().major, std::atoi(contents_.dump_version.c_str()));
    programs_ = TRY(find_client_programs(request_.bin_directory, readable_from, request_.cancel));
    note("programs", fmt::format("pg_restore {} in {}", programs_.major, programs_.directory.string()));
    TRY(choose_place());
    LoadNeeds needs{contents_, plan_, target_, {}, makes_, swaps_, bytes_total_, dump_.root.stored_bytes};
    if (!request_.no_owner)
      for (const auto& entry : contents_.entries)
        if (!entry.owner.empty()) needs.owners.insert(entry.owner);
    for (auto& check : TRY(check_server(*server_, needs))) checks_.push_back(std::move(check));
    return expect_none_failed();
  }

  Status preflight() {
    tell(LoadStep::Preflight);
    TRY(examine());
    return makes_ ? make_database(filled_) : ok();
  }

  std::vector<policy::Check> checks() { return std::move(checks_); }

  Status take() {
    auto options = request_.connect;
    options.database = filled_;
    const auto archive = dump_.files.find(database_directory(source_) + "/" + std::string(kArchiveFile));
    if (archive == dump_.files.end() || archive->second.kind != FileKind::Stream) return Error(Errc::Corruption, fmt::format("the dump of {} is not in the backup", source_));
    archive_ = std::get<repository::RecordLocation>(archive->second.content);
    Restorer restorer({request_.cluster, archive_, contents_, programs_, options, request_.no_owner, request_.cancel});
    if (request_.choice.data_only) TRY(count_before());
    restorer_ = &restorer;
    tell(LoadStep::Schema);
    TRY(restorer.run(plan_.schema));
    for (const auto& stage : plan_.stages) TRY(take_stage(stage));
    tell(LoadStep::Analyze);
    TRY(in_filled("ANALYZE"));
    TRY(describe_database());
    TRY(swap());
    const auto said = restorer.warnings();
    report_.warnings.insert(report_.warnings.end(), said.begin(), said.end());
    report_.took = clock_.now() - started_;
    return ok();
  }

  /// What was made beside the database that is there goes again. What was loaded into it stays, and is told.
  void give_up() {
    if (!made_) {
      log_warning("database {} holds what was restored until now", filled_);
      if (!report_.kept_as.empty()) log_warning("the database that was there before is {}", report_.kept_as);
      return;
    }
    auto connection = postgres::Connection::open(request_.connect);  // also after a Ctrl-C
    auto dropped = connection ? connection->execute(fmt::format("DROP DATABASE IF EXISTS {}", sql_name(filled_))) : Status(std::move(connection).failure());
    if (!dropped) log_warning("database {} holds what was restored until now: drop it. {}", filled_, dropped.failure().describe());
  }

  bool changed() const { return made_ || restorer_ != nullptr; }
  LoadReport report() { return std::move(report_); }

 private:
  Status choose_source() {
    source_ = request_.source;
    if (source_.empty() && dump_.databases.size() == 1) source_ = dump_.databases.front();
    if (source_.empty())
      return Error(Errc::Usage, fmt::format("backup {} has several databases: {}", dump_.root.name, fmt::join(dump_.databases, ", ")), Hint{"name one: --db DB"});
    return ok();
  }

  void note(std::string name, std::string detail) { checks_.push_back({std::move(name), policy::CheckState::Ok, std::move(detail)}); }

  Status expect_none_failed() const {
    const auto failed = std::ranges::find(checks_, policy::CheckState::Failed, &policy::Check::state);
    if (failed == checks_.end()) return ok();
    const auto hint = failed->name == "roles" || failed->name == "privileges"
                          ? "create what is missing (globals.sql in the backup has the statements of roles: pgmint export), or give everything to yourself: --no-owner"
                          : "install them on the server's host; restore-db --check-only shows everything";
    return Error(Errc::Precondition, failed->detail, Hint{hint});
  }

  Result<bool> exists(const std::string& database) {
    return !TRY(server_->query("SELECT 1 FROM pg_catalog.pg_database WHERE datname = $1", {database})).rows.empty();
  }

  /// Nothing but what a new database has.
  Result<bool> is_empty(const std::string& database) {
    auto options = request_.connect;
    options.database = database;
    auto connection = TRY(postgres::Connection::open(options, request_.cancel));
    return TRY(connection.value("SELECT count(*) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
                                "WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg_toast%' AND NOT EXISTS "
                                "(SELECT 1 FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype = 'e')")) == "0";
  }

  /// Where the dump goes first.
  Status choose_place() {
    filled_ = target_;
    const bool there = TRY(exists(target_));
    const bool part = !request_.choice.tables.empty() || !request_.choice.schemas.empty() || request_.choice.data_only;
    if (there && (part || TRY(is_empty(target_)))) {
      note("target", fmt::format("database {} is there: it is loaded into", target_));
      return ok();
    }
    makes_ = true;
    if (there) {
      swaps_ = true;
      filled_ = fmt::format("{}_restoring_{}", target_, format_compact(started_));
    }
    note("target", there ? fmt::format("database {} holds something: the dump is loaded beside it, and they are swapped by rename", target_) : fmt::format("database {} is made", target_));
    return ok();
  }

  Status make_database(const std::string& name) {
    // As the dump says it was made, under another name: encoding and collation decide what can be loaded.
    std::string how = " WITH TEMPLATE = template0";
    if (const auto with = contents_.create_database.rfind(" WITH TEMPLATE"); with != std::string::npos) {
      how = contents_.create_database.substr(with);
      while (!how.empty() && (how.back() == ';' || how.back() == '\n')) how.pop_back();
    }
    TRY(server_->execute(fmt::format("CREATE DATABASE {}{}", sql_name(name), how)).context(fmt::format("create database {}", name)));
    made_ = true;
    // Before anything is loaded: what belongs to its owner may need his rights on schema public.
    const auto entry = std::ranges::find(contents_.entries, "DATABASE", &DumpEntry::kind);
    if (request_.no_owner || entry == contents_.entries.end() || entry->owner.empty()) return ok();
    auto owned = server_->execute(fmt::format("ALTER DATABASE {} OWNER TO {}", sql_name(name), sql_name(entry->owner)));
    if (!owned) return std::move(owned).failure().with_hint(Hint{fmt::format("restore as a superuser or a member of {}, or give everything to yourself: --no-owner", entry->owner)});
    return ok();
  }

  /// Settings, grants and comment of a database that was made here; pg_restore leaves them to who makes it.
  Status describe_database() {
    if (!made_ || described_) return ok();
    described_ = true;
    auto reader = TRY(StreamReader::open(request_.cluster, archive_, 1, request_.cancel));
    Bytes head;
    TRY(reader.read({{0, contents_.data_start}}, [&](ByteView bytes) -> Result<bool> {
      append(head, bytes);
      return true;
    }));
    const auto contents = TRY(read_table_of_contents(head));
    for (const auto& statement : database_statements(contents.database_sql, contents.database, filled_)) {
      if (request_.no_owner && is_about_roles(statement)) continue;
      // The rows are there and whole: one that is left out is told, and ends nothing.
      if (auto done = server_->execute(statement); !done) report_.warnings.push_back(fmt::format("not restored: {}: {}", statement, done.failure().describe()));
    }
    return ok();
  }

  Status take_stage(const LoadStage& stage) {
    tell(LoadStep::Data, stage.name);
    TRY(restorer_->run(stage.data, [&] { tell(LoadStep::Data, stage.name); }));
    tell(LoadStep::Indexes, stage.name);
    TRY(restorer_->run(stage.indexes, [&] { tell(LoadStep::Indexes, stage.name); }));
    tell(LoadStep::Constraints, stage.name);
    TRY(restorer_->run(stage.last));
    TRY(check_rows(stage));
    // The service that waits for these tables needs them under their name, and plans that fit.
    const bool announces = plan_.stages.size() > 1 && &stage != &plan_.stages.back();
    if (announces) {
      for (const auto* table : stage.tables) TRY(in_filled(fmt::format("ANALYZE {}.{}", sql_name(table->schema), sql_name(table->name))));
      TRY(swap());
    }
    report_.ready.emplace_back(stage.name, clock_.now() - started_);
    LoadEvent event{.step = LoadStep::Constraints, .stage = stage.name, .stage_ready = true, .tables = {}};
    for (const auto* table : stage.tables) event.tables.push_back(table_name(*table));
    if (announces && report_.differences.empty()) give(std::move(event));
    return ok();
  }

  Result<postgres::Connection> open_filled() const {
    auto options = request_.connect;
    options.database = filled_;
    return postgres::Connection::open(options, request_.cancel);
  }
  Status in_filled(const std::string& sql) { return TRY(open_filled()).execute(sql); }

  /// The loaded database takes the name of the one that is there, which is kept under another.
  Status swap() {
    if (!swaps_) return ok();
    TRY(describe_database());
    tell(LoadStep::Swap);
    const auto kept = fmt::format("{}_before_{}", target_, format_compact(started_));
    TRY(server_->execute(fmt::format("ALTER DATABASE {} WITH ALLOW_CONNECTIONS false", sql_name(target_))));
    const auto rename = [&](const std::string& from, const std::string& to) -> Status {
      // Autovacuum may come back at any moment.
      for (int tries = 0;; ++tries) {
        TRY(server_->query("SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity WHERE datname = $1 AND pid <> pg_catalog.pg_backend_pid()", {from}));
        auto renamed = server_->execute(fmt::format("ALTER DATABASE {} RENAME TO {}", sql_name(from), sql_name(to)));
        if (renamed || tries == kRenameTries || postgres::sqlstate_of(renamed.failure()) != kObjectInUse) return renamed;
        clock_.sleep(kRenameWait);
      }
    };
    auto renamed = rename(target_, kept);
    const bool old_moved = renamed.has_value();
    if (renamed) renamed = rename(filled_, target_);
    if (!renamed) {
      if (old_moved) TRY(rename(kept, target_));
      TRY(server_->execute(fmt::format("ALTER DATABASE {} WITH ALLOW_CONNECTIONS true", sql_name(target_))));
      return renamed;
    }
    TRY(server_->execute(fmt::format("ALTER DATABASE {} WITH ALLOW_CONNECTIONS true", sql_name(kept))));
    filled_ = target_;
    restorer_->set_database(target_);
    swaps_ = made_ = false;
    report_.kept_as = kept;
    return ok();
  }

  /// Of the table alone: a parent's own rows, not its children's.
  static Result<std::uint64_t> count_rows(postgres::Connection& connection, const DumpEntry& table) {
    const auto rows = TRY(connection.value(fmt::format("SELECT count(*) FROM ONLY {}.{}", sql_name(table.schema), sql_name(table.name))));
    return std::strtoull(rows.c_str(), nullptr, 10);
  }

  /// Tables that are there may have rows.
  Status count_before() {
    auto connection = TRY(open_filled());
    for (const auto& stage : plan_.stages)
      for (const auto* table : stage.tables) before_[table] = TRY(count_rows(connection, *table));
    return ok();
  }

  /// As many rows as were dumped? A database that holds others does not take the place of one that is there.
  Status check_rows(const LoadStage& stage) {
    tell(LoadStep::Check, stage.name);
    auto connection = TRY(open_filled());
    for (const auto* table : stage.tables) {
      ++report_.tables;
      if (!table->rows) {
        ++report_.uncounted;
        continue;
      }
      const auto rows = TRY(count_rows(connection, *table)), before = before_[table];
      report_.rows += rows - std::min(rows, before);
      if (rows == before + *table->rows) continue;
      report_.differences.push_back(fmt::format("{}: {} rows, {} were dumped{}", table_name(*table), rows, *table->rows,
                                                before != 0 ? fmt::format(", and it had {}", before) : ""));
    }
    if (!swaps_ || report_.differences.empty()) return ok();
    return Error(Errc::Corruption, fmt::format("other rows were loaded than were dumped: {}", some_of(report_.differences)),
                 Hint{fmt::format("database {} is as it was; to look at what was loaded, restore into another one: --from-db {} --db NAME", target_, source_)});
  }

  void tell(LoadStep step, const std::string& stage = "") { give({.step = step, .stage = stage, .tables = {}}); }
  void give(LoadEvent event) {
    if (!request_.event) return;
    event.bytes_done = restorer_ != nullptr ? restorer_->bytes_done() : 0;
    event.bytes_total = bytes_total_;
    request_.event(event);
  }

  const LoadRequest& request_;
  Clock& clock_;
  const TimePoint started_;
  LoadReport report_;
  DumpOverview dump_;
  DumpContents contents_;
  repository::RecordLocation archive_;  ///< the stream's index
  LoadPlan plan_;
  ClientPrograms programs_;
  std::optional<postgres::Connection> server_;
  Restorer* restorer_ = nullptr;
  std::string source_, target_;
  std::string filled_;   ///< the database that is being filled
  bool makes_ = false;   ///< it is to be made
  bool made_ = false;    ///< it was made here, and is not yet what it is to be
  bool described_ = false;
  bool swaps_ = false;   ///< it takes the name of another in the end
  std::uint64_t bytes_total_ = 0;
  std::vector<policy::Check> checks_;
  std::map<const DumpEntry*, std::uint64_t> before_;  ///< rows that were there
};

}  // namespace

Result<DumpOverview> read_overview(const repository::Cluster& cluster, const repository::SessionId& session) {
  DumpOverview dump;
  dump.root = TRY(repository::read_root(cluster.store(), cluster.context(), session, cluster.keys()));
  if (dump.root.type != repository::BackupType::Logical)
    return Error(Errc::Precondition, fmt::format("{} is no logical backup but a {} one", dump.root.name, repository::backup_type_name(dump.root.type)),
                 Hint{fmt::format("pgmint {}{} --to DIR", dump.root.type == repository::BackupType::Config ? "export " : "restore --backup ", dump.root.name)});
  for (const auto& [name, value] : dump.root.settings)
    if (name == kDumpedDatabaseSetting) dump.databases.push_back(value);
  repository::RecordOpener opener(cluster.context(), cluster.keys());
  TRY(repository::walk_manifest(cluster.store(), cluster.context(), opener, dump.root, [&](const FileEntry& entry) -> Status {
    dump.files.emplace(entry.path, entry);
    return ok();
  }));
  return dump;
}

Result<DumpContents> read_contents(const repository::Cluster& cluster, const DumpOverview& dump, const std::string& database, const CancelToken* cancel) {
  if (std::ranges::find(dump.databases, database) == dump.databases.end())
    return Error(Errc::NotFound, fmt::format("backup {} has no database {}", dump.root.name, database), Hint{fmt::format("it has: {}", fmt::join(dump.databases, ", "))});
  const auto found = dump.files.find(database_directory(database) + "/" + std::string(kContentsFile));
  if (found == dump.files.end() || found->second.kind != FileKind::Stream) return Error(Errc::Corruption, fmt::format("the contents list of {} is not in the backup", database));
  auto reader = TRY(StreamReader::open(cluster, std::get<repository::RecordLocation>(found->second.content), 1, cancel));
  return parse_contents(as_text(TRY(reader.read_all(kContentsMax))));
}

CheckedLoad check(const LoadRequest& request) {
  Run run(request);
  auto examined = run.examine();
  CheckedLoad checked{run.checks(), {}};
  if (examined) return checked;
  if (!policy::any_failed(checked.checks)) checked.checks.push_back({"not possible", policy::CheckState::Failed, examined.failure().describe()});
  checked.refusal = std::move(examined).failure();
  return checked;
}

Result<LoadReport> load(const LoadRequest& request) {
  Run run(request);
  auto done = run.preflight();
  if (done) done = run.take();
  if (done) return run.report();
  if (run.changed()) run.give_up();
  return std::move(done).failure();
}

}  // namespace pgmint::logical

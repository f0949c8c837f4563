#include "logical/dump.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>

#include "base/child_process.h"
#include "base/log.h"
#include "logical/client_programs.h"
#include "logical/stream_backup.h"
#include "postgres/one_moment.h"

namespace pgmint::logical {
namespace {

constexpr std::size_t kFirstBytes = 64 << 10;

/// A program that has been started, and what of its output has been read.
struct Started {
  std::unique_ptr<ChildProcess> child;
  Bytes first;
};

/// The server, its programs, and what they write.
class Run {
 public:
  explicit Run(const DumpRequest& request) : request_(request) {}

  /// Nothing is changed yet.
  Status preflight() {
    auto connection = TRY(postgres::Connection::open(request_.connect, request_.cancel));
    facts_.pg_major = static_cast<std::uint32_t>(connection.version().major);
    facts_.note = request_.note;
    programs_ = TRY(find_client_programs(request_.bin_directory, connection.version().major, request_.cancel));
    auto add = [&](std::string_view name, std::string value) { facts_.settings.emplace_back(std::string(name), std::move(value)); };
    add("server_version", TRY(connection.value("SELECT version()")));
    add("server_version_num", std::to_string(connection.server_version_num()));
    add(repository::kSystemIdentifierSetting, TRY(connection.value("SELECT system_identifier::text FROM pg_catalog.pg_control_system()")));
    add("dump_program", fmt::format("pg_dump {}", programs_.major));
    for (const auto& schema : request_.schemas) add("dumped_schema", schema);
    for (const auto& table : request_.tables) add("dumped_table", table);
    return choose_databases(connection);
  }

  Status begin() {
    session_ = TRY(StreamBackup::begin({request_.cluster, repository::BackupType::Logical, databases_, request_.codec, request_.workers, request_.cancel}));
    if (request_.progress) session_->on_progress([this] { request_.progress({current_, session_->bytes(), session_->stored_bytes()}); });
    return ok();
  }

  /// Everything between BEGIN and SNAP. Any failure voids the session.
  Status take() {
    TRY(dump_globals());
    if (request_.consistent) TRY(start_at_one_moment());
    for (std::size_t i = 0; i < databases_.size(); ++i) {
      TRY(dump_database(databases_[i]).context(fmt::format("database {}", databases_[i])));
      if (moment_) TRY(moment_->release(i).context(fmt::format("database {}", databases_[i])));
    }
    current_.clear();
    return session_->commit(std::move(facts_), session_->begun());
  }

  void give_up() { session_->give_up(); }

  DumpReport report() {
    report_.name = session_->name();
    report_.parent = session_->parent();
    report_.session = session_->id();
    report_.started = session_->begun();
    report_.finished = session_->finished();
    report_.total_bytes = session_->total_bytes();
    report_.stored_bytes = session_->stored_bytes();
    report_.warnings = session_->warnings();
    return std::move(report_);
  }

 private:
  Status choose_databases(postgres::Connection& connection) {
    const auto rows = TRY(connection.query("SELECT datname FROM pg_catalog.pg_database WHERE datallowconn AND NOT datistemplate ORDER BY datname"));
    std::vector<std::string> there;
    for (const auto& row : rows.rows) there.push_back(row.at(0).value_or(""));
    if (request_.databases.empty()) {
      databases_ = std::move(there);
      return ok();
    }
    for (const auto& name : request_.databases) {
      if (std::ranges::find(there, name) == there.end())
        return Error(Errc::Precondition, fmt::format("the server has no database {}", name), Hint{fmt::format("it has: {}", fmt::join(there, ", "))});
      if (std::ranges::find(databases_, name) == databases_.end()) databases_.push_back(name);
    }
    return ok();
  }

  Result<Started> start(const std::string& program, std::vector<std::string> options, const std::string& database) {
    auto connect = request_.connect;
    if (!database.empty()) connect.database = database;
    auto client = TRY(postgres::client_connection(connect));
    auto arguments = programs_.streaming(program);
    arguments.insert(arguments.end(), {"--no-password", "--dbname=" + client.conninfo});
    arguments.insert(arguments.end(), options.begin(), options.end());
    return Started{TRY(ChildProcess::start(
        {.arguments = std::move(arguments), .environment = std::move(client.environment), .pipe_output = true, .passed = std::move(client.passed), .cancel = request_.cancel})), {}};
  }

  /// Stores what a program writes.
  Result<StreamCounts> store(Started started, const std::string& program, const std::string& path, const StreamBackup::Look& look = nullptr) {
    auto& child = *started.child;
    ByteView first(started.first);
    const auto counts = TRY(session_->store(
        path,
        [&](MutableByteView out) -> Result<std::size_t> {
          if (!first.empty()) {
            const auto piece = std::min(first.size(), out.size());
            std::ranges::copy(first.first(piece), out.begin());
            first = first.subspan(piece);
            return piece;
          }
          const auto got = TRY(child.read(out));
          if (got == 0) TRY(succeeded(child, program));  // before anything counts as whole
          return got;
        },
        look));
    if (const auto said = one_line(child.errors()); !said.empty()) session_->warn(said);
    return counts;
  }

  static Status succeeded(ChildProcess& child, const std::string& program) {
    const auto status = TRY(child.wait());
    if (status == 0) return ok();
    return Error(Errc::Postgres, fmt::format("{} failed with status {}: {}", program, status, one_line(child.errors())),
                 Hint{"it needs to read everything that it dumps; see also the server's log"});
  }

  Result<StreamCounts> store_globals(std::vector<std::string> options) {
    return store(TRY(start("pg_dumpall", std::move(options), "")), "pg_dumpall", std::string(kGlobalsFile));
  }

  Status dump_globals() {
    auto counts = store_globals({"--globals-only"});
    if (!counts && counts.failure().code() == Errc::Postgres) {
      // Only superusers may read password hashes.
      const auto first = counts.failure().describe();
      counts = store_globals({"--globals-only", "--no-role-passwords"});
      if (counts) session_->warn(fmt::format("the passwords of roles are not in this backup: {}", first));
    }
    if (!counts) return std::move(counts).failure();
    return ok();
  }

  /// @param snapshot  that a session has exported; empty: its own
  Result<Started> start_dump(const std::string& database, const std::string& snapshot) {
    std::vector<std::string> options{"--format=custom", "--compress=0"};
    if (!snapshot.empty()) options.push_back("--snapshot=" + snapshot);
    for (const auto& schema : request_.schemas) options.push_back("--schema=" + schema);
    for (const auto& table : request_.tables) options.push_back("--table=" + table);
    return start("pg_dump", std::move(options), database);
  }

  /// Starts pg_dump on every database, each by a snapshot of the same moment, and waits until each has locked what it dumps: it writes
  /// nothing before. From then on nothing of what the snapshots show can be truncated, and they wait, in their pipes, for their turn.
  Status start_at_one_moment() {
    auto& moment = moment_.emplace(TRY(postgres::OneMoment::open({.connect = request_.connect, .databases = databases_, .cancel = request_.cancel})));
    for (;;) {
      started_.clear();
      TRY(moment.take());
      const auto begun = begin_dumps(moment.ids());
      if (!begun && begun.error().code() == Errc::Cancelled) return begun;
      const auto lost = TRY(moment.rewritten());
      if (lost.empty()) {
        TRY(begun);
        break;
      }
      log_debug("taken again: truncated, rewritten or dropped before pg_dump had locked it: {}", fmt::join(lost, ", "));
      if (moment.out_of_patience())
        return Error(Errc::Precondition, fmt::format("tables were truncated, rewritten or dropped before pg_dump had locked them, in every attempt: {}", fmt::join(lost, ", ")),
                     Hint{"a quieter moment; or leave --consistent away: one database after the other"});
    }
    report_.moment = moment.time();
    report_.attempts = moment.attempts();
    facts_.settings.emplace_back(std::string(kMomentSetting), moment.time());
    return ok();
  }

  Status begin_dumps(const std::vector<std::string>& snapshots) {
    for (std::size_t i = 0; i < databases_.size(); ++i) started_.emplace(databases_[i], TRY(start_dump(databases_[i], snapshots[i])));
    for (auto& [database, started] : started_) {
      started.first.resize(kFirstBytes);
      const auto got = TRY(started.child->read(started.first));
      started.first.resize(got);
      if (got == 0) TRY(succeeded(*started.child, "pg_dump").context(fmt::format("database {}", database)));
    }
    return ok();
  }

  Result<Started> take_dump(const std::string& database) {
    if (!request_.consistent) return start_dump(database, "");
    return std::move(started_.extract(database).mapped());
  }

  Status dump_database(const std::string& database) {
    current_ = database;
    ArchiveScanner scanner;
    const auto directory = database_directory(database);
    const auto counts = TRY(store(TRY(take_dump(database)), "pg_dump", fmt::format("{}/{}", directory, kArchiveFile), [&](ByteView piece) { return scanner.take(piece); }));
    const auto contents = TRY(std::move(scanner).finish());
    TRY(session_->store(fmt::format("{}/{}", directory, kContentsFile), encode_contents(contents)));
    report_.databases.push_back({database, counts.length, counts.shared, counts.resembling, contents.rows(), contents.tables()});
    log_debug("database {}: {} bytes, of which {} stood in the dump before and {} resemble it", database, counts.length, counts.shared, counts.resembling);
    return ok();
  }

  const DumpRequest& request_;
  DumpReport report_;
  StreamBackupFacts facts_;
  ClientPrograms programs_;
  std::vector<std::string> databases_;
  std::optional<postgres::OneMoment> moment_;
  std::map<std::string, Started> started_;  ///< with `consistent`: those whose turn has not come
  std::string current_;
  std::unique_ptr<StreamBackup> session_;
};

}  // namespace

Result<DumpReport> dump(const DumpRequest& request) {
  Run run(request);
  TRY(run.preflight());
  TRY(run.begin());
  if (auto taken = run.take(); !taken) {
    run.give_up();
    return std::move(taken).failure();
  }
  return run.report();
}

}  // namespace pgmint::logical

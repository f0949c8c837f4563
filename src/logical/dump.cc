#include "logical/dump.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/child_process.h"
#include "base/log.h"
#include "logical/client_programs.h"
#include "logical/stream_backup.h"

namespace pgmint::logical {
namespace {

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
    for (const auto& database : databases_) TRY(dump_database(database).context(fmt::format("database {}", database)));
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

  /// Runs a program on a database and stores what it writes.
  Result<StreamCounts> run(const std::string& program, std::vector<std::string> options, const std::string& database, const std::string& path,
                           const StreamBackup::Look& look = nullptr) {
    auto connect = request_.connect;
    if (!database.empty()) connect.database = database;
    auto client = TRY(postgres::client_connection(connect));
    std::vector<std::string> arguments{programs_.program(program), "--no-password", "--dbname=" + client.conninfo};
    arguments.insert(arguments.end(), options.begin(), options.end());
    auto child = TRY(ChildProcess::start(
        {.arguments = std::move(arguments), .environment = std::move(client.environment), .pipe_output = true, .cancel = request_.cancel}));
    const auto counts = TRY(session_->store(
        path,
        [&](MutableByteView out) -> Result<std::size_t> {
          const auto got = TRY(child->read(out));
          if (got == 0) TRY(succeeded(*child, program));  // before anything counts as whole
          return got;
        },
        look));
    if (const auto said = one_line(child->errors()); !said.empty()) session_->warn(said);
    return counts;
  }

  static Status succeeded(ChildProcess& child, const std::string& program) {
    const auto status = TRY(child.wait());
    if (status == 0) return ok();
    return Error(Errc::Postgres, fmt::format("{} failed with status {}: {}", program, status, one_line(child.errors())),
                 Hint{"it needs to read everything that it dumps; see also the server's log"});
  }

  Status dump_globals() {
    const std::string path(kGlobalsFile);
    auto counts = run("pg_dumpall", {"--globals-only"}, "", path);
    if (!counts && counts.failure().code() == Errc::Postgres) {
      // Only superusers may read password hashes.
      const auto first = counts.failure().describe();
      counts = run("pg_dumpall", {"--globals-only", "--no-role-passwords"}, "", path);
      if (counts) session_->warn(fmt::format("the passwords of roles are not in this backup: {}", first));
    }
    if (!counts) return std::move(counts).failure();
    return ok();
  }

  Status dump_database(const std::string& database) {
    current_ = database;
    std::vector<std::string> options{"--format=custom", "--compress=0"};
    for (const auto& schema : request_.schemas) options.push_back("--schema=" + schema);
    for (const auto& table : request_.tables) options.push_back("--table=" + table);
    ArchiveScanner scanner;
    const auto directory = database_directory(database);
    const auto counts = TRY(run("pg_dump", std::move(options), database, fmt::format("{}/{}", directory, kArchiveFile), [&](ByteView piece) { return scanner.take(piece); }));
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

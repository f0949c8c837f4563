#include "logical/dump.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <set>
#include <thread>

#include "base/child_process.h"
#include "base/log.h"
#include "logical/client_programs.h"
#include "logical/stream_writer.h"
#include "repository/begin.h"
#include "repository/session.h"

namespace pgmint::logical {
namespace {

using namespace std::chrono_literals;
using repository::FileEntry;

constexpr std::size_t kReadSize = 1 << 20;
constexpr std::size_t kPackTarget = 16 << 20;
constexpr std::size_t kErrorShown = 2000;
constexpr auto kAliveEvery = 1s;
constexpr mode_t kMode = 0600;

std::string host_name() {
  char name[256] = {};
  return ::gethostname(name, sizeof name - 1) == 0 ? name : "";
}

/// A program's complaints as one line.
std::string one_line(std::string text) {
  if (text.size() > kErrorShown) text.erase(0, text.size() - kErrorShown);
  while (!text.empty() && text.back() == '\n') text.pop_back();
  std::string line;
  for (const char c : text) line += c == '\n' ? std::string("; ") : std::string(1, c);
  return line;
}

class Run {
 public:
  explicit Run(const DumpRequest& request)
      : request_(request), cluster_(request.cluster), environment_(cluster_.repository().environment()), clock_(environment_.clock) {}

  /// Nothing is changed yet.
  Status preflight() {
    auto connection = TRY(postgres::Connection::open(request_.connect, request_.cancel));
    server_version_num_ = connection.server_version_num();
    server_version_ = TRY(connection.value("SELECT version()"));
    system_identifier_ = TRY(connection.value("SELECT system_identifier::text FROM pg_catalog.pg_control_system()"));
    major_ = connection.version().major;
    programs_ = TRY(find_client_programs(request_.bin_directory, major_, request_.cancel));
    return choose_databases(connection);
  }

  Status begin() {
    TRY(choose_parent());
    const auto parent = parent_ ? std::optional(parent_->session) : std::nullopt;
    auto begun = TRY(repository::begin_session(cluster_, parent, repository::BackupType::Logical, request_.cancel));
    session_ = std::move(begun.session);
    report_.started = begun.started;
    report_.name = std::move(begun.name);
    return ok();
  }

  /// Everything between BEGIN and SNAP. Any failure voids the session.
  Status take() {
    repository::PackBuffers buffers;
    const repository::PackSettings settings{cluster_.context(), cluster_.keys(), codec::plain_codec(request_.codec), environment_.random,
                                            [this] { return session_->next_pack(); }, buffers, kPackTarget};
    const repository::PackSink upload = [&](repository::FinishedPack pack) -> Status {
      TRY(session_->upload(pack));
      buffers.give(std::move(pack.data));
      return ok();
    };
    Guarded<repository::PackStream> maps(settings, repository::PackKind::Map, upload);
    Guarded<repository::DistinctRecords> records;
    const StreamShared shared{cluster_.store(), settings, upload, cluster_.keys(), workers(), request_.cancel, maps, records};

    TRY(read_predecessors());
    TRY(dump_globals(shared));
    for (const auto& database : databases_) TRY(dump_database(shared, database));
    auto root = TRY(write_manifest(maps));
    root.pack_use = std::move(records).with([](auto& all) { return std::move(all).settle(); });
    root.pack_use->add(node_use_);
    TRY(maps.with([](repository::PackStream& stream) { return stream.close(); }));
    return commit(std::move(root));
  }

  void give_up() {
    if (auto aborted = session_->abort(); !aborted)
      log_warning("the session of this backup stays open until its lease has passed ({}); `pgmint collect` removes it then", aborted.failure().describe());
  }

  DumpReport report() { return std::move(report_); }

 private:
  unsigned workers() const { return request_.workers != 0 ? request_.workers : std::max(1U, std::thread::hardware_concurrency()); }

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

  /// The newest dump that has one of these databases.
  Status choose_parent() {
    TRY(cluster_.log().refresh());
    std::vector<const repository::LiveSnapshot*> dumps;
    for (const auto& [session, live] : cluster_.state().snapshots())
      if (live.snap.type == repository::BackupType::Logical) dumps.push_back(&live);
    std::ranges::sort(dumps, std::greater(), [](const auto* live) { return live->seq; });
    for (const auto* live : dumps) {
      auto root = repository::read_root(cluster_.store(), cluster_.context(), live->snap.session, cluster_.keys());
      if (!root) {
        if (!repository::is_damage(root.failure())) return std::move(root).failure();
        warn(fmt::format("{} cannot be read, and nothing of it is used again: {}", live->snap.name, root.failure().describe()));
        continue;
      }
      const bool has_one = std::ranges::any_of(root->settings, [&](const auto& setting) {
        return setting.first == kDumpedDatabaseSetting && std::ranges::find(databases_, setting.second) != databases_.end();
      });
      if (!has_one) continue;
      parent_ = std::move(*root);
      report_.parent = parent_->name;
      return ok();
    }
    return ok();
  }

  /// Streams of the parent, and its packs that are less than half in use: what is alive of those is stored anew.
  Status read_predecessors() {
    if (!parent_) return ok();
    repository::RecordOpener opener(cluster_.context(), cluster_.keys());
    auto walked = repository::walk_manifest(cluster_.store(), cluster_.context(), opener, *parent_, [&](const FileEntry& entry) -> Status {
      if (entry.kind == repository::FileKind::Stream) streams_.emplace(entry.path, std::get<repository::RecordLocation>(entry.content));
      return ok();
    });
    if (!walked && !repository::is_damage(walked.failure())) return walked;
    if (!walked) {
      warn(fmt::format("{} cannot be read, and nothing of it is used again: {}", parent_->name, walked.failure().describe()));
      streams_.clear();
    }
    const auto open = cluster_.state().open_sessions().find(session_->id());
    if (open == cluster_.state().open_sessions().end() || !parent_->pack_use) return ok();
    for (const auto& [id, pack] : open->second.pins)
      if (parent_->pack_use->of(id) * 2 < pack.size) leaving_.insert(id);
    return ok();
  }

  Result<std::optional<Predecessor>> predecessor_of(const std::string& path) {
    const auto found = streams_.find(path);
    if (found == streams_.end()) return std::optional<Predecessor>();
    repository::RecordOpener opener(cluster_.context(), cluster_.keys());
    auto loaded = Predecessor::load(cluster_.store(), cluster_.context(), opener, found->second, leaving_);
    if (loaded) return std::optional<Predecessor>(std::move(*loaded));
    if (!repository::is_damage(loaded.failure())) return std::move(loaded).failure();
    warn(fmt::format("{} of {} cannot be read, and nothing of it is used again: {}", path, parent_->name, loaded.failure().describe()));
    return std::optional<Predecessor>();
  }

  /// Runs a program and takes what it writes into a stream. `look` sees the bytes first.
  Result<StreamCounts> run(const StreamShared& shared, std::vector<std::string> arguments, const std::string& path,
                           const std::function<Status(ByteView)>& look = nullptr) {
    auto client = TRY(postgres::client_connection(request_.connect));
    const auto program = fs::path(arguments.front()).filename().string();
    auto child = TRY(ChildProcess::start(
        {.arguments = std::move(arguments), .environment = std::move(client.environment), .pipe_output = true, .cancel = request_.cancel}));
    const auto predecessor = TRY(predecessor_of(path));
    StreamWriter writer(shared, predecessor ? &*predecessor : nullptr);
    Bytes buffer(kReadSize);
    for (;;) {
      const auto got = TRY(child->read(buffer));
      if (got == 0) break;
      const auto piece = ByteView(buffer).first(got);
      if (look) {
        if (auto seen = look(piece); !seen) {
          // Half an archive is no wonder when the program has failed: its own words say more.
          if (const auto failed = complaint(*child, program)) return *failed;
          return std::move(seen).failure();
        }
      }
      TRY(writer.write(piece));
      bytes_ += got;
      TRY(tick());
    }
    if (const auto failed = complaint(*child, program)) return *failed;
    if (const auto said = one_line(child->errors()); !said.empty()) warn(said);
    const auto index = TRY(writer.finish());
    add_entry(path, writer.counts().length, index);
    return writer.counts();
  }

  /// Waits for the end. nullopt: it succeeded.
  std::optional<Error> complaint(ChildProcess& child, const std::string& program) {
    const auto status = child.wait();
    if (!status) return status.failure();
    if (*status == 0) return std::nullopt;
    return Error(Errc::Postgres, fmt::format("{} failed with status {}: {}", program, *status, one_line(child.errors())),
                 Hint{"pgmint roles prints what a role needs to dump; see also the server's log"});
  }

  void add_entry(const std::string& path, std::uint64_t length, const repository::RecordLocation& index) {
    FileEntry entry;
    entry.area = repository::FileArea::Made;
    entry.path = path;
    entry.kind = length == 0 ? repository::FileKind::Empty : repository::FileKind::Stream;
    entry.mode = kMode;
    entry.size = length;
    entry.mtime_us = clock_.now().time_since_epoch().count();
    if (length != 0) entry.content = index;
    entries_.push_back(std::move(entry));
  }

  Result<std::string> conninfo(const std::string& database) const {
    auto options = request_.connect;
    if (!database.empty()) options.database = database;
    return TRY(postgres::client_connection(options)).conninfo;
  }

  Status dump_globals(const StreamShared& shared) {
    std::vector<std::string> arguments{programs_.program("pg_dumpall"), "--globals-only", "--no-password", "--dbname=" + TRY(conninfo(""))};
    auto counts = run(shared, arguments, std::string(kGlobalsFile));
    if (!counts && counts.failure().code() == Errc::Postgres) {
      // Only superusers may read password hashes.
      arguments.emplace_back("--no-role-passwords");
      const auto first = counts.failure().describe();
      counts = run(shared, arguments, std::string(kGlobalsFile));
      if (counts) warn(fmt::format("the passwords of roles are not in this backup: {}", first));
    }
    if (!counts) return std::move(counts).failure();
    return ok();
  }

  Status dump_database(const StreamShared& shared, const std::string& database) {
    current_ = database;
    std::vector<std::string> arguments{programs_.program("pg_dump"), "--format=custom", "--compress=0", "--no-password", "--dbname=" + TRY(conninfo(database))};
    for (const auto& schema : request_.schemas) arguments.push_back("--schema=" + schema);
    for (const auto& table : request_.tables) arguments.push_back("--table=" + table);
    ArchiveScanner scanner;
    const auto directory = database_directory(database);
    const auto counts = TRY(run(shared, std::move(arguments), directory + "/" + std::string(kArchiveFile), [&](ByteView piece) { return scanner.take(piece); })
                                .context(fmt::format("database {}", database)));
    const auto contents = TRY(std::move(scanner).finish().context(fmt::format("database {}", database)));
    const auto text = encode_contents(contents);
    const auto path = directory + "/" + std::string(kContentsFile);
    const auto predecessor = TRY(predecessor_of(path));
    StreamWriter writer(shared, predecessor ? &*predecessor : nullptr);
    TRY(writer.write(as_bytes(text)));
    add_entry(path, text.size(), TRY(writer.finish()));
    report_.databases.push_back({database, counts.length, counts.shared, counts.resembling, contents.rows(), contents.tables()});
    log_debug("database {}: {} bytes, of which {} stood in the dump before and {} resemble it", database, counts.length, counts.shared, counts.resembling);
    return ok();
  }

  Result<repository::ManifestRoot> write_manifest(Guarded<repository::PackStream>& maps) {
    current_.clear();
    std::ranges::sort(entries_, repository::entry_before);
    repository::ManifestTreeWriter tree([&](ByteView node) -> Result<repository::RecordLocation> {
      const auto location = TRY(maps.with([&](repository::PackStream& stream) { return stream.append(repository::RecordType::ManifestNode, node); }));
      node_use_.add(location);
      return location;
    });
    repository::ManifestRoot root;
    for (auto& entry : entries_) {
      ++root.file_count;
      root.total_bytes += entry.size;
      TRY(tree.add(std::move(entry)));
    }
    const auto written = TRY(std::move(tree).finish());
    root.tree_depth = written.depth;
    root.tree = written.root;
    return root;
  }

  Status commit(repository::ManifestRoot root) {
    TRY(tick());
    root.session = session_->id();
    root.name = report_.name;
    root.type = repository::BackupType::Logical;
    if (parent_) root.parent = parent_->session;
    root.started = report_.started;
    root.finished = report_.finished = clock_.now();
    root.pg_major = static_cast<std::uint32_t>(major_);
    root.extent_size = static_cast<std::uint32_t>(repository::kChunkMax);
    root.stored_bytes = session_->stored_bytes();
    root.note = request_.note;
    root.warnings = report_.warnings;
    root.pgmint_version = PGMINT_VERSION;
    root.host = host_name();
    auto add = [&](std::string_view name, std::string value) { root.settings.emplace_back(std::string(name), std::move(value)); };
    add("server_version", server_version_);
    add("server_version_num", std::to_string(server_version_num_));
    add("system_identifier", system_identifier_);
    add("dump_program", fmt::format("pg_dump {}", programs_.major));
    if (parent_) add("parent", parent_->name);
    for (const auto& database : databases_) add(kDumpedDatabaseSetting, database);
    for (const auto& schema : request_.schemas) add("dumped_schema", schema);
    for (const auto& table : request_.tables) add("dumped_table", table);

    std::vector<repository::PackId> removed;
    const auto open = cluster_.state().open_sessions().find(session_->id());
    if (open != cluster_.state().open_sessions().end())
      for (const auto& [id, pack] : open->second.pins)
        if (root.pack_use->of(id) == 0) removed.push_back(id);
    report_.total_bytes = root.total_bytes;
    report_.session = session_->id();
    TRY(session_->commit(root, std::move(removed)));
    report_.stored_bytes = session_->stored_bytes();
    return ok();
  }

  Status tick() {
    if (request_.cancel != nullptr) TRY(request_.cancel->check());
    const auto now = clock_.now();
    if (request_.progress) request_.progress({current_, bytes_, session_->stored_bytes()});
    if (now - looked_ < kAliveEvery) return ok();
    looked_ = now;
    return session_->keep_alive();
  }

  void warn(std::string text) {
    log_warning("{}", text);
    report_.warnings.push_back(std::move(text));
  }

  const DumpRequest& request_;
  repository::Cluster& cluster_;
  repository::Environment& environment_;
  Clock& clock_;
  DumpReport report_;
  ClientPrograms programs_;
  int server_version_num_ = 0, major_ = 0;
  std::string server_version_, system_identifier_, current_;
  std::vector<std::string> databases_;
  std::optional<repository::ManifestRoot> parent_;
  std::map<std::string, repository::RecordLocation> streams_;  ///< of the parent, by path
  std::set<repository::PackId> leaving_;
  std::unique_ptr<repository::WriteSession> session_;
  std::vector<FileEntry> entries_;
  repository::PackUse node_use_;
  std::uint64_t bytes_ = 0;
  TimePoint looked_{};
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

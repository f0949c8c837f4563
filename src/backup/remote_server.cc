#include "backup/remote_server.h"

#include <fmt/format.h>

#include <mutex>

#include "base/log.h"

namespace pgmint::backup {
namespace {

using postgres::Connection;

constexpr std::chrono::seconds kCountLimit{600};  ///< for the rows of one table

class RealRemoteServer final : public RemoteServer {
 public:
  RealRemoteServer(RemoteServerOptions options, const CancelToken* cancel) : options_(std::move(options)), cancel_(cancel) {}

  Result<postgres::ServerFacts> inspect() override {
    std::lock_guard lock(mutex_);
    return ask([](Connection& connection) { return postgres::server_facts(connection, postgres::Asked::FromAfar); });
  }
  Result<postgres::ControlFile> control() override {
    std::lock_guard lock(mutex_);
    return ask([](Connection& connection) { return postgres::control_by_sql(connection); });
  }
  Result<ArchiverStatus> archiver() override {
    std::lock_guard lock(mutex_);
    return ask([](Connection& connection) { return read_archiver(connection); });
  }
  /// What is not archived the stream brings.
  Status nudge_archiver() override { return ok(); }

  void bring_wal(bool with_wal) override { with_wal_ = with_wal; }

  Result<std::optional<std::string>> why_all_comes(postgres::TimelineId timeline, postgres::Lsn from) override {
    std::lock_guard lock(mutex_);
    return ask([&](Connection& connection) { return postgres::why_no_summaries(connection, timeline, from); });
  }
  Result<postgres::SummarizerState> summarizer() override {
    std::lock_guard lock(mutex_);
    return ask([](Connection& connection) { return postgres::summarizer_state(connection); });
  }
  void send_changes_since(std::function<Status(const Connection::Put&)> manifest) override { manifest_ = std::move(manifest); }
  Result<postgres::ChangeSet> changes(const postgres::TimelineHistory& history, postgres::Lsn from, postgres::Lsn to) override {
    std::lock_guard lock(mutex_);
    return ask([&](Connection& connection) { return postgres::server_changes(connection, history, from, to); });
  }

  Result<ServerStart> start(postgres::SystemIdentifier expected) override {
    const auto facts = TRY(inspect());
    if (with_wal_) keep_wal();
    stream_.emplace(TRY(postgres::BaseBackupStream::start({.connect = options_.connect,
                                                           .label = options_.label,
                                                           .fast_checkpoint = options_.fast_checkpoint,
                                                           .with_wal = with_wal_,
                                                           .max_rate = options_.max_rate,
                                                           .parent_manifest = manifest_},
                                                          expected, cancel_, interrupted_.get())));
    const auto& begun = stream_->started();
    return ServerStart{begun.start_lsn, begun.timeline, facts.in_recovery};
  }
  const postgres::BaseBackupStart& begun() const override { return stream_->started(); }

  Result<postgres::BaseBackupEnd> receive(postgres::BaseBackupSink& sink) override {
    const auto end = TRY(stream_->receive(sink));
    stopped_.stop_lsn = end.stop_lsn;
    return end;
  }
  void interrupt() override { interrupted_->cancel(); }

  /// Asked while pages that have already come are looked at.
  Result<postgres::Lsn> page_check_lsn() override {
    std::lock_guard lock(mutex_);
    return ask([](Connection& connection) { return postgres::current_lsn(connection); });
  }
  Status check_alive() override { return ok(); }  // who reads the stream sees it end

  Result<std::optional<postgres::Contents>> contents(const std::vector<std::string>& count) override {
    return std::optional(TRY(postgres::read_contents(options_.connect, count, kCountLimit, cancel_)));
  }

  Result<postgres::BackupStop> stop() override {
    stream_.reset();
    slot_.reset();
    return stopped_;
  }
  void abandon() override {
    stream_.reset();
    slot_.reset();
    interrupted_ = std::make_unique<CancelToken>();
  }

  Result<std::optional<postgres::Lsn>> switch_wal_on_primary(postgres::SystemIdentifier) override {
    return std::optional<postgres::Lsn>();
  }

 private:
  template <class Question>
  std::invoke_result_t<Question, Connection&> ask(Question question) {
    if (!connection_ || !connection_->alive()) connection_ = TRY(Connection::open(options_.connect, cancel_));
    auto answer = question(*connection_);
    if (!answer) connection_.reset();  // the next question gets a fresh one
    return answer;
  }

  /// WAL that is needed at the end must not be recycled before. Goes with its session.
  void keep_wal() {
    auto made = [&]() -> Status {
      auto connection = TRY(Connection::open(options_.connect, cancel_));
      TRY(connection.query("SELECT pg_catalog.pg_create_physical_replication_slot('pgmint_' || pg_backend_pid(), true, true)"));
      slot_.emplace(std::move(connection));
      return ok();
    }();
    if (!made) log_info("no replication slot keeps the server's WAL for this backup ({}): wal_keep_size must suffice", made.failure().describe());
  }

  const RemoteServerOptions options_;
  const CancelToken* cancel_;
  std::unique_ptr<CancelToken> interrupted_ = std::make_unique<CancelToken>();  // outlives stream_
  std::mutex mutex_;  // guards connection_
  std::optional<Connection> connection_, slot_;
  std::optional<postgres::BaseBackupStream> stream_;
  bool with_wal_ = false;
  std::function<Status(const Connection::Put&)> manifest_;
  postgres::BackupStop stopped_{};
};

}  // namespace

std::unique_ptr<RemoteServer> connect_remote_server(RemoteServerOptions options, const CancelToken* cancel) {
  return std::make_unique<RealRemoteServer>(std::move(options), cancel);
}

}  // namespace pgmint::backup

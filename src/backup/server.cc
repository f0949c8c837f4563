#include "backup/server.h"

#include <charconv>

namespace pgmint::backup {
namespace {

using postgres::BackupSession;
using postgres::Connection;

constexpr std::chrono::seconds kCountLimit{600};  ///< for the rows of one table

std::uint64_t number(const std::optional<std::string>& text) {
  std::uint64_t value = 0;
  if (text) std::from_chars(text->data(), text->data() + text->size(), value);
  return value;
}

class RealServer final : public Server {
 public:
  RealServer(ServerOptions options, const CancelToken* cancel) : options_(std::move(options)), cancel_(cancel) {}

  Result<postgres::ServerFacts> inspect() override {
    auto* connection = TRY(side_connection());
    return postgres::server_facts(*connection);
  }

  Result<ArchiverStatus> archiver() override {
    auto* connection = TRY(side_connection());
    auto status = read_archiver(*connection);
    if (!status) connection_.reset();  // the next question gets a fresh one
    return status;
  }

  Status nudge_archiver() override {
    auto* connection = TRY(side_connection());
    // A switch does nothing in a segment that is still empty.
    TRY(connection->value("SELECT pg_catalog.pg_logical_emit_message(false, 'pgmint', 'is archiving alive?')::text"));
    TRY(postgres::switch_wal(*connection));
    return ok();
  }

  Result<ServerStart> start(postgres::SystemIdentifier expected) override {
    session_ = TRY(BackupSession::start(
        {options_.connect, options_.label, options_.fast_checkpoint, options_.data_directory, expected}, cancel_));
    return ServerStart{session_->start_lsn(), session_->timeline(), session_->on_standby()};
  }

  Result<postgres::Lsn> page_check_lsn() override {
    PGMINT_ASSERT(session_);
    return session_->page_check_lsn();
  }

  Result<std::optional<postgres::Contents>> contents(const std::vector<std::string>& count) override {
    return std::optional(TRY(postgres::read_contents(options_.connect, count, kCountLimit, cancel_)));
  }

  Status check_alive() override { return session_ ? session_->check_alive() : ok(); }

  Result<postgres::BackupStop> stop() override {
    PGMINT_ASSERT(session_);
    auto stopped = std::move(*session_).stop();
    session_.reset();
    return stopped;
  }

  void abandon() override { session_.reset(); }

  Result<std::optional<postgres::Lsn>> switch_wal_on_primary(postgres::SystemIdentifier expected) override {
    if (!options_.primary) return std::optional<postgres::Lsn>();
    return std::optional<postgres::Lsn>(TRY(postgres::switch_wal_on_primary(*options_.primary, expected, cancel_)));
  }

 private:
  /// Questions beside the backup session, which must not be disturbed.
  Result<Connection*> side_connection() {
    if (!connection_ || !connection_->alive()) connection_ = TRY(Connection::open(options_.connect, cancel_));
    return &*connection_;
  }

  ServerOptions options_;
  const CancelToken* cancel_;
  std::optional<Connection> connection_;
  std::optional<BackupSession> session_;
};

}  // namespace

Result<ArchiverStatus> read_archiver(Connection& connection) {
  const auto rows = TRY(connection.query(
      "SELECT archived_count, failed_count, last_archived_wal, last_failed_wal, last_archived_time, "
      "last_failed_time, "
      "last_failed_time IS NOT NULL AND (last_archived_time IS NULL OR last_failed_time > last_archived_time) "
      "FROM pg_catalog.pg_stat_archiver"));
  if (rows.rows.size() != 1 || rows.rows[0].size() != 7)
    return Error(Errc::Postgres, "pg_stat_archiver has another shape than expected");
  const auto& row = rows.rows[0];
  return ArchiverStatus{number(row[0]),      number(row[1]),      row[2].value_or(""), row[3].value_or(""),
                        row[4].value_or(""), row[5].value_or(""), row[6] == "t"};
}

std::unique_ptr<Server> connect_server(ServerOptions options, const CancelToken* cancel) {
  return std::make_unique<RealServer>(std::move(options), cancel);
}

}  // namespace pgmint::backup

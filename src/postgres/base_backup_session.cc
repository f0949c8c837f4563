#include "postgres/base_backup_session.h"

#include <fmt/format.h>

#include <mutex>

namespace pgmint::postgres {
namespace {

constexpr std::size_t kLabelMax = 512;  // PostgreSQL refuses labels of 1,024 bytes and more

/// One line: PostgreSQL writes the label into a line of backup_label and reads the lines after it by their names.
std::string one_line_label(std::string_view label) {
  std::string clean(label.substr(0, kLabelMax));
  for (char& c : clean)
    if (static_cast<unsigned char>(c) < ' ') c = ' ';
  return clean;
}

fs::path resolved(const fs::path& path) {
  std::error_code ignored;
  auto canonical = fs::weakly_canonical(path, ignored);
  return canonical.empty() ? path : canonical;
}

/// Before anything is started: is this the server of the directory that is about to be read?
Status check_identity(const ServerFacts& facts, const BackupSessionOptions& options) {
  if (facts.system_identifier != options.system_identifier)
    return Error(Errc::Precondition,
                 fmt::format("the server has system identifier {}, the data directory {} has {}",
                             facts.system_identifier.value(), options.data_directory.string(),
                             options.system_identifier.value()),
                 Hint{"connection and data_directory in the configuration belong to different clusters"});
  if (resolved(facts.data_directory) != resolved(options.data_directory))
    return Error(
        Errc::Precondition,
        fmt::format("the server's data directory is {}, not {}", facts.data_directory, options.data_directory.string()),
        Hint{"set data_directory in the configuration to what SHOW data_directory says"});
  return ok();
}

Status check_settings(const ServerFacts& facts) {
  if (facts.wal_level == "minimal")
    return Error(Errc::Precondition, "wal_level is minimal: WAL does not hold what a backup needs",
                 Hint{"ALTER SYSTEM SET wal_level = replica, then restart the server"});
  return ok();
}

}  // namespace

struct BackupSession::State {
  explicit State(Connection open) : connection(std::move(open)) {}
  std::mutex mutex;  // guards connection
  Connection connection;
  ServerFacts facts;
  Lsn start_lsn;
  TimelineId timeline;
};

BackupSession::BackupSession(std::unique_ptr<State> state) : state_(std::move(state)) {}
BackupSession::BackupSession(BackupSession&&) noexcept = default;
BackupSession& BackupSession::operator=(BackupSession&&) noexcept = default;
BackupSession::~BackupSession() = default;

Result<BackupSession> BackupSession::start(const BackupSessionOptions& options, const CancelToken* cancel) {
  auto state = std::make_unique<State>(TRY(Connection::open(options.connect, cancel)));
  Connection& connection = state->connection;
  state->facts = TRY(server_facts(connection));
  TRY(check_identity(state->facts, options));
  TRY(check_settings(state->facts));
  auto lsn = TRY(connection
                     .value(std::string(connection.version().backup.start),
                            {one_line_label(options.label), options.fast_checkpoint ? "true" : "false"})
                     .context("start the backup"));
  auto parsed = parse_lsn(lsn);
  if (!parsed) return Error(Errc::Postgres, fmt::format("PostgreSQL: start position {} is none", lsn));
  state->start_lsn = *parsed;
  // The checkpoint (on a standby: restartpoint) that the start made is the latest in pg_control; its timeline is the
  // backup's.
  auto timeline = parse_timeline(TRY(connection.value("SELECT timeline_id::text FROM pg_control_checkpoint()")));
  if (!timeline) return Error(Errc::Postgres, "PostgreSQL: no timeline");
  state->timeline = *timeline;
  return BackupSession(std::move(state));
}

Lsn BackupSession::start_lsn() const {
  return state_->start_lsn;
}
TimelineId BackupSession::timeline() const {
  return state_->timeline;
}
bool BackupSession::on_standby() const {
  return state_->facts.in_recovery;
}
const ServerFacts& BackupSession::facts() const {
  return state_->facts;
}

Result<Lsn> BackupSession::page_check_lsn() {
  std::lock_guard lock(state_->mutex);
  return current_lsn(state_->connection).context("the backup's session with the server");
}

Status BackupSession::check_alive() {
  std::lock_guard lock(state_->mutex);
  if (state_->connection.alive()) return ok();
  return Error(Errc::Postgres, "the server closed the backup's session: the backup is void",
               Hint{"see the server's log; a pooler or firewall between must not end idle connections"});
}

Result<BackupStop> BackupSession::stop() && {
  auto state = std::move(state_);
  std::lock_guard lock(state->mutex);
  Connection& connection = state->connection;
  auto rows = connection.query(std::string(connection.version().backup.stop));
  if (!rows) {
    return std::move(rows).failure().with_context("stop the backup: what was read is void");
  }
  if (rows->rows.size() != 1 || rows->rows[0].size() != 3)
    return Error(Errc::Postgres, "PostgreSQL: the backup's stop gave no label");
  const Row& row = rows->rows[0];
  auto lsn = parse_lsn(row[0].value_or(""));
  if (!lsn || row[1].value_or("").empty())
    return Error(Errc::Postgres, "PostgreSQL: the backup's stop gave no position or no label");
  return BackupStop{.stop_lsn = *lsn, .label_file = *row[1], .tablespace_map = row[2].value_or("")};
}

Result<Lsn> switch_wal_on_primary(const ConnectOptions& primary, SystemIdentifier expected, const CancelToken* cancel) {
  Connection connection = TRY(Connection::open(primary, cancel).context("the primary"));
  auto rows = TRY(connection.query("SELECT (pg_control_system()).system_identifier::text, pg_is_in_recovery()::text"));
  const Row& row = rows.rows.at(0);
  if (parse_system_identifier(row[0].value_or("")) != expected)
    return Error(
        Errc::Precondition,
        fmt::format("the primary has system identifier {}, the standby {}", row[0].value_or("?"), expected.value()),
        Hint{"primary_connection names another cluster's server"});
  if (row[1] == "true")
    return Error(Errc::Precondition, "the server named as primary is a standby itself",
                 Hint{"primary_connection must lead to the server that accepts writes"});
  return switch_wal(connection);
}

}  // namespace pgmint::postgres

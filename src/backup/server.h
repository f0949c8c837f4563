// What a backup asks of PostgreSQL, as a seam: the real server in production, a scripted one in tests.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/cancel.h"
#include "postgres/base_backup_session.h"
#include "postgres/contents.h"
#include "postgres/server_facts.h"

namespace pgmint::backup {

/// pg_stat_archiver.
struct ArchiverStatus {
  std::uint64_t archived_count = 0, failed_count = 0;
  std::string last_archived_wal, last_failed_wal;    ///< empty: none since the statistics were reset
  std::string last_archived_time, last_failed_time;  ///< as PostgreSQL prints them
  bool failing = false;                              ///< the last attempt failed
};

/// @errors Postgres
Result<ArchiverStatus> read_archiver(postgres::Connection& connection);

struct ServerStart {
  postgres::Lsn start_lsn;
  postgres::TimelineId timeline;
  bool on_standby = false;
};

/// The running cluster. Destroying it while a backup is running makes the server abort that backup.
///
/// page_check_lsn() and check_alive() may be called from many threads; everything else from the owner only.
class Server {
 public:
  virtual ~Server() = default;

  /// Connects (again) and asks. Changes nothing. @errors Postgres, Precondition, Cancelled
  virtual Result<postgres::ServerFacts> inspect() = 0;
  /// @errors Postgres
  virtual Result<ArchiverStatus> archiver() = 0;
  /// Gives the archiver a segment to try now instead of at its next look. Only on a primary. @errors Postgres
  virtual Status nudge_archiver() = 0;

  /// Starts the backup. @errors as postgres::BackupSession::start
  virtual Result<ServerStart> start(postgres::SystemIdentifier expected) = 0;
  /// Upper bound for the LSN of any page read before the call. @errors Postgres
  virtual Result<postgres::Lsn> page_check_lsn() = 0;
  virtual Status check_alive() = 0;
  /// What stands in its databases, and the rows of these tables (postgres::read_contents); nullopt: it does not say. @errors Postgres, Cancelled
  virtual Result<std::optional<postgres::Contents>> contents(const std::vector<std::string>& count) {
    static_cast<void>(count);
    return std::optional<postgres::Contents>();
  }
  /// Ends it. @errors Postgres: the backup is void
  virtual Result<postgres::BackupStop> stop() = 0;
  /// Gives up a backup that was started; does nothing when none is running.
  virtual void abandon() = 0;

  /// Makes a standby's primary finish its current WAL segment; nullopt: no primary is configured. @errors Postgres,
  /// Precondition
  virtual Result<std::optional<postgres::Lsn>> switch_wal_on_primary(postgres::SystemIdentifier expected) = 0;
};

struct ServerOptions {
  postgres::ConnectOptions connect;
  std::optional<postgres::ConnectOptions> primary;
  std::string label;
  bool fast_checkpoint = true;
  fs::path data_directory;
};
/// @param cancel  borrowed, may be null
std::unique_ptr<Server> connect_server(ServerOptions options, const CancelToken* cancel);

}  // namespace pgmint::backup

// The server's side of a base backup: start, stay connected, stop.
// Rules: POSTGRES.md 1, 2, 6. SQL per major: version_table.h.
#pragma once

#include "base/file.h"
#include "base/guarded.h"
#include "postgres/connection.h"
#include "postgres/server_facts.h"

namespace pgmint::postgres {

struct BackupSessionOptions {
  ConnectOptions connect;  ///< a direct connection, no pooler
  std::string label = "pgmint";
  bool fast_checkpoint = true;
  /// Compared with SHOW data_directory (both resolved); a difference is Errc::Precondition: it would copy another
  /// cluster.
  fs::path data_directory;
  SystemIdentifier system_identifier;  ///< of pg_control in data_directory
};

struct BackupStop {
  Lsn stop_lsn;
  std::string label_file;      ///< backup_label, byte for byte
  std::string tablespace_map;  ///< byte for byte; empty when there are no tablespaces
};

/// While it lives the server stays in backup mode. Destroying it without stop() closes the connection, which makes the
/// server abort the backup: a destructor cannot report, and nothing was promised yet.
///
/// page_check_lsn() may be called from many threads; everything else from the owner only.
class BackupSession {
 public:
  /// Waits for the checkpoint (long without fast_checkpoint).
  /// @errors Precondition (another cluster or directory; full_page_writes off on a standby's primary; wal_level
  /// minimal),
  ///         Postgres (refused, permission: hint names the grants), Cancelled
  static Result<BackupSession> start(const BackupSessionOptions& options, const CancelToken* cancel = nullptr);
  BackupSession(BackupSession&&) noexcept;
  BackupSession& operator=(BackupSession&&) noexcept;
  ~BackupSession();

  Lsn start_lsn() const;
  TimelineId timeline() const;
  bool on_standby() const;
  const ServerFacts& facts() const;
  /// Upper bound for the LSN of any page read before the call: insert LSN, replay LSN on a standby. Thread-safe.
  /// @errors Postgres: the connection is gone, and with it the backup
  Result<Lsn> page_check_lsn();
  /// For the owner's idle loop: fails as soon as the server has dropped the session. Thread-safe.
  Status check_alive();
  /// Ends the backup without waiting for the archive. @errors Postgres: the backup is invalid (promotion,
  /// full_page_writes switched off, server gone)
  Result<BackupStop> stop() &&;

 private:
  struct State;
  explicit BackupSession(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

/// After a standby's backup: makes the primary finish the segment that holds `stop_lsn`, since an idle primary never
/// would.
/// @errors Postgres, Precondition: `primary` is another cluster or itself a standby
Result<Lsn> switch_wal_on_primary(const ConnectOptions& primary, SystemIdentifier expected,
                                  const CancelToken* cancel = nullptr);

}  // namespace pgmint::postgres

// A server whose files are out of reach: it sends them itself, once, in its own order. A seam, as Server is.
// Decision: docs/adr/0035-remote-clusters.md
#pragma once

#include "backup/server.h"
#include "postgres/base_backup_stream.h"
#include "postgres/server_summaries.h"

namespace pgmint::backup {

/// As Server; start() begins the stream, stop() is answered when it has ended. stop()'s label and map stay empty: they are in the stream.
class RemoteServer : public Server {
 public:
  /// What pg_control says of the files' shape. @errors Postgres, Precondition, Cancelled
  virtual Result<postgres::ControlFile> control() = 0;
  /// Before start(): WAL from start to stop comes at the end of the stream. The server keeps it for that long, if it has a replication
  /// slot to spare.
  virtual void bring_wal(bool with_wal) = 0;
  /// Why it cannot send only what changed since a backup that began at `from`, as far as can be told before; nullopt: it may. @errors Postgres, Cancelled
  virtual Result<std::optional<std::string>> why_all_comes(postgres::TimelineId timeline, postgres::Lsn from) = 0;
  /// How much of its WAL it has summarised. @errors Postgres, Cancelled
  virtual Result<postgres::SummarizerState> summarizer() = 0;
  /// Before start(): of the files in this manifest only what changed is to come (postgres::BaseBackupOptions). Empty: whole files.
  virtual void send_changes_since(std::function<Status(const postgres::Connection::Put&)> manifest) = 0;
  /// After start(): by which list. @errors as postgres::server_changes
  virtual Result<postgres::ChangeSet> changes(const postgres::TimelineHistory& history, postgres::Lsn from, postgres::Lsn to) = 0;
  /// After start().
  virtual const postgres::BaseBackupStart& begun() const = 0;
  /// All that the stream has. On one thread. @errors Postgres, Cancelled, the sink's
  virtual Result<postgres::BaseBackupEnd> receive(postgres::BaseBackupSink& sink) = 0;
  /// From any thread: receive() ends soon, and for good.
  virtual void interrupt() = 0;
};

struct RemoteServerOptions {
  postgres::ConnectOptions connect;
  std::string label;
  bool fast_checkpoint = true;
  std::optional<ByteCount> max_rate;
};
/// @param cancel  borrowed, may be null
std::unique_ptr<RemoteServer> connect_remote_server(RemoteServerOptions options, const CancelToken* cancel);

}  // namespace pgmint::backup

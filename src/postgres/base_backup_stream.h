// BASE_BACKUP of the streaming replication protocol: the server's own base backup, as it arrives.
// Source: src/backend/backup/basebackup.c, basebackup_copy.c (replication/basebackup.c before 15), replication/repl_gram.y.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/strong.h"
#include "postgres/connection.h"
#include "postgres/relation.h"

namespace pgmint::postgres {

struct BaseBackupOptions {
  ConnectOptions connect;  ///< its `replication` is set
  std::string label = "pgmint";
  bool fast_checkpoint = true;
  /// pg_wal's segments from start to stop come at the end, so that the backup is whole by itself.
  bool with_wal = false;
  /// Bytes a second that the server sends at most, as near as it can (32 KiB to 1 GiB in steps of 1 KiB).
  std::optional<ByteCount> max_rate{};
  /// 17 and later. Not empty: writes the manifest of a backup that the client has, and of the files in it only what changed since is sent
  /// (incremental_file.h). Called for each session anew.
  std::function<Status(const Connection::Put&)> parent_manifest{};
};

/// The command in the words of this major. Pure.
std::string base_backup_command(const BaseBackupOptions& options, const VersionEntry& version);

struct BaseBackupTablespace {
  Oid oid;
  std::string location;   ///< as the server has it
  bool in_place = false;  ///< a directory in pg_tblspc
};

struct BaseBackupStart {
  Lsn start_lsn;
  TimelineId timeline;
  std::vector<BaseBackupTablespace> tablespaces;
  std::uint64_t bytes = 0;  ///< as the server estimates it
};

struct BaseBackupEnd {
  Lsn stop_lsn;
  TimelineId timeline;
  /// The server found pages whose checksum is wrong, sent them as they are, and called the backup failed.
  bool checksums_failed = false;
};

/// One message of the copy that PostgreSQL 15 and later send (basebackup_copy.c). Views are of what was parsed.
struct ArchiveBegins {
  std::optional<Oid> tablespace;  ///< nullopt: the data directory
};
struct ManifestBegins {};
struct ArchiveBytes {
  ByteView bytes;
};
struct ProgressMade {
  std::uint64_t bytes = 0;
};
using BaseBackupMessage = std::variant<ArchiveBegins, ManifestBegins, ArchiveBytes, ProgressMade>;
/// @errors Corruption: empty, truncated, of an unknown kind, an archive whose name is none
Result<BaseBackupMessage> parse_base_backup_message(ByteView message);

/// Gets tar archives one after the other; the data directory's is the last.
class BaseBackupSink {
 public:
  virtual ~BaseBackupSink() = default;
  /// @param tablespace  nullopt: the data directory
  virtual Status archive_begins(std::optional<Oid> tablespace) = 0;
  /// Borrowed for the call.
  virtual Status archive_bytes(ByteView bytes) = 0;
  virtual Status archive_ends() = 0;
};

/// Not thread-safe. Destroying it before the end closes the connection, which ends the backup on the server.
class BaseBackupStream {
 public:
  /// Waits for the server's checkpoint. @param cancel, also  borrowed, may be null: either ends every wait
  /// With a parent's manifest it waits for the server's WAL summaries too, and the server may refuse it for what it lacks of them.
  /// @errors Postgres (each with the line that is missing in pg_hba.conf, the privilege, the setting), Precondition (a major outside the
  /// table, not the expected system), Cancelled
  static Result<BaseBackupStream> start(const BaseBackupOptions& options, SystemIdentifier expected, const CancelToken* cancel = nullptr,
                                        const CancelToken* also = nullptr);
  BaseBackupStream(BaseBackupStream&&) noexcept;
  BaseBackupStream& operator=(BaseBackupStream&&) noexcept;
  ~BaseBackupStream();

  const BaseBackupStart& started() const;
  /// Everything that is left. @errors Postgres (the server went away, or calls the backup failed for another reason than its pages;
  /// what it sent is malformed), Cancelled, the sink's
  Result<BaseBackupEnd> receive(BaseBackupSink& sink);

 private:
  struct State;
  explicit BaseBackupStream(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

/// Why a replication session was refused, and what to do about it. Gives back other errors as they are. Pure.
Error with_replication_hint(Error error);

}  // namespace pgmint::postgres

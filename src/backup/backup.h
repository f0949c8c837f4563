// A physical backup, direct: the data directory of a running cluster becomes one snapshot of the repository.
// Decision: docs/adr/0007-extent-size-and-pipeline.md. Rules of PostgreSQL: README.md of this folder.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/cancel.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/strong.h"
#include "codec/compression.h"
#include "postgres/connection.h"
#include "repository/manifest.h"
#include "repository/repository.h"

namespace pgmint::backup {

/// The steps of a run, in their order.
enum class Phase : std::uint8_t {
  Preflight,   ///< may this run at all? nothing is changed yet
  Start,       ///< BEGIN in the log, then the server's checkpoint (long without fast_checkpoint)
  Scan,        ///< what is in the data directory
  Copy,        ///< read, check, compress, seal, put: where the time goes, and the only phase that counts bytes
  Stop,        ///< configuration, pg_control, then the server ends the backup
  WaitForWal,  ///< until the repository holds the WAL that the backup needs
  Describe,    ///< the manifest's tree
  Commit       ///< manifest root and the log's SNAP: from here on the backup is listed
};
inline constexpr std::size_t kPhaseCount = 8;
/// "preflight", "start", "scan", "copy", "stop", "wait-for-wal", "describe", "commit".
std::string_view phase_name(Phase phase);

struct Progress {
  Phase phase{};
  std::uint64_t bytes_done = 0;    ///< of files, as read
  std::uint64_t bytes_total = 0;   ///< as scanned; zero before Copy
  std::uint64_t stored_bytes = 0;  ///< sealed so far
  std::uint64_t files_done = 0, files_total = 0;
  std::chrono::microseconds elapsed{};  ///< since run() was called
  std::string detail;  ///< for people; WaitForWal: what is missing, and what the archiver last complained about
};
/// Called from run()'s own thread, at each change of phase and else at most five times a second.
using ProgressCallback = std::function<void(const Progress&)>;

/// Sends into the repository what `wal push` has kept on this host while that was away, and says in words what is left of it:
/// what PostgreSQL has archived may be among that. nullopt: nothing waits.
using SendOn = std::function<std::optional<std::string>()>;

struct BackupRequest {
  /// Its log was refreshed; its identity must be the system identifier of the data directory. Used by run() alone
  /// meanwhile.
  repository::Cluster& cluster;
  /// Empty: a remote cluster, whose files the server sends over `connect`. Without proof that its WAL reaches the repository, and from a
  /// standby, the WAL from start to stop comes along.
  fs::path data_directory;
  /// A direct connection (no pooler) to the server that runs on data_directory.
  postgres::ConnectOptions connect{};
  /// Only for backups from a standby: the primary, to finish the WAL segment that holds the end. Without it, segments
  /// that never reach the repository are carried by the backup itself (manifest area 2).
  std::optional<postgres::ConnectOptions> primary{};

  /// Incremental where a parent will do, else full, and the report says why; false: full.
  bool incremental = false;
  std::string note{};
  std::string label = "pgmint";
  bool fast_checkpoint = true;
  codec::CodecChoice codec{};
  /// Threads that read and compress; 0: one per hardware thread.
  unsigned workers = 0;
  /// A power of two from 64 KiB to 1 MiB and a multiple of the block size.
  ByteCount extent_size{256U << 10};
  /// Of packs that are being filled, queued and put, and of what is kept of each file. Packs become smaller than 32 MiB, down to 4,
  /// when many workers or a million files need it.
  ByteCount memory_max{320U << 20};
  /// Bytes read from the data directory, or sent by a remote server, per second.
  std::optional<ByteCount> max_rate{};
  /// How long the wait for WAL goes on without any segment arriving.
  std::chrono::seconds archive_timeout{300};
  /// Called about once a second while WAL is waited for. Empty: none is ever kept on this host.
  SendOn send_on{};
  /// Of the snapshot; epoch: none.
  TimePoint retain_until{};
  /// Tables whose rows are counted and recorded (postgres::read_contents).
  std::vector<std::string> count_tables{};

  const CancelToken* cancel = nullptr;  ///< borrowed; may be null
  ProgressCallback progress{};            ///< may be empty
};

struct PhaseTime {
  Phase phase{};
  std::chrono::microseconds duration{};
};

/// What a finished run has to say. The backup is committed and listed; it may still deserve attention.
struct BackupReport {
  std::string name;
  repository::SessionId session{};
  TimePoint started{}, finished{};   ///< of a copy: of what it is copied from
  bool from_standby = false;
  bool remote = false;  ///< the server sent the files
  repository::BackupType type = repository::BackupType::Full;
  std::string parent;                ///< incremental: the name of the backup that it builds on
  std::string method;                ///< incremental: how it was found what changed; full: why it is one, if anything else was asked for
  std::string copied_from;           ///< "20261127-020000-full of repository near"; empty: of the data directory itself
  std::uint64_t read_bytes = 0;      ///< of the data directory, or of the backup that is copied
  std::uint64_t received_bytes = 0;  ///< remote: what the server sent, all in all
  std::uint64_t changed_pages = 0;   ///< incremental: of relations, stored
  std::uint64_t files = 0;         ///< entries with content
  std::uint64_t total_bytes = 0;   ///< of files, as restored
  std::uint64_t zero_bytes = 0;    ///< of total_bytes, in extents that hold zeros only
  std::uint64_t stored_bytes = 0;  ///< of all packs
  std::uint64_t packs = 0;
  std::uint64_t pages_checked = 0;
  std::uint64_t pages_reread = 0;  ///< torn when first read
  bool checksums_enabled = false;
  std::uint32_t timeline = 0;
  std::uint64_t start_lsn = 0, stop_lsn = 0;
  std::string first_wal, last_wal;             ///< names of the segments that the backup needs
  std::vector<std::string> carried_wal;        ///< of these, kept in the backup itself
  std::vector<repository::BadPage> bad_pages;  ///< at most kBadPagesNamed of them
  std::uint64_t bad_page_count = 0;
  std::vector<std::string> warnings;
  std::vector<PhaseTime> times;  ///< in order

  double ratio() const;  ///< total over stored; 0 when nothing is stored
  /// What an incremental stood on did not hold: a parent that cannot be read, WAL objects that are damaged, or change summaries that
  /// do not name a page that changed. This backup does without; older ones need a look.
  bool refuted = false;
  /// 8 when pages were found damaged (the backup is kept: it is the best there is of them), or the parent was, else 0.
  int exit_code() const { return bad_page_count == 0 && !refuted ? 0 : 8; }
};
inline constexpr std::size_t kBadPagesNamed = 10'000;

/// Takes one backup and commits it. On failure or cancellation the session is aborted, the server leaves backup
/// mode, and nothing is listed. A damaged page does not fail the run: it is stored as it is, named in the manifest and
/// in the report.
///
/// @errors Precondition: another cluster or directory, wal_level or archiving not fit, a file that must exist is gone;
///         Key: not the cluster's owner, or a key is missing; Configuration: a size out of range; Postgres: the server
///         refused or ended the backup, or its WAL did not arrive in time (names the segment); Io, Storage, Unknown,
///         Cancelled
Result<BackupReport> run(const BackupRequest& request);

}  // namespace pgmint::backup

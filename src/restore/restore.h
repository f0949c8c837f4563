// A restore: one backup becomes a data directory that PostgreSQL recovers to the moment asked for.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/cancel.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/strong.h"
#include "postgres/lsn.h"
#include "repository/manifest.h"
#include "repository/repository.h"

namespace pgmint::restore {

enum class TargetKind : std::uint8_t {
  Latest,     ///< everything that was archived
  Immediate,  ///< as soon as the backup is consistent
  Time, Lsn, Xid, Name
};

struct Target {
  TargetKind kind = TargetKind::Latest;
  TimePoint time{};
  postgres::Lsn lsn{};
  std::uint32_t xid = 0;
  std::string name;
  bool exclusive = false;                          ///< stop before, not after (Time, Lsn, Xid)
  std::optional<postgres::TimelineId> timeline;    ///< absent: the newest that descends from the backup
};
/// "latest", "time 2026-11-22 08:40:01+00", "lsn 0/3000028", ...
std::string describe(const Target& target);

/// What PostgreSQL does at the target.
enum class Action : std::uint8_t { Promote, Pause, Shutdown };
std::string_view action_name(Action action);

enum class Phase : std::uint8_t { Choose, Preflight, Copy, Sync, Finish };
std::string_view phase_name(Phase phase);

struct Progress {
  Phase phase{};
  std::uint64_t bytes_done = 0, bytes_total = 0;  ///< of files, as written
  std::uint64_t read_bytes = 0;                   ///< from the repository
  std::uint64_t files_done = 0, files_total = 0;
  std::chrono::microseconds elapsed{};
  std::string detail;
};
/// From run()'s own thread, at each change of phase and at most five times a second.
using ProgressCallback = std::function<void(const Progress&)>;

struct RestoreRequest {
  repository::Cluster& cluster;
  fs::path to;                        ///< for prepare() it may be empty: then no place is looked at
  std::optional<std::string> backup;  ///< name; absent: the newest that reaches the target
  Target target;
  Action action = Action::Promote;
  std::vector<std::pair<std::string, std::string>> tablespaces;  ///< old location, new location
  bool keep_archiving = false;
  /// `to` may be a stopped data directory of this cluster, or what an interrupted restore left: what differs is fetched.
  bool delta = false;
  /// Chooses among snap/ instead of the log: for a repository whose log is damaged.
  bool from_manifest = false;
  /// The cluster's own data directory as configured: restoring there is not a clone.
  std::optional<fs::path> own_data_directory;
  /// For postgresql.auto.conf, with %f and %p.
  std::string restore_command;
  fs::path bin_directory{};  ///< of PostgreSQL's programs on this host; empty: where packages put them
  unsigned workers = 0;  ///< 0: one per hardware thread
  std::optional<ByteCount> max_rate;  ///< bytes written per second
  const CancelToken* cancel = nullptr;
  ProgressCallback progress;
};

struct RestoreReport {
  std::string backup;
  Target target;
  postgres::TimelineId timeline{};       ///< that recovery follows
  std::uint64_t files = 0, bytes = 0, read_bytes = 0;
  std::chrono::microseconds elapsed{};
  bool delta = false;                    ///< an existing directory was brought to the backup's state
  std::uint64_t kept_bytes = 0;          ///< of `bytes`, what was there already
  bool clone = false;                    ///< archiving and replication were switched off
  std::vector<std::string> warnings;
  std::vector<std::string> configuration_files;  ///< what came from outside the data directory, and where it stands now
};

/// Chooses, checks everything that can be checked before the first byte is written, then writes. A failed copy removes what
/// it wrote: pg_control comes last, so nothing that could start is ever left half done. A failed delta restore leaves what it did, without
/// pg_control: the same request goes on with it.
///
/// @errors NotFound (no such backup), Precondition (target not empty, server running, no space, WAL missing, moment not
///         covered: nothing was written), Usage, Corruption, Storage, Key, Io, Cancelled
Result<RestoreReport> run(const RestoreRequest& request);

}  // namespace pgmint::restore

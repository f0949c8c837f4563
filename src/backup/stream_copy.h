// The copy of a remote backup: what the server sends, through the workers of a copy, and what came of it.
//
//   stream -> front (tar archives into files, files into pieces) -> bounded queue -> workers -> bounded queue -> uploaders -> store
#pragma once

#include <variant>

#include "backup/remote_server.h"
#include "backup/stream_front.h"

namespace pgmint::backup {

/// What came, in the form in which a scan and a copy of a data directory would have left it.
struct StreamedCluster {
  postgres::DirectoryScan scan;  ///< sorted; pg_control among it
  CopyOutcome copied;            ///< of the scan's entries
  std::vector<repository::FileEntry> wal;  ///< area 2, sorted
  Bytes control;
  std::string label, tablespace_map;
  std::string owner;  ///< name of the files' owner on the server
  StreamFront::Segment last_segment;
  postgres::BaseBackupEnd end;
};

/// Of what is on its way from the front to the workers, and in their hands.
inline constexpr std::uint64_t kInFlightMax = 64U << 20;

struct StreamInput {
  RemoteServer& server;
  StreamSource& source;
  /// As copy_files() takes it, without scan and plan, whose places are empty; `source` is the one above. Its rate is that of the stream.
  const CopyInput& copy;
  std::uint64_t bundle_size = 0;
  std::function<FilePlan(const postgres::DirectoryEntry&)> plan;
  /// Of a file of which only what changed comes: its plan, or why the list cannot be right. Empty: the server was not asked for such.
  std::function<std::variant<FilePlan, std::string>(const postgres::DirectoryEntry&, postgres::IncrementalFile)> plan_part{};
};

/// As copy_files(). When the outcome is refuted nothing else counts, and the stream is over before its end.
/// @errors as copy_files(); Postgres: what came is no base backup
Result<StreamedCluster> copy_stream(const StreamInput& input, CopyCounters& counters, PageFindings& findings, const std::function<Status()>& tick);

}  // namespace pgmint::backup

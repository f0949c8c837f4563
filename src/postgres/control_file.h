// global/pg_control: identity, geometry and recovery position of a cluster.
// Source: src/include/catalog/pg_control.h of each major (version_table.h has the offsets).
#pragma once

#include <optional>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/file.h"
#include "postgres/version_table.h"
#include "postgres/wal_name.h"

namespace pgmint::postgres {

inline constexpr std::size_t kControlFileSize = 8192;

enum class ClusterState : std::uint8_t {
  StartingUp = 0,
  ShutDown = 1,
  ShutDownInRecovery = 2,
  ShuttingDown = 3,
  InCrashRecovery = 4,
  InArchiveRecovery = 5,
  InProduction = 6
};
std::string_view cluster_state_name(ClusterState state);

enum class WalLevel : std::uint8_t { Minimal = 0, Replica = 1, Logical = 2 };
std::string_view wal_level_name(WalLevel level);

struct ControlFile {
  SystemIdentifier system_identifier;
  const VersionEntry* version = nullptr;  ///< never null after a parse
  std::uint32_t catalog_version = 0;
  ClusterState state{};
  TimePoint modified;  ///< last update of the file, whole seconds

  Lsn checkpoint;       ///< the latest checkpoint record
  Lsn redo;             ///< where recovery from it starts
  TimelineId timeline;  ///< of that checkpoint
  TimelineId previous_timeline;
  bool full_page_writes = false;  ///< as of that checkpoint
  std::uint64_t next_full_xid = 0;
  TimePoint checkpoint_time;

  Lsn min_recovery_point;            ///< zero unless in archive recovery
  TimelineId min_recovery_timeline;  ///< zero when min_recovery_point is
  Lsn backup_start_point;            ///< not zero: recovering from a backup whose end was not yet reached
  Lsn backup_end_point;
  bool backup_end_required = false;

  WalLevel wal_level{};
  bool wal_log_hints = false;
  std::int32_t max_connections = 0;  ///< these five must not shrink on a restore (POSTGRES rule 22)
  std::int32_t max_worker_processes = 0;
  std::int32_t max_wal_senders = 0;
  std::int32_t max_prepared_transactions = 0;
  std::int32_t max_locks_per_transaction = 0;
  bool track_commit_timestamp = false;

  std::uint32_t max_align = 0;
  double float_format = 0;       ///< 1234567.0 on every machine that PostgreSQL can share files with
  std::uint32_t block_size = 0;  ///< bytes: a power of two from 1 KiB to 32 KiB
  std::uint32_t relation_segment_blocks = 0;
  std::uint32_t wal_block_size = 0;  ///< bytes
  WalSegmentSize wal_segment_size = WalSegmentSize::default_size();
  std::uint32_t data_checksum_version = 0;  ///< zero: page checksums are off

  bool in_recovery() const {
    return state == ClusterState::ShutDownInRecovery || state == ClusterState::InArchiveRecovery;
  }
  bool checksums_enabled() const { return data_checksum_version != 0; }
  std::uint64_t relation_segment_bytes() const { return std::uint64_t{block_size} * relation_segment_blocks; }
};

/// Reads the bytes of one pg_control, checking the CRC and the plausibility of what sizes depend on.
/// @errors Corruption: too short, torn (CRC), impossible fields; Precondition: a version that pgmint does not know, or
///         another byte order
Result<ControlFile> parse_control_file(ByteView bytes);

struct ControlFileImage {
  ControlFile control;
  Bytes bytes;  ///< exactly what was parsed, to be stored
};
/// Reads <data_directory>/global/pg_control. PostgreSQL rewrites the file in place, so a torn read is repeated, at most
/// ten times with a pause on `clock`. @errors as parse_control_file, NotFound, Key, Io
Result<ControlFileImage> read_control_file(const fs::path& data_directory, Clock& clock = system_clock());

/// The same bytes with the field changed and the CRC made anew, for tests and simulation.
Result<Bytes> control_file_with_system_identifier(ByteView bytes, SystemIdentifier identifier);

}  // namespace pgmint::postgres

#include "postgres/control_file.h"

#include <fmt/format.h>

#include <bit>

#include "codec/crc32c.h"
#include "postgres/load.h"

namespace pgmint::postgres {
namespace {

constexpr std::size_t kReadsMax = 10;
constexpr auto kTornPause = std::chrono::milliseconds(20);
constexpr std::int64_t kSecondsMax = 253'402'300'799;  // the end of the year 9999

Error corrupt(std::string_view why) {
  return Error(Errc::Corruption, fmt::format("pg_control: {}", why),
               Hint{"pg_controldata shows what PostgreSQL makes of the file"});
}

Result<TimePoint> time_of(std::int64_t seconds) {
  if (seconds < 0 || seconds > kSecondsMax) return corrupt(fmt::format("impossible time {}", seconds));
  return TimePoint(std::chrono::seconds(seconds));
}

bool is_power_of_two_within(std::uint32_t value, std::uint32_t low, std::uint32_t high) {
  return std::has_single_bit(value) && value >= low && value <= high;
}

Result<const VersionEntry*> version_of(ByteView bytes) {
  auto control = load<std::uint32_t>(bytes, 8);
  auto catalog = load<std::uint32_t>(bytes, 12);
  if (const auto* entry = find_version_by_catalog(control, catalog)) return entry;
  if (control % 65536 == 0 && control != 0)
    return Error(Errc::Precondition, "pg_control was written by a machine of another byte order");
  return Error(Errc::Precondition,
               fmt::format("pg_control version {}, catalog version {}: no PostgreSQL release that pgmint knows",
                           control, catalog),
               Hint{"pgmint knows the releases of PostgreSQL 13 to 18; betas and forks are not supported"});
}

bool crc_fits(ByteView bytes, const ControlLayout& at) {
  return codec::crc32c(bytes.first(at.crc)) == load<std::uint32_t>(bytes, at.crc);
}

Status read_status(ByteView bytes, ControlFile& out) {
  auto state = load<std::uint32_t>(bytes, 16);
  if (state > 6) return corrupt(fmt::format("impossible state {}", state));
  out.state = static_cast<ClusterState>(state);
  out.modified = TRY(time_of(load<std::int64_t>(bytes, 24)));
  out.checkpoint = Lsn(load<std::uint64_t>(bytes, 32));
  return ok();
}

Status read_checkpoint(ByteView bytes, std::size_t at, ControlFile& out) {
  out.redo = Lsn(load<std::uint64_t>(bytes, at));
  out.timeline = TimelineId(load<std::uint32_t>(bytes, at + 8));
  out.previous_timeline = TimelineId(load<std::uint32_t>(bytes, at + 12));
  out.full_page_writes = load<std::uint8_t>(bytes, at + 16) != 0;
  out.next_full_xid = load<std::uint64_t>(bytes, at + 24);
  out.checkpoint_time = TRY(time_of(load<std::int64_t>(bytes, at + 64)));
  return ok();
}

void read_recovery(ByteView bytes, std::size_t at, ControlFile& out) {
  out.min_recovery_point = Lsn(load<std::uint64_t>(bytes, at));
  out.min_recovery_timeline = TimelineId(load<std::uint32_t>(bytes, at + 8));
  out.backup_start_point = Lsn(load<std::uint64_t>(bytes, at + 16));
  out.backup_end_point = Lsn(load<std::uint64_t>(bytes, at + 24));
  out.backup_end_required = load<std::uint8_t>(bytes, at + 32) != 0;
}

Status read_settings(ByteView bytes, std::size_t at, ControlFile& out) {
  auto level = load<std::uint32_t>(bytes, at);
  if (level > 2) return corrupt(fmt::format("impossible wal_level {}", level));
  out.wal_level = static_cast<WalLevel>(level);
  out.wal_log_hints = load<std::uint8_t>(bytes, at + 4) != 0;
  out.max_connections = load<std::int32_t>(bytes, at + 8);
  out.max_worker_processes = load<std::int32_t>(bytes, at + 12);
  out.max_wal_senders = load<std::int32_t>(bytes, at + 16);
  out.max_prepared_transactions = load<std::int32_t>(bytes, at + 20);
  out.max_locks_per_transaction = load<std::int32_t>(bytes, at + 24);
  out.track_commit_timestamp = load<std::uint8_t>(bytes, at + 28) != 0;
  return ok();
}

Status read_geometry(ByteView bytes, std::size_t at, ControlFile& out) {
  out.max_align = load<std::uint32_t>(bytes, at);
  out.float_format = load<double>(bytes, at + 4);
  out.block_size = load<std::uint32_t>(bytes, at + 12);
  out.relation_segment_blocks = load<std::uint32_t>(bytes, at + 16);
  out.wal_block_size = load<std::uint32_t>(bytes, at + 20);
  if (!is_power_of_two_within(out.block_size, 1U << 10, 32U << 10))
    return corrupt(fmt::format("impossible block size {}", out.block_size));
  if (!is_power_of_two_within(out.wal_block_size, 1U << 10, 64U << 10))
    return corrupt(fmt::format("impossible WAL block size {}", out.wal_block_size));
  if (out.relation_segment_blocks == 0) return corrupt("relation segments of no blocks");
  auto segment = WalSegmentSize::of(load<std::uint32_t>(bytes, at + 24));
  if (!segment) return corrupt(segment.failure().message());
  out.wal_segment_size = *segment;
  return ok();
}

}  // namespace

std::string_view cluster_state_name(ClusterState state) {
  switch (state) {
    case ClusterState::StartingUp:
      return "starting up";
    case ClusterState::ShutDown:
      return "shut down";
    case ClusterState::ShutDownInRecovery:
      return "shut down in recovery";
    case ClusterState::ShuttingDown:
      return "shutting down";
    case ClusterState::InCrashRecovery:
      return "in crash recovery";
    case ClusterState::InArchiveRecovery:
      return "in archive recovery";
    case ClusterState::InProduction:
      return "in production";
  }
  return "unknown";
}

std::string_view wal_level_name(WalLevel level) {
  switch (level) {
    case WalLevel::Minimal:
      return "minimal";
    case WalLevel::Replica:
      return "replica";
    case WalLevel::Logical:
      return "logical";
  }
  return "unknown";
}

Result<ControlFile> parse_control_file(ByteView bytes) {
  if (bytes.size() < 16) return corrupt("truncated");
  ControlFile control;
  control.system_identifier = SystemIdentifier(load<std::uint64_t>(bytes, 0));
  control.catalog_version = load<std::uint32_t>(bytes, 12);
  control.version = TRY(version_of(bytes));
  const ControlLayout& at = control.version->control;
  if (bytes.size() < at.crc + sizeof(std::uint32_t)) return corrupt("truncated");
  if (!crc_fits(bytes, at)) return corrupt("the checksum does not fit: torn or damaged");
  TRY(read_status(bytes, control));
  TRY(read_checkpoint(bytes, at.checkpoint_copy, control));
  read_recovery(bytes, at.min_recovery_point, control);
  TRY(read_settings(bytes, at.wal_level, control));
  TRY(read_geometry(bytes, at.max_align, control));
  control.data_checksum_version = load<std::uint32_t>(bytes, at.data_checksum_version);
  return control;
}

Result<ControlFileImage> read_control_file(const fs::path& data_directory, Clock& clock) {
  auto path = data_directory / "global" / "pg_control";
  for (std::size_t attempt = 1;; ++attempt) {
    Bytes bytes = TRY(read_file(path, 1U << 20));
    auto control = parse_control_file(bytes);
    if (control) return ControlFileImage{*control, std::move(bytes)};
    // Also a version that makes no sense may be half of a write.
    if (attempt == kReadsMax) return std::move(control).failure().with_context(path.string());
    clock.sleep(kTornPause);
  }
}

Result<Bytes> control_file_with_system_identifier(ByteView bytes, SystemIdentifier identifier) {
  auto control = TRY(parse_control_file(bytes));
  Bytes changed = to_bytes(bytes);
  auto id = identifier.value();
  std::memcpy(changed.data(), &id, sizeof id);
  auto crc = codec::crc32c(ByteView(changed).first(control.version->control.crc));
  std::memcpy(changed.data() + control.version->control.crc, &crc, sizeof crc);
  return changed;
}

}  // namespace pgmint::postgres

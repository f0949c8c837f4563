#include "postgres/change_collector.h"

#include <fmt/format.h>

#include <algorithm>

#include "postgres/load.h"

namespace pgmint::postgres {
namespace {

constexpr std::uint8_t kSpecialRelUpdate = 0x01;  // XLR_SPECIAL_REL_UPDATE
constexpr std::uint8_t kRmgrInfoMask = 0xF0;

// catalog/storage_xlog.h
constexpr std::uint8_t kSmgrCreate = 0x10;
constexpr std::uint8_t kSmgrTruncate = 0x20;
constexpr std::uint32_t kTruncateHeap = 0x0001;
constexpr std::uint32_t kTruncateVm = 0x0002;
constexpr std::uint32_t kTruncateFsm = 0x0004;

// access/xact.h
constexpr std::uint8_t kXactOpMask = 0x70;
constexpr std::uint8_t kXactCommit = 0x00;
constexpr std::uint8_t kXactAbort = 0x20;
constexpr std::uint8_t kXactCommitPrepared = 0x30;
constexpr std::uint8_t kXactAbortPrepared = 0x40;
constexpr std::uint8_t kXactHasInfo = 0x80;
constexpr std::uint32_t kHasDatabaseInfo = 1U << 0;
constexpr std::uint32_t kHasSubtransactions = 1U << 1;
constexpr std::uint32_t kHasRelations = 1U << 2;
constexpr std::uint32_t kHasInvalidations = 1U << 3;
constexpr std::uint32_t kHasTwoPhase = 1U << 4;
constexpr std::uint32_t kHasDroppedStats = 1U << 8;
constexpr std::size_t kInvalidationSize = 16;  // SharedInvalidationMessage
constexpr std::size_t kLocatorSize = 12;

// catalog/pg_control.h
constexpr std::uint8_t kXlogCheckpointShutdown = 0x00;
constexpr std::uint8_t kXlogParameterChange = 0x60;
constexpr std::uint8_t kXlogRestorePoint = 0x70;
constexpr std::uint8_t kXlogEndOfRecovery = 0x90;
constexpr std::uint8_t kXlogCheckpointRedo = 0xE0;

constexpr std::int64_t kPostgresEpoch = 946'684'800;  // 2000-01-01 in Unix seconds
constexpr std::int64_t kTimeMax = 253'402'300'799'000'000 - kPostgresEpoch * 1'000'000;

/// TimestampTz; nullopt for what is no time between 2000 and 9999.
std::optional<TimePoint> time_of(std::int64_t timestamp) {
  if (timestamp < 0 || timestamp > kTimeMax) return std::nullopt;
  return TimePoint(std::chrono::seconds(kPostgresEpoch) + std::chrono::microseconds(timestamp));
}

RelationLocator locator_at(ByteView data, std::size_t at) {
  return {Oid(load<std::uint32_t>(data, at)), Oid(load<std::uint32_t>(data, at + 4)),
          Oid(load<std::uint32_t>(data, at + 8))};
}

/// Walks the variable parts of a commit record; runs dry instead of past the end.
class CommitReader {
 public:
  explicit CommitReader(ByteView data) : data_(data) {}
  std::optional<std::uint32_t> number() {
    auto bytes = take(4);
    if (!bytes) return std::nullopt;
    return load<std::uint32_t>(*bytes, 0);
  }
  std::optional<ByteView> take(std::uint64_t size) {
    if (size > data_.size()) return std::nullopt;
    auto bytes = data_.first(size);
    data_ = data_.subspan(size);
    return bytes;
  }
  /// A count and that many elements.
  std::optional<ByteView> list(std::size_t element) {
    auto count = number();
    if (!count) return std::nullopt;
    return take(std::uint64_t{*count} * element);
  }

 private:
  ByteView data_;
};

struct CommitParts {
  ByteView dropped;  ///< locators
  std::optional<TransactionId> twophase_xid;
  bool whole = true;
};

/// Behind the time of an xl_xact_commit (ParseCommitRecord in xactdesc.c).
CommitParts commit_parts(ByteView data, bool has_info, std::size_t stats_item) {
  CommitParts parts;
  if (!has_info) return parts;
  CommitReader reader(data);
  auto flags = reader.number();
  auto missing = [&] {
    parts.whole = false;
    return parts;
  };
  if (!flags) return missing();
  if ((*flags & kHasDatabaseInfo) != 0 && !reader.take(8)) return missing();
  if ((*flags & kHasSubtransactions) != 0 && !reader.list(4)) return missing();
  if ((*flags & kHasRelations) != 0) {
    auto dropped = reader.list(kLocatorSize);
    if (!dropped) return missing();
    parts.dropped = *dropped;
  }
  if ((*flags & kHasTwoPhase) == 0) return parts;
  if ((*flags & kHasDroppedStats) != 0 && stats_item != 0 && !reader.list(stats_item)) return missing();
  if ((*flags & kHasInvalidations) != 0 && !reader.list(kInvalidationSize)) return missing();
  auto xid = reader.number();
  if (!xid) return missing();
  parts.twophase_xid = TransactionId(*xid);
  return parts;
}

}  // namespace

void LimitCollector::add(const RelationFork& where, BlockNumber limit) {
  auto [at, is_new] = limits_.try_emplace(where, limit);
  if (!is_new) at->second = std::min(at->second, limit);
}

std::vector<LimitBlock> LimitCollector::take() const {
  std::vector<LimitBlock> result;
  result.reserve(limits_.size());
  for (const auto& [where, limit] : limits_) result.push_back({where, limit});
  return result;
}

void ChangeCollector::set_void(std::string reason) {
  if (!void_reason) void_reason = std::move(reason);
}

void ChangeCollector::not_understood(const WalRecord& record, std::string_view why) {
  set_void(fmt::format("record at {}, resource manager {}, info {:02X}: {}", format(record.start), record.header.rmgr,
                       record.header.info, why));
}

void ChangeCollector::add_commit(const CommitPoint& commit) {
  if (!first_commit || commit.time < first_commit->time) first_commit = commit;
  if (!last_commit || commit.time >= last_commit->time) last_commit = commit;
}

void ChangeCollector::add_event(RelationEvent event) {
  if (events.size() < kEventsMax) {
    events.push_back(event);
  } else {
    ++events_omitted;
  }
}

void ChangeCollector::add(const WalRecord& record) {
  if (record.header.xid.value() != 0) last_xid = record.header.xid;
  if (record.header.rmgr > version_.wal.last_builtin_rmgr) {
    not_understood(record, "a resource manager of an extension");
    return;
  }
  for (const auto& reference : record.layout.blocks) blocks.add(reference.where, reference.block);
  switch (record.header.rmgr) {
    case static_cast<std::uint8_t>(Rmgr::Smgr):
      add_smgr(record);
      return;
    case static_cast<std::uint8_t>(Rmgr::Dbase):
      add_database(record);
      return;
    case static_cast<std::uint8_t>(Rmgr::Xact):
      add_transaction(record);
      return;
    case static_cast<std::uint8_t>(Rmgr::Xlog):
      add_xlog(record);
      break;
    default:
      break;
  }
  if ((record.header.info & kSpecialRelUpdate) != 0)
    not_understood(record, "it changes relation files in a way unknown here");
}

void ChangeCollector::add_smgr(const WalRecord& record) {
  const ByteView data = record.main_data;
  const auto operation = record.header.info & kRmgrInfoMask;
  if (operation == kSmgrCreate && data.size() >= kLocatorSize + 4) {
    auto fork = load<std::uint32_t>(data, kLocatorSize);
    if (fork > static_cast<std::uint32_t>(Fork::Init)) return not_understood(record, "no such fork");
    limits.add({locator_at(data, 0), static_cast<Fork>(fork)}, 0);
  } else if (operation == kSmgrTruncate && data.size() >= 4 + kLocatorSize + 4) {
    auto block = load<std::uint32_t>(data, 0);
    auto locator = locator_at(data, 4);
    auto flags = load<std::uint32_t>(data, 4 + kLocatorSize);
    if ((flags & kTruncateHeap) != 0) {
      limits.add({locator, Fork::Main}, block);
      add_event({.kind = RelationEvent::Kind::Truncate,
                 .start = record.start,
                 .xid = record.header.xid,
                 .time = std::nullopt,
                 .locator = locator,
                 .blocks = block});
    }
    // Where a map is cut depends on its layout; both maps are read whole anyway (POSTGRES rule 10).
    if ((flags & kTruncateVm) != 0) limits.add({locator, Fork::VisibilityMap}, 0);
    if ((flags & kTruncateFsm) != 0) limits.add({locator, Fork::FreeSpaceMap}, 0);
  } else {
    not_understood(record, "an unknown change of storage");
  }
}

void ChangeCollector::add_database(const WalRecord& record) {
  const ByteView data = record.main_data;
  const std::uint8_t operation = record.header.info & kRmgrInfoMask;
  const WalCodes& codes = version_.wal;
  auto changed = [&](RelationEvent::Kind kind, Oid tablespace, Oid database) {
    RelationLocator locator{tablespace, database, Oid(0)};
    limits.add({locator, Fork::Main}, 0);
    add_event({.kind = kind,
               .start = record.start,
               .xid = record.header.xid,
               .time = std::nullopt,
               .locator = locator,
               .blocks = 0});
  };
  if ((operation == codes.dbase_create_file_copy || operation == codes.dbase_create_wal_log) && data.size() >= 8) {
    changed(RelationEvent::Kind::DatabaseCreate, Oid(load<std::uint32_t>(data, 4)), Oid(load<std::uint32_t>(data, 0)));
  } else if (operation == codes.dbase_drop && data.size() >= 8) {
    auto database = Oid(load<std::uint32_t>(data, 0));
    std::uint64_t count = load<std::uint32_t>(data, 4);
    if (data.size() < 8 + 4 * count) return not_understood(record, "a list of tablespaces that was not kept whole");
    for (std::size_t n = 0; n < count; ++n)
      changed(RelationEvent::Kind::DatabaseDrop, Oid(load<std::uint32_t>(data, 8 + 4 * n)), database);
  } else {
    not_understood(record, "an unknown change of a database");
  }
}

void ChangeCollector::add_transaction(const WalRecord& record) {
  const auto operation = record.header.info & kXactOpMask;
  const bool commits = operation == kXactCommit || operation == kXactCommitPrepared;
  if (!commits) {
    // Files that an abort removes were made by the same transaction; reuse of their numbers logs SMGR_CREATE.
    if (operation != kXactAbort && operation != kXactAbortPrepared && (record.header.info & kSpecialRelUpdate) != 0)
      not_understood(record, "it changes relation files in a way unknown here");
    return;
  }
  const ByteView data = record.main_data;
  if (data.size() < 8) {
    ++events_omitted;
    return;
  }
  auto time = time_of(load<std::int64_t>(data, 0));
  auto parts = commit_parts(data.subspan(8), (record.header.info & kXactHasInfo) != 0, version_.wal.dropped_stats_item);
  if (!parts.whole) ++events_omitted;
  TransactionId xid = parts.twophase_xid.value_or(record.header.xid);
  if (time) add_commit({.end = record.end, .xid = xid, .time = *time});
  for (std::size_t at = 0; at < parts.dropped.size(); at += kLocatorSize)
    add_event({.kind = RelationEvent::Kind::Drop,
               .start = record.start,
               .xid = xid,
               .time = time,
               .locator = locator_at(parts.dropped, at),
               .blocks = 0});
}

void ChangeCollector::add_xlog(const WalRecord& record) {
  const ByteView data = record.main_data;
  if (data.size() != record.layout.main_data_length) return not_understood(record, "it was not kept whole");
  switch (record.header.info & kRmgrInfoMask) {
    case kXlogRestorePoint: {
      if (data.size() <= 8) return;
      auto name = as_text(data.subspan(8));
      auto time = time_of(load<std::int64_t>(data, 0));
      if (time) restore_points.push_back({std::string(name.substr(0, name.find('\0'))), record.end, *time});
      return;
    }
    case kXlogParameterChange:
      return check_wal_level(record, 20);
    case kXlogCheckpointShutdown:
      if (version_.wal.checkpoint_has_wal_level) check_wal_level(record, 20);
      return;
    case kXlogEndOfRecovery:
      if (version_.wal.checkpoint_has_wal_level) check_wal_level(record, 16);
      return;
    case kXlogCheckpointRedo:
      if (version_.wal.has_checkpoint_redo) check_wal_level(record, 0);
      return;
    default:
      return;
  }
}

void ChangeCollector::check_wal_level(const WalRecord& record, std::size_t offset) {
  if (record.main_data.size() < offset + 4) return not_understood(record, "too short for its kind");
  if (load<std::uint32_t>(record.main_data, offset) == static_cast<std::uint32_t>(WalLevel::Minimal))
    set_void(fmt::format("wal_level was minimal at {}: changes went unlogged", format(record.start)));
}

}  // namespace pgmint::postgres

// The encoded form of a WalSummary: docs/format/wal-summary.md.
#include <fmt/format.h>

#include <limits>

#include "codec/binary.h"
#include "postgres/wal_summary.h"

namespace pgmint::postgres {
namespace {

using codec::BinaryReader;
using codec::BinaryWriter;

constexpr std::uint8_t kVersion = 1;
constexpr std::size_t kTextMax = 1024;
constexpr std::size_t kRestorePointNameMax = 64;
constexpr std::size_t kFieldMax = 256U << 20;

/// Odd fields must be understood, even ones may be passed over.
enum Field : std::uint64_t {
  kIdentity = 1,
  kFirstCommit = 2,
  kPositions = 3,
  kLastCommit = 4,
  kBlocks = 5,
  kLastXid = 6,
  kLimits = 7,
  kRestorePoints = 8,
  kLeading = 9,
  kEvents = 10,
  kTrailing = 11,
  kEventsOmitted = 12,
  kVoidReason = 13
};

enum PositionFlag : std::uint8_t { kSwitch = 1, kLeadingContinues = 2, kOverwritesFragment = 4, kAllPositionFlags = 7 };

void put(BinaryWriter& out, const RelationLocator& locator) {
  out.varint(locator.tablespace.value());
  out.varint(locator.database.value());
  out.varint(locator.relation.value());
}
void put(BinaryWriter& out, const RelationFork& fork) {
  put(out, fork.locator);
  out.u8(static_cast<std::uint8_t>(fork.fork));
}
void put(BinaryWriter& out, const CommitPoint& commit) {
  out.varint(commit.end.value());
  out.varint(commit.xid.value());
  out.signed_varint(commit.time.time_since_epoch().count());
}
void put(BinaryWriter& out, const RecordFragment& fragment) {
  out.varint(fragment.start.value());
  out.varint(fragment.remaining);
  out.u32(fragment.crc.value);
  out.varint(fragment.crc.length);
  out.bytes(fragment.head);
}
void put(BinaryWriter& out, const RelationEvent& event) {
  out.u8(static_cast<std::uint8_t>(event.kind));
  out.varint(event.start.value());
  out.varint(event.xid.value());
  out.u8(event.time ? 1 : 0);
  if (event.time) out.signed_varint(event.time->time_since_epoch().count());
  put(out, event.locator);
  out.varint(event.blocks);
}

Result<std::uint32_t> u32_of(BinaryReader& in) {
  auto value = TRY(in.varint());
  if (value > std::numeric_limits<std::uint32_t>::max()) return in.corrupt("a number of more than 32 bits");
  return static_cast<std::uint32_t>(value);
}
Result<Lsn> lsn_of(BinaryReader& in) {
  return Lsn(TRY(in.varint()));
}
Result<TimePoint> time_of(BinaryReader& in) {
  return TimePoint(std::chrono::microseconds(TRY(in.signed_varint())));
}

Result<RelationLocator> locator_of(BinaryReader& in) {
  RelationLocator locator;
  locator.tablespace = Oid(TRY(u32_of(in)));
  locator.database = Oid(TRY(u32_of(in)));
  locator.relation = Oid(TRY(u32_of(in)));
  return locator;
}
Result<RelationFork> fork_of(BinaryReader& in) {
  RelationFork fork;
  fork.locator = TRY(locator_of(in));
  auto number = TRY(in.u8());
  if (number > static_cast<std::uint8_t>(Fork::Init)) return in.corrupt("no such fork");
  fork.fork = static_cast<Fork>(number);
  return fork;
}
Result<CommitPoint> commit_of(BinaryReader& in) {
  CommitPoint commit;
  commit.end = TRY(lsn_of(in));
  commit.xid = TransactionId(TRY(u32_of(in)));
  commit.time = TRY(time_of(in));
  return commit;
}
Result<RecordFragment> fragment_of(BinaryReader& in) {
  RecordFragment fragment;
  fragment.start = TRY(lsn_of(in));
  fragment.remaining = TRY(u32_of(in));
  fragment.crc.value = TRY(in.u32());
  fragment.crc.length = TRY(in.varint());
  fragment.head = to_bytes(TRY(in.bytes(kFragmentKeepMax)));
  if (fragment.crc.length < fragment.head.size() || fragment.crc.length > fragment.remaining ||
      fragment.remaining > kRecordLengthMax)
    return in.corrupt("a fragment of impossible lengths");
  return fragment;
}
Result<RelationEvent> event_of(BinaryReader& in) {
  RelationEvent event;
  auto kind = TRY(in.u8());
  if (kind > static_cast<std::uint8_t>(RelationEvent::Kind::DatabaseCreate)) return in.corrupt("no such event");
  event.kind = static_cast<RelationEvent::Kind>(kind);
  event.start = TRY(lsn_of(in));
  event.xid = TransactionId(TRY(u32_of(in)));
  auto has_time = TRY(in.u8());
  if (has_time > 1) return in.corrupt("a flag that is none");
  if (has_time == 1) event.time = TRY(time_of(in));
  event.locator = TRY(locator_of(in));
  event.blocks = TRY(u32_of(in));
  return event;
}

Result<std::vector<ForkBlocks>> blocks_of(BinaryReader& in) {
  std::vector<ForkBlocks> forks(TRY(in.count(6)));
  for (std::size_t n = 0; n < forks.size(); ++n) {
    ForkBlocks& fork = forks[n];
    fork.where = TRY(fork_of(in));
    if (n > 0 && !(forks[n - 1].where < fork.where)) return in.corrupt("forks out of order");
    fork.blocks.resize(TRY(in.count(1)));
    if (fork.blocks.empty()) return in.corrupt("a fork without blocks");
    std::uint64_t next = 0;
    for (auto& block : fork.blocks) {
      next += TRY(in.varint());
      if (next > std::numeric_limits<BlockNumber>::max()) return in.corrupt("no such block");
      block = static_cast<BlockNumber>(next++);
    }
  }
  return forks;
}

Result<std::vector<LimitBlock>> limits_of(BinaryReader& in) {
  std::vector<LimitBlock> limits(TRY(in.count(5)));
  for (std::size_t n = 0; n < limits.size(); ++n) {
    limits[n].where = TRY(fork_of(in));
    limits[n].limit = TRY(u32_of(in));
    if (n > 0 && !(limits[n - 1].where < limits[n].where)) return in.corrupt("limits out of order");
  }
  return limits;
}

Status read_identity(BinaryReader& in, WalSummary& summary) {
  summary.major = static_cast<int>(TRY(in.u8()));
  summary.system_identifier = SystemIdentifier(TRY(in.u64()));
  summary.timeline = TimelineId(TRY(u32_of(in)));
  summary.segment = SegmentNumber(TRY(in.varint()));
  summary.segment_size = TRY(WalSegmentSize::of(TRY(in.varint())));
  summary.wal_block_size = TRY(u32_of(in));
  return ok();
}

Status read_positions(BinaryReader& in, WalSummary& summary) {
  summary.first_record = TRY(lsn_of(in));
  summary.first_previous = TRY(lsn_of(in));
  summary.last_record = TRY(lsn_of(in));
  summary.last_complete = TRY(lsn_of(in));
  summary.end = TRY(lsn_of(in));
  auto flags = TRY(in.u8());
  if ((flags & ~kAllPositionFlags) != 0) return in.corrupt("unknown flags");
  summary.ends_with_switch = (flags & kSwitch) != 0;
  summary.leading_continues = (flags & kLeadingContinues) != 0;
  summary.overwrites_fragment = (flags & kOverwritesFragment) != 0;
  return ok();
}

Status read_restore_points(BinaryReader& in, WalSummary& summary) {
  auto count = TRY(in.count(3));
  for (std::size_t n = 0; n < count; ++n) {
    RestorePoint point;
    point.name = TRY(in.text(kRestorePointNameMax));
    point.end = TRY(lsn_of(in));
    point.time = TRY(time_of(in));
    summary.restore_points.push_back(std::move(point));
  }
  return ok();
}

Status read_events(BinaryReader& in, WalSummary& summary) {
  auto count = TRY(in.count(8));
  if (count > kEventsMax) return in.corrupt("more events than are ever kept");
  for (std::size_t n = 0; n < count; ++n) summary.events.push_back(TRY(event_of(in)));
  return ok();
}

Status read_field(std::uint64_t field, BinaryReader& in, WalSummary& summary) {
  switch (field) {
    case kIdentity:
      TRY(read_identity(in, summary));
      break;
    case kFirstCommit:
      summary.first_commit = TRY(commit_of(in));
      break;
    case kPositions:
      TRY(read_positions(in, summary));
      break;
    case kLastCommit:
      summary.last_commit = TRY(commit_of(in));
      break;
    case kBlocks:
      summary.blocks = TRY(blocks_of(in));
      break;
    case kLastXid:
      summary.last_xid = TransactionId(TRY(u32_of(in)));
      break;
    case kLimits:
      summary.limits = TRY(limits_of(in));
      break;
    case kRestorePoints:
      TRY(read_restore_points(in, summary));
      break;
    case kLeading:
      summary.leading = TRY(fragment_of(in));
      break;
    case kEvents:
      TRY(read_events(in, summary));
      break;
    case kTrailing:
      summary.trailing = TRY(fragment_of(in));
      break;
    case kEventsOmitted:
      summary.events_omitted = TRY(in.varint());
      break;
    case kVoidReason:
      summary.void_reason = TRY(in.text(kTextMax));
      break;
    default:
      if (field % 2 == 1)
        return Error(Errc::Precondition, fmt::format("WAL summary: field {} was written by a newer pgmint", field),
                     Hint{"install the newer pgmint"});
      return ok();
  }
  return in.expect_end();
}

template <class T, class Put>
void put_list(BinaryWriter& out, const std::vector<T>& list, Put put_one) {
  out.varint(list.size());
  for (const auto& item : list) put_one(item);
}

}  // namespace

Bytes encode_summary(const WalSummary& summary) {
  BinaryWriter fields;
  std::uint64_t count = 0;
  auto field = [&](Field number, auto fill) {
    BinaryWriter content;
    fill(content);
    fields.varint(number);
    fields.bytes(content.view());
    ++count;
  };
  field(kIdentity, [&](BinaryWriter& w) {
    w.u8(static_cast<std::uint8_t>(summary.major));
    w.u64(summary.system_identifier.value());
    w.varint(summary.timeline.value());
    w.varint(summary.segment.value());
    w.varint(summary.segment_size.bytes());
    w.varint(summary.wal_block_size);
  });
  if (summary.first_commit) field(kFirstCommit, [&](BinaryWriter& w) { put(w, *summary.first_commit); });
  field(kPositions, [&](BinaryWriter& w) {
    for (Lsn lsn :
         {summary.first_record, summary.first_previous, summary.last_record, summary.last_complete, summary.end})
      w.varint(lsn.value());
    w.u8(static_cast<std::uint8_t>((summary.ends_with_switch ? kSwitch : 0) |
                                   (summary.leading_continues ? kLeadingContinues : 0) |
                                   (summary.overwrites_fragment ? kOverwritesFragment : 0)));
  });
  if (summary.last_commit) field(kLastCommit, [&](BinaryWriter& w) { put(w, *summary.last_commit); });
  if (!summary.blocks.empty())
    field(kBlocks, [&](BinaryWriter& w) {
      put_list(w, summary.blocks, [&](const ForkBlocks& fork) {
        put(w, fork.where);
        w.varint(fork.blocks.size());
        std::uint64_t next = 0;
        for (BlockNumber block : fork.blocks) {
          w.varint(block - next);
          next = std::uint64_t{block} + 1;
        }
      });
    });
  if (summary.last_xid) field(kLastXid, [&](BinaryWriter& w) { w.varint(summary.last_xid->value()); });
  if (!summary.limits.empty())
    field(kLimits, [&](BinaryWriter& w) {
      put_list(w, summary.limits, [&](const LimitBlock& limit) {
        put(w, limit.where);
        w.varint(limit.limit);
      });
    });
  if (!summary.restore_points.empty())
    field(kRestorePoints, [&](BinaryWriter& w) {
      put_list(w, summary.restore_points, [&](const RestorePoint& point) {
        w.text(std::string_view(point.name).substr(0, kRestorePointNameMax));
        w.varint(point.end.value());
        w.signed_varint(point.time.time_since_epoch().count());
      });
    });
  if (summary.leading) field(kLeading, [&](BinaryWriter& w) { put(w, *summary.leading); });
  if (!summary.events.empty())
    field(kEvents,
          [&](BinaryWriter& w) { put_list(w, summary.events, [&](const RelationEvent& event) { put(w, event); }); });
  if (summary.trailing) field(kTrailing, [&](BinaryWriter& w) { put(w, *summary.trailing); });
  if (summary.events_omitted != 0) field(kEventsOmitted, [&](BinaryWriter& w) { w.varint(summary.events_omitted); });
  if (summary.void_reason)
    field(kVoidReason, [&](BinaryWriter& w) { w.text(std::string_view(*summary.void_reason).substr(0, kTextMax)); });
  BinaryWriter out;
  out.u8(kVersion);
  out.varint(count);
  out.raw(fields.view());
  return out.take();
}

Result<WalSummary> decode_summary(ByteView bytes) {
  BinaryReader reader(bytes, "WAL summary");
  auto version = TRY(reader.u8());
  if (version == 0) return reader.corrupt("version 0");
  if (version > kVersion)
    return Error(Errc::Precondition, fmt::format("WAL summary of version {}: written by a newer pgmint", version),
                 Hint{"install the newer pgmint"});
  WalSummary summary;
  std::uint64_t last = 0;
  bool has_identity = false, has_positions = false;
  for (auto left = TRY(reader.count(2)); left > 0; --left) {
    auto field = TRY(reader.varint());
    if (field <= last) return reader.corrupt("fields out of order");
    last = field;
    BinaryReader content(TRY(reader.bytes(kFieldMax)), "WAL summary");
    TRY(read_field(field, content, summary));
    has_identity = has_identity || field == kIdentity;
    has_positions = has_positions || field == kPositions;
  }
  TRY(reader.expect_end());
  if (!has_identity || !has_positions) return reader.corrupt("identity or positions are missing");
  return summary;
}

}  // namespace pgmint::postgres

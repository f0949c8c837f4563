#include "repository/log_content.h"

#include <fmt/format.h>

#include <algorithm>

#include "repository/field_list.h"

namespace pgmint::repository {
namespace {

constexpr std::size_t kTextMax = 4096;
constexpr std::size_t kNameMax = 512;
constexpr std::size_t kPackRefMin = 16 + 1;
constexpr std::size_t kPackSummaryMin = 16 + 1 + 1 + 32;
constexpr std::uint64_t kActorLabelTag = 2;
constexpr std::uint64_t kCommandTag = 4;
constexpr std::uint64_t kWindowFloorTag = 6;  ///< of FLOOR and GENESIS
constexpr std::uint64_t kPacksReadTag = 6;    ///< of AUDIT
constexpr std::uint64_t kCommandRunTag = 8;   ///< of AUDIT
constexpr std::uint64_t kWalReadTag = 10;     ///< of AUDIT

// --- writing

/// Fields in any order; the list wants them ascending.
class Fields {
 public:
  void raw(std::uint64_t tag, ByteView value) { fields_.emplace_back(tag, to_bytes(value)); }
  void text(std::uint64_t tag, std::string_view value) { raw(tag, as_bytes(value)); }
  void id(std::uint64_t tag, const SessionId& id) { raw(tag, id.bytes); }
  void u8(std::uint64_t tag, std::uint8_t v) { with(tag, [&](auto& out) { out.u8(v); }); }
  void u32(std::uint64_t tag, std::uint32_t v) { with(tag, [&](auto& out) { out.u32(v); }); }
  void u64(std::uint64_t tag, std::uint64_t v) { with(tag, [&](auto& out) { out.u64(v); }); }
  void time(std::uint64_t tag, TimePoint t) { u64(tag, static_cast<std::uint64_t>(t.time_since_epoch().count())); }
  template <class F>
  void with(std::uint64_t tag, F&& fill) {
    codec::BinaryWriter out;
    fill(out);
    fields_.emplace_back(tag, out.take());
  }
  Bytes take() {
    std::stable_sort(fields_.begin(), fields_.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    FieldWriter writer;
    for (const auto& [tag, value] : fields_) writer.add(tag, value);
    return writer.take();
  }

 private:
  std::vector<std::pair<std::uint64_t, Bytes>> fields_;
};

/// At most kTextMax bytes, not cut inside a UTF-8 sequence.
std::string_view shortened(std::string_view text) {
  if (text.size() <= kTextMax) return text;
  std::size_t end = kTextMax;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  return text.substr(0, end);
}

void write_packs(codec::BinaryWriter& out, const std::vector<PackSummary>& packs) {
  out.varint(packs.size());
  for (const auto& pack : packs) {
    out.raw(pack.id.session.bytes);
    out.varint(pack.id.number);
    out.varint(pack.size);
    out.raw(pack.sha256);
  }
}

void write_packs(codec::BinaryWriter& out, const std::vector<PackId>& packs) {
  out.varint(packs.size());
  for (const auto& pack : packs) {
    out.raw(pack.session.bytes);
    out.varint(pack.number);
  }
}

void add_fields(Fields& fields, const SnapEntry& e) {
  fields.id(1, e.session);
  fields.raw(3, e.root_sha256);
  fields.text(5, e.name);
  fields.u8(7, static_cast<std::uint8_t>(e.type));
  fields.with(9, [&](auto& out) { write_packs(out, e.added); });
  fields.with(11, [&](auto& out) { write_packs(out, e.removed); });
  fields.with(13, [&](auto& out) {
    out.u32(e.timeline);
    out.u64(e.start_lsn);
    out.u64(e.stop_lsn);
  });
  fields.time(15, e.retain_until);
  fields.with(17, [&](auto& out) {
    out.u64(e.system_id);
    out.u32(e.incarnation.value());
  });
  fields.u64(19, e.root_size);
}

void add_fields(Fields& fields, const BeginEntry& e) {
  fields.id(1, e.session);
  fields.u8(3, static_cast<std::uint8_t>(e.purpose));
  if (e.parent) fields.id(5, *e.parent);
  fields.time(7, e.lease_until);
}
void add_fields(Fields& fields, const RenewEntry& e) {
  fields.id(1, e.session);
  fields.time(3, e.lease_until);
}
void add_fields(Fields& fields, const EndEntry& e) { fields.id(1, e.session); }
void add_fields(Fields& fields, const ForgetEntry& e) { fields.id(1, e.snapshot); }
void add_fields(Fields& fields, const HoldEntry& e) {
  fields.id(1, e.snapshot);
  fields.text(3, shortened(e.reason));
  if (e.until) fields.time(5, *e.until);
}
void add_fields(Fields& fields, const ReleaseEntry& e) { fields.id(1, e.snapshot); }
void add_fields(Fields& fields, const PurgeEntry& e) {
  fields.with(1, [&](auto& out) { write_packs(out, e.packs); });
}
void add_fields(Fields& fields, const AbortEntry& e) { fields.id(1, e.session); }
void add_fields(Fields& fields, const EnrolEntry& e) {
  fields.raw(1, e.key);
  fields.u64(3, e.kinds);
  fields.u8(5, static_cast<std::uint8_t>(e.role));
  fields.text(6, shortened(e.label));
}
void add_fields(Fields& fields, const RevokeEntry& e) { fields.raw(1, e.key); }
void add_fields(Fields& fields, const AdoptEntry& e) {
  fields.u64(1, e.system_id);
  fields.u32(3, e.incarnation.value());
  fields.text(5, shortened(e.reason));
}
void add_floor_lines(Fields& fields, std::uint64_t tag, const std::vector<FloorLine>& lines) {
  for (const auto& line : lines) {
    fields.with(tag, [&](auto& out) {
      out.u64(line.system_id);
      out.u32(line.incarnation.value());
      out.u32(line.timeline);
      out.u64(line.lsn);
    });
  }
}
void add_fields(Fields& fields, const FloorEntry& e) {
  add_floor_lines(fields, 1, e.lines);
  add_floor_lines(fields, kWindowFloorTag, e.window_lines);
}
void add_fields(Fields& fields, const AuditEntry& e) {
  fields.text(1, shortened(e.event));
  fields.text(3, shortened(e.detail));
  for (const auto& packs : e.packs)
    fields.with(kPacksReadTag, [&](auto& out) {
      out.u8(static_cast<std::uint8_t>(packs.depth));
      out.u8(packs.damaged ? 1 : 0);
      out.u64(static_cast<std::uint64_t>(packs.read.time_since_epoch().count()));
      out.u64(packs.seen);
      write_pack_runs(out, packs.packs);
    });
  if (e.run)
    fields.with(kCommandRunTag, [&](auto& out) {
      out.text(shortened(e.run->operation));
      out.text(shortened(e.run->origin));
      out.u32(e.run->exit_code);
      out.u64(static_cast<std::uint64_t>(e.run->began.time_since_epoch().count()));
    });
  for (const auto& wal : e.wal)
    fields.with(kWalReadTag, [&](auto& out) {
      out.u8(static_cast<std::uint8_t>(wal.depth));
      out.u8(wal.damaged ? 1 : 0);
      out.u64(static_cast<std::uint64_t>(wal.read.time_since_epoch().count()));
      out.u64(wal.seen);
      write_wal_runs(out, wal.runs);
    });
}

template <class E>
Bytes field_list_of(const E& entry) {
  Fields fields;
  add_fields(fields, entry);
  return fields.take();
}

void add_fields(Fields& fields, const GenesisEntry& e) {
  fields.text(1, e.cluster_name);
  fields.u64(3, e.system_id);
  fields.raw(5, e.root_key);
  for (const auto& snap : e.snapshots) fields.raw(7, field_list_of(snap));
  if (e.previous_generation != crypto::Digest{}) fields.raw(9, e.previous_generation);
  fields.u32(11, e.incarnation.value());
  for (const auto& enrolment : e.enrolments) fields.raw(13, field_list_of(enrolment));
  for (const auto& hold : e.holds) fields.raw(15, field_list_of(hold));
  add_floor_lines(fields, 17, e.floors);
  add_floor_lines(fields, kWindowFloorTag, e.window_floors);
  for (const auto& session : e.known_sessions) fields.id(19, session);
}

// --- reading

/// A value that has a meaning for somebody: not damage, and not to be passed over.
Error newer(const std::string& what) {
  return Error(Errc::Precondition, fmt::format("a log entry has {}, which this pgmint does not know", what),
               Hint{"a newer pgmint wrote it: upgrade this one"});
}

Result<SessionId> session_of(const FieldReader& fields, std::uint64_t tag) {
  SessionId id;
  id.bytes = TRY(fields.array<16>(tag));
  return id;
}

/// Above 2^63 the conversion wraps to a time before 1970, which compares as long past: nothing relies on it.
TimePoint time_of(std::uint64_t value) { return TimePoint(std::chrono::microseconds(static_cast<std::int64_t>(value))); }

Result<TimePoint> time_of(const FieldReader& fields, std::uint64_t tag) { return time_of(TRY(fields.u64(tag))); }

Result<PackId> read_pack_id(codec::BinaryReader& in) {
  PackId id;
  id.session.bytes = TRY(in.array<16>());
  const auto number = TRY(in.varint());
  if (number > UINT32_MAX) return in.corrupt("a pack number exceeds 32 bits");
  id.number = static_cast<std::uint32_t>(number);
  return id;
}

Result<std::vector<PackSummary>> read_pack_summaries(ByteView value) {
  codec::BinaryReader in(value, "packs of a log entry");
  std::vector<PackSummary> packs(TRY(in.count(kPackSummaryMin)));
  for (auto& pack : packs) {
    pack.id = TRY(read_pack_id(in));
    pack.size = TRY(in.varint());
    pack.sha256 = TRY(in.array<32>());
  }
  TRY(in.expect_end());
  return packs;
}

Result<std::vector<PackId>> read_pack_ids(ByteView value) {
  codec::BinaryReader in(value, "packs of a log entry");
  std::vector<PackId> packs(TRY(in.count(kPackRefMin)));
  for (auto& pack : packs) pack = TRY(read_pack_id(in));
  TRY(in.expect_end());
  return packs;
}

Result<std::vector<FloorLine>> read_floor_lines(const FieldReader& fields, std::uint64_t tag) {
  std::vector<FloorLine> lines;
  for (auto value : fields.all(tag)) {
    codec::BinaryReader in(value, "floor of a log entry");
    FloorLine line;
    line.system_id = TRY(in.u64());
    line.incarnation = Incarnation(TRY(in.u32()));
    line.timeline = TRY(in.u32());
    line.lsn = TRY(in.u64());
    TRY(in.expect_end());
    lines.push_back(line);
  }
  return lines;
}

Result<BackupType> backup_type_of(const FieldReader& fields, std::uint64_t tag) {
  const auto value = TRY(fields.u8(tag));
  if (value < 1 || value > 4)
    return newer(fmt::format("backup type {}", value));
  return static_cast<BackupType>(value);
}

/// One whole field list; even tags that are not named are passed over.
Result<FieldReader> fields_of(ByteView list, EntryKind kind, std::initializer_list<std::uint64_t> known) {
  const auto what = fmt::format("log entry {}", entry_kind_name(kind));
  codec::BinaryReader in(list, what);
  auto fields = TRY(FieldReader::parse(in, what, known));
  TRY(in.expect_end());
  return fields;
}

Result<SnapEntry> read_snap(ByteView list) {
  const auto fields = TRY(fields_of(list, EntryKind::Snap, {1, 3, 5, 7, 9, 11, 13, 15, 17, 19}));
  SnapEntry e;
  e.session = TRY(session_of(fields, 1));
  e.root_sha256 = TRY(fields.array<32>(3));
  e.name = TRY(fields.text(5, kNameMax));
  e.type = TRY(backup_type_of(fields, 7));
  e.added = TRY(read_pack_summaries(TRY(fields.value(9))));
  e.removed = TRY(read_pack_ids(TRY(fields.value(11))));
  codec::BinaryReader positions(TRY(fields.value(13)), "positions of a log entry");
  e.timeline = TRY(positions.u32());
  e.start_lsn = TRY(positions.u64());
  e.stop_lsn = TRY(positions.u64());
  TRY(positions.expect_end());
  e.retain_until = TRY(time_of(fields, 15));
  codec::BinaryReader identity(TRY(fields.value(17)), "identity of a log entry");
  e.system_id = TRY(identity.u64());
  e.incarnation = Incarnation(TRY(identity.u32()));
  TRY(identity.expect_end());
  e.root_size = TRY(fields.u64(19));
  return e;
}

Result<EnrolEntry> read_enrol(ByteView list) {
  const auto fields = TRY(fields_of(list, EntryKind::Enrol, {1, 3, 5, 6}));
  EnrolEntry e;
  e.key = TRY(fields.array<32>(1));
  e.kinds = TRY(fields.u64(3));
  const auto role = TRY(fields.u8(5));
  if (role < 1 || role > 3) return newer(fmt::format("role {}", role));
  e.role = static_cast<Role>(role);
  e.label = TRY(fields.optional_text(6));
  return e;
}

Result<HoldEntry> read_hold(ByteView list) {
  const auto fields = TRY(fields_of(list, EntryKind::Hold, {1, 3, 5}));
  HoldEntry e{TRY(session_of(fields, 1)), TRY(fields.text(3))};
  if (fields.has(5)) e.until = TRY(time_of(fields, 5));
  return e;
}

Result<GenesisEntry> read_genesis(ByteView list) {
  const auto fields = TRY(fields_of(list, EntryKind::Genesis, {1, 3, 5, kWindowFloorTag, 7, 9, 11, 13, 15, 17, 19}));
  GenesisEntry e;
  e.cluster_name = TRY(fields.text(1, kNameMax));
  e.system_id = TRY(fields.u64(3));
  e.root_key = TRY(fields.array<32>(5));
  for (auto value : fields.all(7)) e.snapshots.push_back(TRY(read_snap(value)));
  if (fields.has(9)) e.previous_generation = TRY(fields.array<32>(9));
  e.incarnation = Incarnation(TRY(fields.u32(11)));
  for (auto value : fields.all(13)) e.enrolments.push_back(TRY(read_enrol(value)));
  for (auto value : fields.all(15)) e.holds.push_back(TRY(read_hold(value)));
  e.floors = TRY(read_floor_lines(fields, 17));
  e.window_floors = TRY(read_floor_lines(fields, kWindowFloorTag));
  for (auto value : fields.all(19)) {
    SessionId id;
    if (value.size() != id.bytes.size()) return fields.wrong_size(19);
    std::copy(value.begin(), value.end(), id.bytes.begin());
    e.known_sessions.push_back(id);
  }
  return e;
}

Result<BeginEntry> read_begin(ByteView list) {
  const auto fields = TRY(fields_of(list, EntryKind::Begin, {1, 3, 5, 7}));
  BeginEntry e;
  e.session = TRY(session_of(fields, 1));
  const auto purpose = TRY(fields.u8(3));
  if (purpose < 1 || purpose > 2) return newer(fmt::format("session purpose {}", purpose));
  e.purpose = static_cast<SessionPurpose>(purpose);
  if (fields.has(5)) e.parent = TRY(session_of(fields, 5));
  e.lease_until = TRY(time_of(fields, 7));
  return e;
}

Result<RenewEntry> read_renew(ByteView list) {
  const auto fields = TRY(fields_of(list, EntryKind::Renew, {1, 3}));
  return RenewEntry{TRY(session_of(fields, 1)), TRY(time_of(fields, 3))};
}

/// END, FORGET, RELEASE, ABORT: one session and nothing else.
template <class E>
Result<E> read_session_only(EntryKind kind, ByteView list) {
  return E{TRY(session_of(TRY(fields_of(list, kind, {1})), 1))};
}

Result<PurgeEntry> read_purge(ByteView list) {
  const auto fields = TRY(fields_of(list, EntryKind::Purge, {1}));
  return PurgeEntry{TRY(read_pack_ids(TRY(fields.value(1))))};
}

Result<RevokeEntry> read_revoke(ByteView list) {
  return RevokeEntry{TRY(TRY(fields_of(list, EntryKind::Revoke, {1})).array<32>(1))};
}

Result<AdoptEntry> read_adopt(ByteView list) {
  const auto fields = TRY(fields_of(list, EntryKind::Adopt, {1, 3, 5}));
  return AdoptEntry{TRY(fields.u64(1)), Incarnation(TRY(fields.u32(3))), TRY(fields.text(5))};
}

Result<FloorEntry> read_floor(ByteView list) {
  const auto fields = TRY(fields_of(list, EntryKind::Floor, {1, kWindowFloorTag}));
  FloorEntry e;
  e.lines = TRY(read_floor_lines(fields, 1));
  e.window_lines = TRY(read_floor_lines(fields, kWindowFloorTag));
  return e;
}

/// nullopt: a depth or an outcome that a later version knows.
Result<std::optional<PacksRead>> read_packs_read(ByteView value) {
  codec::BinaryReader in(value, "packs read of a log entry");
  const auto depth = TRY(in.u8());
  const auto outcome = TRY(in.u8());
  if (depth < 1 || depth > kProofDepths || outcome > 1) return std::optional<PacksRead>();
  PacksRead packs;
  packs.depth = static_cast<ProofDepth>(depth);
  packs.damaged = outcome == 1;
  packs.read = time_of(TRY(in.u64()));
  packs.seen = TRY(in.u64());
  packs.packs = TRY(read_pack_runs(in));
  TRY(in.expect_end());
  return std::optional(std::move(packs));
}

/// nullopt: a depth or an outcome that a later version knows.
Result<std::optional<WalRead>> read_wal_read(ByteView value) {
  codec::BinaryReader in(value, "WAL read of a log entry");
  const auto depth = TRY(in.u8());
  const auto outcome = TRY(in.u8());
  if (depth < 1 || depth > kProofDepths || outcome > 1) return std::optional<WalRead>();
  WalRead wal;
  wal.depth = static_cast<ProofDepth>(depth);
  wal.damaged = outcome == 1;
  wal.read = time_of(TRY(in.u64()));
  wal.seen = TRY(in.u64());
  wal.runs = TRY(read_wal_runs(in));
  TRY(in.expect_end());
  return std::optional(std::move(wal));
}

Result<CommandRun> read_command_run(ByteView value) {
  codec::BinaryReader in(value, "command run of a log entry");
  CommandRun run;
  run.operation = TRY(in.text(kTextMax));
  run.origin = TRY(in.text(kTextMax));
  run.exit_code = TRY(in.u32());
  run.began = time_of(TRY(in.u64()));
  TRY(in.expect_end());
  return run;
}

Result<AuditEntry> read_audit(ByteView list) {
  const auto fields = TRY(fields_of(list, EntryKind::Audit, {1, 3, kPacksReadTag, kCommandRunTag, kWalReadTag}));
  AuditEntry e;  // member by member: a TRY that returns out of a braced list leaks what the list had made so far
  e.event = TRY(fields.text(1));
  e.detail = TRY(fields.text(3));
  for (auto value : fields.all(kPacksReadTag))
    if (auto packs = TRY(read_packs_read(value))) e.packs.push_back(std::move(*packs));
  if (const auto runs = fields.all(kCommandRunTag); !runs.empty()) e.run = TRY(read_command_run(runs.back()));
  for (auto value : fields.all(kWalReadTag))
    if (auto wal = TRY(read_wal_read(value))) e.wal.push_back(std::move(*wal));
  return e;
}

Result<EntryContent> read_content(EntryKind kind, ByteView list) {
  switch (kind) {
    case EntryKind::Genesis: return EntryContent(TRY(read_genesis(list)));
    case EntryKind::Begin: return EntryContent(TRY(read_begin(list)));
    case EntryKind::Renew: return EntryContent(TRY(read_renew(list)));
    case EntryKind::Snap: return EntryContent(TRY(read_snap(list)));
    case EntryKind::End: return EntryContent(TRY(read_session_only<EndEntry>(kind, list)));
    case EntryKind::Forget: return EntryContent(TRY(read_session_only<ForgetEntry>(kind, list)));
    case EntryKind::Hold: return EntryContent(TRY(read_hold(list)));
    case EntryKind::Release: return EntryContent(TRY(read_session_only<ReleaseEntry>(kind, list)));
    case EntryKind::Purge: return EntryContent(TRY(read_purge(list)));
    case EntryKind::Abort: return EntryContent(TRY(read_session_only<AbortEntry>(kind, list)));
    case EntryKind::Enrol: return EntryContent(TRY(read_enrol(list)));
    case EntryKind::Revoke: return EntryContent(TRY(read_revoke(list)));
    case EntryKind::Adopt: return EntryContent(TRY(read_adopt(list)));
    case EntryKind::Floor: return EntryContent(TRY(read_floor(list)));
    case EntryKind::Audit: return EntryContent(TRY(read_audit(list)));
  }
  return newer(fmt::format("kind {}", static_cast<unsigned>(kind)));
}

}  // namespace

Bytes encode_body(const LogEntry& entry) {
  Fields fields;
  std::visit([&](const auto& content) { add_fields(fields, content); }, entry.content);
  fields.text(kActorLabelTag, shortened(entry.actor_label));
  fields.text(kCommandTag, shortened(entry.command));
  codec::BinaryWriter out;
  out.u16(static_cast<std::uint16_t>(kind_of(entry.content)));
  out.u64(static_cast<std::uint64_t>(entry.time.time_since_epoch().count()));
  out.raw(fields.take());
  return out.take();
}

Status parse_body(ByteView body, LogEntry& entry) {
  codec::BinaryReader in(body, "log entry body");
  const auto kind = static_cast<EntryKind>(TRY(in.u16()));
  entry.time = time_of(TRY(in.u64()));
  const auto list = TRY(in.raw(in.remaining()));
  entry.content = TRY(read_content(kind, list));
  // The content has refused the odd tags that it does not know, so that here all of them may stand.
  const auto labels = TRY(fields_of(list, kind, {1, 2, 3, 4, 5, 7, 9, 11, 13, 15, 17, 19}));
  entry.actor_label = TRY(labels.optional_text(kActorLabelTag));
  entry.command = TRY(labels.optional_text(kCommandTag));
  return ok();
}

}  // namespace pgmint::repository

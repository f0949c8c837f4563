// One entry of a cluster's log: its content, its bytes, its signature. Format: docs/format/log.md.
#pragma once

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/clock.h"
#include "crypto/hash.h"
#include "crypto/signature.h"
#include "repository/ids.h"
#include "repository/manifest.h"
#include "repository/pack.h"
#include "repository/pack_proofs.h"
#include "repository/record.h"
#include "repository/wal_proofs.h"

namespace pgmint::repository {

enum class EntryKind : std::uint16_t {
  Genesis = 1, Begin = 2, Renew = 3, Snap = 4, End = 5, Forget = 6, Hold = 7, Release = 8, Purge = 9, Abort = 10,
  Enrol = 11, Revoke = 12, Adopt = 13, Floor = 14, Audit = 15
};
std::string_view entry_kind_name(EntryKind kind);

enum class SessionPurpose : std::uint8_t { Write = 1, Read = 2 };

struct SnapEntry {
  SessionId session;
  crypto::Digest root_sha256{};
  std::uint64_t root_size = 0;
  std::string name;
  BackupType type = BackupType::Full;
  std::vector<PackSummary> added;
  std::vector<PackId> removed;
  std::uint32_t timeline = 0;
  std::uint64_t start_lsn = 0, stop_lsn = 0;
  TimePoint retain_until{};  ///< epoch: none
  std::uint64_t system_id = 0;
  Incarnation incarnation{};
};
struct BeginEntry {
  SessionId session;
  SessionPurpose purpose = SessionPurpose::Write;
  std::optional<SessionId> parent;
  TimePoint lease_until{};
};
struct RenewEntry { SessionId session; TimePoint lease_until{}; };
struct EndEntry { SessionId session; };
struct ForgetEntry { SessionId snapshot; };
struct HoldEntry { SessionId snapshot; std::string reason; std::optional<TimePoint> until = {}; };
struct ReleaseEntry { SessionId snapshot; };
struct PurgeEntry { std::vector<PackId> packs; };
struct AbortEntry { SessionId session; };
struct EnrolEntry {
  crypto::PublicKey key{};
  std::uint64_t kinds = 0;  ///< bit k: may write entries of kind k
  Role role = Role::Host;
  std::string label;
};
struct RevokeEntry { crypto::PublicKey key{}; };
struct AdoptEntry { std::uint64_t system_id = 0; Incarnation incarnation{}; std::string reason; };
/// WAL of this timeline before `lsn` may go.
struct FloorLine { std::uint64_t system_id = 0; Incarnation incarnation{}; std::uint32_t timeline = 0; std::uint64_t lsn = 0; };
struct FloorEntry {
  std::vector<FloorLine> lines;
  /// Before these positions only the WAL stays that a live snapshot needs to become consistent.
  std::vector<FloorLine> window_lines = {};
};
/// A command that has ended, however it ended.
struct CommandRun {
  std::string operation;  ///< "restore", "key add"
  std::string origin;     ///< who had logged in, and from where, as far as the host knew
  std::uint32_t exit_code = 0;
  TimePoint began{};
};
struct AuditEntry {
  std::string event, detail;
  std::vector<PacksRead> packs = {};  ///< that a verification read
  std::optional<CommandRun> run = {};
  std::vector<WalRead> wal = {};  ///< that a verification read
};
struct GenesisEntry {
  std::string cluster_name;
  std::uint64_t system_id = 0;
  crypto::PublicKey root_key{};
  // Only in generations above 0 (`repair --rebuild-log`):
  std::vector<SnapEntry> snapshots;
  crypto::Digest previous_generation{};
  Incarnation incarnation{1};
  std::vector<EnrolEntry> enrolments;
  std::vector<HoldEntry> holds;
  std::vector<FloorLine> floors;
  std::vector<SessionId> known_sessions;
  std::vector<FloorLine> window_floors = {};
};
using EntryContent = std::variant<GenesisEntry, BeginEntry, RenewEntry, SnapEntry, EndEntry, ForgetEntry, HoldEntry, ReleaseEntry,
                                  PurgeEntry, AbortEntry, EnrolEntry, RevokeEntry, AdoptEntry, FloorEntry, AuditEntry>;
EntryKind kind_of(const EntryContent& content);

struct LogEntry {
  std::uint32_t generation = 0;
  std::uint64_t seq = 0;
  crypto::Digest previous{};
  crypto::PublicKey actor{};
  ByteArray<16> attempt{};
  TimePoint time{};
  std::string actor_label;  ///< user@host
  std::string command;
  EntryContent content;
};

inline constexpr std::size_t kLogEntryMax = 64 << 20;

/// Seals and signs. `entry.actor` is set from `actor`.
Bytes encode_entry(LogEntry entry, const RecordContext& context, const crypto::Key256& maintenance_key,
                   const crypto::SigningKey& actor, RandomSource& random);
/// Parses, opens, checks the signature and that generation and seq are the expected ones; the chain and the rules are the fold's.
/// @errors Corruption (then the entry is void), Precondition (valid signature, unknown kind or odd tag: a newer pgmint)
Result<LogEntry> parse_entry(ByteView object, const RecordContext& context, const crypto::Key256& maintenance_key,
                             std::uint32_t generation, std::uint64_t seq);
/// The clear fields, read without any key and not authenticated: to tell one's own entry, by its attempt nonce, after an
/// uncertain put. nullopt when malformed.
struct EntryFrame {
  std::uint32_t generation = 0;
  std::uint64_t seq = 0;
  crypto::Digest previous{};
  crypto::PublicKey actor{};
  ByteArray<16> attempt{};
};
std::optional<EntryFrame> frame_of(ByteView object);

}  // namespace pgmint::repository

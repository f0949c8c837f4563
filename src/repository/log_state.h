// The fold: what a log's entries make true. Pure: no store, no clock. Rules: docs/format/log.md.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "repository/log_entry.h"
#include "repository/pack_set.h"

namespace pgmint::repository {

/// Why a backup stays whatever any rule says, and until when; nullopt: until somebody releases it.
struct Hold {
  std::string reason;
  std::optional<TimePoint> until;
  bool is_over(TimePoint now) const { return until && *until <= now; }
  bool operator==(const Hold&) const = default;
};

struct LiveSnapshot {
  SnapEntry snap;                       ///< its lists of packs are empty: LogState::packs_of()
  TimePoint committed{};                ///< the time of its SNAP; of a rebuilt log's GENESIS when seq is 0
  std::optional<SessionId> parent;
  SharedBits packs;                     ///< everything it refers to: LogState::packs_of()
  std::optional<Hold> hold;             ///< the last one; it may be over
  std::uint64_t seq = 0;                ///< of its SNAP; 0: brought along by the GENESIS of a rebuilt log
  TimePoint log_time{};                 ///< the highest entry time before it: above `committed` its clock was behind
};

/// WAL that is needed from `start_lsn` on, on this timeline and on those that branch off later.
struct WalNeed {
  std::uint64_t system_id = 0;
  Incarnation incarnation{};
  std::uint32_t timeline = 0;
  std::uint64_t start_lsn = 0;
};

struct OpenSession {
  SessionPurpose purpose = SessionPurpose::Write;
  std::optional<SessionId> parent;
  SharedBits pins;                      ///< frozen at BEGIN: LogState::pins_of()
  std::optional<WalNeed> wal;           ///< the parent's, frozen at BEGIN
  TimePoint begun{}, lease_until{};
  std::string actor_label;
};

/// InEarlierGeneration: a rebuilt log knows that the session was, and not how it ended; of its packs only those may be purged
/// that a snapshot of this log has referred to.
enum class Closed : std::uint8_t { BySnap, ByAbort, ByEnd, InEarlierGeneration };

/// What an AUDIT entry said.
struct AuditNote {
  std::uint64_t seq = 0;
  TimePoint time{};
  std::string actor_label, detail;
};

/// One void entry, for `audit verify`.
struct VoidEntry {
  std::uint64_t seq = 0;
  std::string reason;
};

/// Of one event, and events: what the fold remembers of AUDIT entries stays small whatever is written.
inline constexpr std::size_t kAuditNotesMax = 8, kAuditEventsMax = 32, kAuditDetailMax = 4096;

inline constexpr std::size_t kRemovedSlotsMax = 1024;

class LogState {
 public:
  /// The state before generation 0. @param format_root  the root public key that `format` names
  explicit LogState(crypto::PublicKey format_root) : genesis_roots_{format_root} {}
  /// The state before generation `generation`, which only a root in force in the generation before it may open.
  LogState(std::uint32_t generation, std::set<crypto::PublicKey> genesis_roots)
      : genesis_roots_(std::move(genesis_roots)), generation_(generation) {}

  /// Why the entry would be void against this state, or success. Pure. @errors Precondition, with the rule's number in words
  Status validate(const LogEntry& entry) const;
  /// Validates and, when valid, takes effect. A refused entry is recorded as void by the caller through note_void.
  /// @errors Precondition
  Status apply(const LogEntry& entry);
  /// The slot is used up but nothing happened.
  void note_void(std::uint64_t seq, std::string reason);
  /// Moves past the object at slot `seq` (void or not), so that the chain goes on from its hash.
  void advance(std::uint64_t seq, const crypto::Digest& object_hash);

  bool has_genesis() const { return genesis_; }
  std::uint32_t generation() const { return generation_; }
  std::uint64_t next_seq() const { return next_seq_; }
  const crypto::Digest& head() const { return head_; }  ///< hash of the last object; zero before the first
  const std::string& cluster_name() const { return name_; }
  std::uint64_t system_id() const { return system_id_; }
  Incarnation incarnation() const { return incarnation_; }
  TimePoint time() const { return time_; }              ///< the highest entry time so far
  /// The time of the last entry that is not the work of `expire`, `collect` or `verify`: their own say nothing about the time,
  /// for whoever lets old backups go by a wrong clock would confirm it by that.
  TimePoint last_activity() const { return last_activity_; }

  const std::map<SessionId, LiveSnapshot>& snapshots() const { return snapshots_; }
  const std::map<SessionId, OpenSession>& open_sessions() const { return open_; }
  const std::map<SessionId, Closed>& closed_sessions() const { return closed_; }
  const std::vector<VoidEntry>& void_entries() const { return void_; }
  const std::map<crypto::PublicKey, EnrolEntry>& actors() const { return actors_; }
  std::set<crypto::PublicKey> roots() const;
  /// Enrolled for anything; before GENESIS: may sign it.
  bool knows_actor(const crypto::PublicKey& key) const;
  const std::vector<FloorLine>& floors() const { return floors_; }
  /// Before these only the WAL stays that live snapshots need to become consistent.
  const std::vector<FloorLine>& window_floors() const { return window_floors_; }
  /// (system id, incarnation) pairs that this cluster has been, newest last.
  const std::vector<std::pair<std::uint64_t, Incarnation>>& identities() const { return identities_; }

  /// nullptr when no live snapshot has that name.
  const LiveSnapshot* find(const std::string& backup_name) const;
  /// Everything that a snapshot of this state refers to, what an open session of it has pinned.
  PackSet packs_of(const LiveSnapshot& snapshot) const { return {*packs_, snapshot.packs}; }
  /// Everything that some live snapshot refers to.
  PackSet live_packs() const;
  /// One of packs_of(snapshot), without a copy of the set; nullptr: it is none.
  const PackSummary* find_pack(const LiveSnapshot& snapshot, const PackId& id) const { return packs_->find_in(snapshot.packs, id); }
  PackSet pins_of(const OpenSession& session) const { return {*packs_, session.pins}; }
  /// Packs that may be purged now: of closed sessions, referred to by nobody, not purged before. Sorted.
  std::vector<PackId> purgeable() const;
  /// Every pack that a live snapshot refers to or an open session pins, but for the sessions of `without`.
  PackSet needed_packs(const std::set<SessionId>& without = {}) const;
  /// A live snapshot or an open session refers to it, or one did and it has not been purged.
  bool was_referred(const PackId& pack) const;
  const std::set<PackId>& purged_packs() const { return purged_; }
  /// Behind the last entry that told of a change of keys, slots or actors: 0 before the first.
  std::uint64_t keys_changed_before() const { return keys_changed_before_; }
  /// Whether the last word about a key slot is that it goes. Of more than kRemovedSlotsMax nobody remembers which: then of each.
  bool says_removed(std::string_view slot) const { return removed_slots_.size() > kRemovedSlotsMax || removed_slots_.contains(slot); }
  /// What verifications have said of packs.
  const PackProofs& pack_proofs() const { return proofs_; }
  /// And of WAL.
  const WalProofs& wal_proofs() const { return wal_proofs_; }
  /// The newest AUDIT entries of that event, oldest first: at most kAuditNotesMax, and none after `repair --rebuild-log`.
  std::vector<AuditNote> recent_audits(std::string_view event) const;

 private:
  struct Check;
  struct Effect;
  std::uint32_t number_of(const PackSummary& pack);
  void publish(SnapEntry snap, SharedBits packs, std::optional<SessionId> parent, const LogEntry& entry);

  std::set<crypto::PublicKey> genesis_roots_;
  bool genesis_ = false;
  std::uint32_t generation_ = 0;
  std::uint64_t next_seq_ = 0;
  crypto::Digest head_{};
  std::string name_;
  std::uint64_t system_id_ = 0;
  Incarnation incarnation_{};
  TimePoint time_{}, last_activity_{};
  std::uint64_t keys_changed_before_ = 0;
  std::set<std::string, std::less<>> removed_slots_;
  std::map<SessionId, LiveSnapshot> snapshots_;
  std::map<SessionId, OpenSession> open_;
  std::map<SessionId, Closed> closed_;
  /// Every one that a snapshot has referred to. Copies of this state share it until one of them learns of another pack.
  std::shared_ptr<PackTable> packs_ = std::make_shared<PackTable>();
  std::set<PackId> purged_;
  PackProofs proofs_;
  WalProofs wal_proofs_;
  std::map<std::string, std::vector<AuditNote>, std::less<>> audits_;
  std::vector<VoidEntry> void_;
  std::map<crypto::PublicKey, EnrolEntry> actors_;
  std::vector<FloorLine> floors_, window_floors_;
  std::vector<std::pair<std::uint64_t, Incarnation>> identities_;
};

}  // namespace pgmint::repository

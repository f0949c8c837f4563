// For tests: a LogState fed with entries that need no keys, and short names for ids.
#pragma once

#include "repository/log_state.h"

namespace pgmint::repository {

inline SessionId session_id(unsigned n) {
  SessionId id;
  id.bytes[0] = static_cast<std::byte>(n >> 8);
  id.bytes[1] = static_cast<std::byte>(n);
  return id;
}
inline crypto::PublicKey public_key(unsigned n) {
  crypto::PublicKey key{};
  key[0] = static_cast<std::byte>(n);
  return key;
}
inline PackId pack_id(unsigned session, std::uint32_t number) { return {session_id(session), number}; }
inline PackSummary pack(unsigned session, std::uint32_t number) { return {pack_id(session, number), 100 + number, {}}; }
inline TimePoint at_second(int second) { return TimePoint(std::chrono::seconds(1'000'000 + second)); }

/// The next entry of `state`'s log, by `actor`.
inline LogEntry next_entry(const LogState& state, EntryContent content, const crypto::PublicKey& actor, TimePoint time) {
  LogEntry entry;
  entry.generation = state.generation();
  entry.seq = state.next_seq();
  entry.previous = state.head();
  entry.actor = actor;
  entry.time = time;
  entry.content = std::move(content);
  return entry;
}

/// A snapshot named after its session.
inline SnapEntry snap_of(unsigned session, std::vector<PackSummary> added, std::vector<PackId> removed = {}) {
  SnapEntry e;
  e.session = session_id(session);
  e.name = "backup-" + std::to_string(session);
  e.added = std::move(added);
  e.removed = std::move(removed);
  e.timeline = 1;
  e.start_lsn = 1000 * session;
  e.stop_lsn = e.start_lsn + 500;
  e.system_id = 7;
  e.incarnation = Incarnation(1);
  return e;
}

class LogFixture {
 public:
  static constexpr unsigned kRoot = 1;
  LogState state{public_key(kRoot)};
  crypto::PublicKey actor = public_key(kRoot);
  TimePoint now = at_second(0);

  /// Applies an entry as it would stand in the log; a refused one is void and uses up its slot all the same.
  Status write(EntryContent content) {
    auto applied = state.apply(next_entry(state, std::move(content), actor, now));
    if (!applied) state.note_void(state.next_seq(), applied.failure().describe());
    crypto::Digest hash{};
    hash[0] = static_cast<std::byte>(state.next_seq() + 1);
    state.advance(state.next_seq(), hash);
    return applied;
  }
  Status genesis() { return write(genesis_entry()); }
  GenesisEntry genesis_entry() const {
    GenesisEntry e;
    e.cluster_name = "main";
    e.system_id = 7;
    e.root_key = actor;
    return e;
  }
  Status begin(unsigned session, std::optional<unsigned> parent = {}, SessionPurpose purpose = SessionPurpose::Write) {
    BeginEntry e;
    e.session = session_id(session);
    e.purpose = purpose;
    if (parent) e.parent = session_id(*parent);
    e.lease_until = now + std::chrono::hours(24);
    return write(e);
  }
  /// BEGIN and SNAP.
  Status backup(unsigned session, std::vector<PackSummary> added, std::optional<unsigned> parent = {},
                std::vector<PackId> removed = {}) {
    TRY(begin(session, parent));
    return write(snap_of(session, std::move(added), std::move(removed)));
  }
};

}  // namespace pgmint::repository

#include "repository/log_state.h"

#include <fmt/format.h>

#include <algorithm>

#include "repository/key_objects.h"

namespace pgmint::repository {
namespace {

/// `rule`: its number in docs/format/log.md.
Error refused(int rule, const std::string& why) {
  return Error(Errc::Precondition, fmt::format("{} (log rule {})", why, rule));
}

std::string short_hex(const SessionId& id) { return id.hex().substr(0, 8); }

bool same_place(const FloorLine& a, const FloorLine& b) {
  return a.system_id == b.system_id && a.incarnation == b.incarnation && a.timeline == b.timeline;
}

bool holds_back(const WalNeed& need, const FloorLine& line) {
  // Timelines count up: what starts on an older one may follow any newer one from that position on.
  return need.system_id == line.system_id && need.incarnation == line.incarnation && need.timeline <= line.timeline &&
         need.start_lsn < line.lsn;
}

WalNeed wal_need(const SnapEntry& snap) { return {snap.system_id, snap.incarnation, snap.timeline, snap.start_lsn}; }

const FloorLine* find_place(const std::vector<FloorLine>& lines, const FloorLine& place) {
  const auto found = std::ranges::find_if(lines, [&](const FloorLine& other) { return same_place(other, place); });
  return found == lines.end() ? nullptr : &*found;
}

void raise(std::vector<FloorLine>& lines, const FloorLine& to) {
  const auto found = std::ranges::find_if(lines, [&](const FloorLine& other) { return same_place(other, to); });
  if (found == lines.end()) lines.push_back(to);
  else found->lsn = std::max(found->lsn, to.lsn);
}

/// The work of `expire`, `collect` and `verify`, and notes that a command ran: what says nothing about the time to `expire`.
bool is_upkeep(const EntryContent& content) {
  if (const auto* audit = std::get_if<AuditEntry>(&content)) return !audit->packs.empty() || !audit->wal.empty() || audit->run;
  const auto kind = kind_of(content);
  return kind == EntryKind::Forget || kind == EntryKind::Floor || kind == EntryKind::Purge || kind == EntryKind::Abort;
}

std::uint64_t kind_bit(EntryKind kind) { return std::uint64_t{1} << static_cast<unsigned>(kind); }

}  // namespace

/// May the entry take effect? One overload a kind.
struct LogState::Check {
  const LogState& state;
  const LogEntry& entry;

  Status frame() const {
    const auto kind = kind_of(entry.content);
    if (entry.generation != state.generation_ || entry.seq != state.next_seq_)
      return refused(1, fmt::format("entry {}/{} where {}/{} is due", entry.generation, entry.seq, state.generation_,
                                    state.next_seq_));
    if (entry.previous != state.head_) return refused(1, "the entry does not follow the object before it");
    if (kind == EntryKind::Genesis) return ok();
    if (!state.genesis_) return refused(2, "the log has no valid GENESIS");
    const auto actor = state.actors_.find(entry.actor);
    if (actor == state.actors_.end()) return refused(2, "the actor is not enrolled");
    if ((actor->second.kinds & kind_bit(kind)) == 0)
      return refused(2, fmt::format("a {} may not write {}", role_name(actor->second.role), entry_kind_name(kind)));
    return ok();
  }

  Status root_only() const {
    if (state.actors_.at(entry.actor).role == Role::Root) return ok();
    return refused(2, fmt::format("only a root may write {}", entry_kind_name(kind_of(entry.content))));
  }

  Result<const LiveSnapshot*> live(int rule, const SessionId& id) const {
    const auto found = state.snapshots_.find(id);
    if (found == state.snapshots_.end()) return refused(rule, fmt::format("{} is not a live snapshot", short_hex(id)));
    return &found->second;
  }

  Result<const OpenSession*> open(int rule, const SessionId& id) const {
    const auto found = state.open_.find(id);
    if (found == state.open_.end()) return refused(rule, fmt::format("session {} is not open", short_hex(id)));
    return &found->second;
  }

  Status operator()(const GenesisEntry& e) const {
    if (state.genesis_ || entry.seq != 0) return refused(1, "GENESIS stands at the beginning only");
    if (!state.genesis_roots_.contains(entry.actor)) return refused(2, "GENESIS is not signed by a root in force");
    if (e.root_key != entry.actor) return refused(2, "GENESIS names another root than signed it");
    if (entry.generation == 0 && !(e.snapshots.empty() && e.enrolments.empty() && e.holds.empty() && e.floors.empty() &&
                                   e.window_floors.empty() && e.known_sessions.empty() && e.incarnation == Incarnation(1)))
      return refused(1, "the GENESIS of generation 0 brings nothing along");
    std::set<SessionId> sessions;
    std::set<std::string> names;
    for (const auto& snap : e.snapshots) {
      if (!sessions.insert(snap.session).second || !names.insert(snap.name).second)
        return refused(1, "GENESIS brings a snapshot twice");
      if (!snap.removed.empty() || !distinct(snap.added)) return refused(1, "GENESIS brings no whole set of packs");
    }
    for (const auto& hold : e.holds)
      if (!sessions.contains(hold.snapshot)) return refused(8, "GENESIS holds what is not a live snapshot");
    for (const auto& enrolment : e.enrolments)
      if (enrolment.key == e.root_key) return refused(2, "GENESIS enrols its root twice");
    return ok();
  }

  Status operator()(const BeginEntry& e) const {
    if (state.open_.contains(e.session) || state.closed_.contains(e.session))
      return refused(3, fmt::format("session {} was seen before", short_hex(e.session)));
    if (e.parent) TRY(live(3, *e.parent));
    return ok();
  }

  Status operator()(const RenewEntry& e) const {
    const auto* session = TRY(open(4, e.session));
    if (e.lease_until < session->lease_until) return refused(4, "a lease only grows");
    return ok();
  }

  Status operator()(const SnapEntry& e) const {
    const auto* session = TRY(open(5, e.session));
    if (session->purpose != SessionPurpose::Write) return refused(5, "a reader's session cannot publish a snapshot");
    for (const auto& pack : e.added)
      if (pack.id.session != e.session) return refused(5, "the snapshot adds a pack of another session");
    if (!distinct(e.added)) return refused(5, "the snapshot adds a pack twice");
    const auto pins = state.pins_of(*session);
    for (const auto& pack : e.removed)
      if (!pins.contains(pack)) return refused(5, "the snapshot removes a pack that its parent does not have");
    if (e.name.empty()) return refused(5, "the snapshot has no name");
    if (state.find(e.name) != nullptr) return refused(5, fmt::format("there is a backup {} already", e.name));
    const FloorLine start{e.system_id, e.incarnation, e.timeline, e.start_lsn};
    for (const auto* floors : {&state.floors_, &state.window_floors_}) {
      const auto* floor = find_place(*floors, start);
      if (floor != nullptr && start.lsn < floor->lsn)
        return refused(5, "the snapshot needs WAL below the floor, which may be gone");
    }
    return ok();
  }

  Status operator()(const EndEntry& e) const {
    const auto* session = TRY(open(6, e.session));
    if (session->purpose != SessionPurpose::Read) return refused(6, "END closes readers; a writer publishes or aborts");
    return ok();
  }

  Status operator()(const AbortEntry& e) const {
    if (state.closed_.contains(e.session))
      return refused(6, fmt::format("session {} is closed already", short_hex(e.session)));
    return ok();
  }

  Status operator()(const ForgetEntry& e) const {
    const auto* snapshot = TRY(live(7, e.snapshot));
    if (snapshot->hold && !snapshot->hold->is_over(entry.time)) return refused(7, fmt::format("{} is held: {}", snapshot->snap.name, snapshot->hold->reason));
    if (snapshot->snap.retain_until > entry.time)
      return refused(7, fmt::format("{} is kept until {}", snapshot->snap.name, format_rfc3339(snapshot->snap.retain_until)));
    return ok();
  }

  Status operator()(const HoldEntry& e) const {
    TRY(live(8, e.snapshot));
    return ok();
  }

  Status operator()(const ReleaseEntry& e) const {
    const auto* snapshot = TRY(live(8, e.snapshot));
    if (!snapshot->hold) return refused(8, fmt::format("{} is not held", snapshot->snap.name));
    return ok();
  }

  Status operator()(const PurgeEntry& e) const {
    const auto needed = state.needed_packs();
    for (const auto& pack : e.packs) {
      if (needed.contains(pack)) return refused(9, fmt::format("pack {}-{} is needed", short_hex(pack.session), pack.number));
      // In a rebuilt log the sessions of packs that its snapshots brought along have no other end than that.
      const auto closed = state.closed_.find(pack.session);
      const bool ended = closed != state.closed_.end() && (closed->second == Closed::BySnap || closed->second == Closed::ByAbort);
      if (!ended && !state.was_referred(pack))
        return refused(9, fmt::format("session {} did not end by SNAP or ABORT", short_hex(pack.session)));
    }
    return ok();
  }

  Status operator()(const EnrolEntry& e) const {
    TRY(root_only());
    if (state.actors_.contains(e.key)) return refused(2, "that key is enrolled already");
    return ok();
  }

  Status operator()(const RevokeEntry& e) const {
    TRY(root_only());
    const auto actor = state.actors_.find(e.key);
    if (actor == state.actors_.end()) return refused(2, "that key is not enrolled");
    if (actor->second.role == Role::Root && state.roots().size() == 1) return refused(2, "the last root stays");
    return ok();
  }

  Status operator()(const AdoptEntry& e) const {
    TRY(root_only());
    if (e.incarnation.value() != state.incarnation_.value() + 1)
      return refused(10, fmt::format("incarnation {} is due, not {}", state.incarnation_.value() + 1, e.incarnation.value()));
    return ok();
  }

  Status operator()(const FloorEntry& e) const {
    TRY(only_rise(e.lines, state.floors_));
    TRY(only_rise(e.window_lines, state.window_floors_));
    for (const auto& line : e.lines)
      for (const auto& [id, snapshot] : state.snapshots_)
        if (holds_back(wal_need(snapshot.snap), line))
          return refused(10, fmt::format("{} needs WAL below that floor", snapshot.snap.name));
    // Live snapshots keep what they need to become consistent; what a session reads or builds on may lead anywhere.
    for (const auto* lines : {&e.lines, &e.window_lines})
      for (const auto& line : *lines)
        for (const auto& [id, session] : state.open_)
          if (session.wal && holds_back(*session.wal, line))
            return refused(10, fmt::format("session {} needs WAL below that floor", short_hex(id)));
    return ok();
  }

  static Status only_rise(const std::vector<FloorLine>& lines, const std::vector<FloorLine>& floors) {
    for (const auto& line : lines)
      if (const auto* before = find_place(floors, line); before != nullptr && line.lsn < before->lsn)
        return refused(10, "a floor only rises");
    return ok();
  }

  Status operator()(const AuditEntry&) const { return ok(); }

  static bool distinct(const std::vector<PackSummary>& packs) {
    std::set<PackId> ids;
    return std::all_of(packs.begin(), packs.end(), [&](const auto& pack) { return ids.insert(pack.id).second; });
  }
};

/// What a valid entry makes true. One overload a kind.
struct LogState::Effect {
  LogState& state;
  const LogEntry& entry;

  void close(const SessionId& id, Closed how) const {
    state.open_.erase(id);
    state.closed_[id] = how;
  }

  void operator()(const GenesisEntry& e) const {
    state.genesis_ = true;
    state.name_ = e.cluster_name;
    state.system_id_ = e.system_id;
    state.incarnation_ = e.incarnation;
    state.identities_.emplace_back(e.system_id, e.incarnation);
    state.actors_[e.root_key] = {e.root_key, ~std::uint64_t{0}, Role::Root, "root"};
    for (const auto& enrolment : e.enrolments) state.actors_[enrolment.key] = enrolment;
    for (const auto& session : e.known_sessions) state.closed_[session] = Closed::InEarlierGeneration;
    for (const auto& snap : e.snapshots) {
      SharedBits packs;
      for (const auto& pack : snap.added) {
        packs.insert(state.number_of(pack));
        state.closed_.try_emplace(pack.id.session, Closed::InEarlierGeneration);
      }
      state.closed_[snap.session] = Closed::BySnap;
      state.publish(snap, std::move(packs), std::nullopt, entry);
    }
    for (const auto& hold : e.holds) state.snapshots_.at(hold.snapshot).hold = Hold{hold.reason, hold.until};
    state.floors_ = e.floors;
    state.window_floors_ = e.window_floors;
  }

  void operator()(const BeginEntry& e) const {
    OpenSession session;
    session.purpose = e.purpose;
    session.parent = e.parent;
    session.begun = entry.time;
    session.lease_until = e.lease_until;
    session.actor_label = entry.actor_label;
    if (e.parent) {
      const auto& parent = state.snapshots_.at(*e.parent);
      session.pins = parent.packs;
      session.wal = wal_need(parent.snap);
    }
    state.open_.emplace(e.session, std::move(session));
  }

  void operator()(const RenewEntry& e) const { state.open_.at(e.session).lease_until = e.lease_until; }

  void operator()(const SnapEntry& e) const {
    const auto& session = state.open_.at(e.session);
    auto packs = session.pins;
    for (const auto& pack : e.removed) packs.erase(*state.packs_->find(pack));
    for (const auto& pack : e.added) packs.insert(state.number_of(pack));
    const auto parent = session.parent;
    state.publish(e, std::move(packs), parent, entry);
    close(e.session, Closed::BySnap);
  }

  void operator()(const EndEntry& e) const { close(e.session, Closed::ByEnd); }
  void operator()(const AbortEntry& e) const { close(e.session, Closed::ByAbort); }

  void operator()(const ForgetEntry& e) const {
    state.snapshots_.erase(e.snapshot);
  }

  void operator()(const HoldEntry& e) const { state.snapshots_.at(e.snapshot).hold = Hold{e.reason, e.until}; }
  void operator()(const ReleaseEntry& e) const { state.snapshots_.at(e.snapshot).hold.reset(); }

  void operator()(const PurgeEntry& e) const {
    state.purged_.insert(e.packs.begin(), e.packs.end());
    for (const auto& pack : e.packs) state.proofs_.forget(pack);
  }

  void operator()(const EnrolEntry& e) const {
    state.actors_[e.key] = e;
    state.keys_changed_before_ = entry.seq + 1;
  }
  void operator()(const RevokeEntry& e) const {
    state.actors_.erase(e.key);
    state.keys_changed_before_ = entry.seq + 1;
  }

  void operator()(const AdoptEntry& e) const {
    state.system_id_ = e.system_id;
    state.incarnation_ = e.incarnation;
    state.identities_.emplace_back(e.system_id, e.incarnation);
  }

  void operator()(const FloorEntry& e) const {
    for (const auto& line : e.lines) raise(state.floors_, line);
    for (const auto& line : e.window_lines) raise(state.window_floors_, line);
    for (const auto& line : e.lines) state.wal_proofs_.forget_before({line.system_id, line.incarnation}, line.timeline, line.lsn);
    for (const auto& line : e.window_lines) forget_below_window(line);
  }
  /// Of what live snapshots need to become consistent the proofs stay, whatever its timeline.
  void forget_below_window(const FloorLine& line) const {
    std::vector<std::pair<std::uint64_t, std::uint64_t>> needed;
    for (const auto& [id, one] : state.snapshots_)
      if (one.snap.system_id == line.system_id && one.snap.incarnation == line.incarnation) needed.emplace_back(one.snap.start_lsn, one.snap.stop_lsn);
    state.wal_proofs_.forget_before({line.system_id, line.incarnation}, line.timeline, line.lsn, needed);
  }

  void operator()(const AuditEntry& e) const {
    if (e.event == kKeySlotAdded || e.event == kKeySlotRemoved || e.event == kKeyRingMade) note_keys(e);
    note(e);
    for (const auto& packs : e.packs) state.proofs_.note(packs, entry.seq, entry.time);
    for (const auto& wal : e.wal) state.wal_proofs_.note(wal, entry.seq, entry.time);
  }

  void note_keys(const AuditEntry& e) const {
    state.keys_changed_before_ = entry.seq + 1;
    auto slot = e.detail.substr(0, e.detail.find(' '));
    if (e.event == kKeySlotAdded) state.removed_slots_.erase(slot);
    if (e.event == kKeySlotRemoved && state.removed_slots_.size() <= kRemovedSlotsMax) state.removed_slots_.insert(std::move(slot));
  }

  void note(const AuditEntry& e) const {
    if (e.event.size() > kAuditDetailMax || e.detail.size() > kAuditDetailMax) return;
    if (!state.audits_.contains(e.event) && state.audits_.size() >= kAuditEventsMax) return;
    auto& notes = state.audits_[e.event];
    if (notes.size() >= kAuditNotesMax) notes.erase(notes.begin());
    notes.push_back({entry.seq, entry.time, entry.actor_label, e.detail});
  }
};

std::vector<AuditNote> LogState::recent_audits(std::string_view event) const {
  const auto found = audits_.find(event);
  return found == audits_.end() ? std::vector<AuditNote>() : found->second;
}

Status LogState::validate(const LogEntry& entry) const {
  const Check check{*this, entry};
  TRY(check.frame());
  return std::visit(check, entry.content);
}

Status LogState::apply(const LogEntry& entry) {
  TRY(validate(entry));
  std::visit(Effect{*this, entry}, entry.content);
  time_ = std::max(time_, entry.time);
  proofs_.note_time(entry.time);
  wal_proofs_.note_time(entry.time);
  if (!is_upkeep(entry.content)) last_activity_ = entry.time;
  return ok();
}

void LogState::note_void(std::uint64_t seq, std::string reason) { void_.push_back({seq, std::move(reason)}); }

void LogState::advance(std::uint64_t seq, const crypto::Digest& object_hash) {
  PGMINT_ASSERT(seq == next_seq_);
  next_seq_ = seq + 1;
  head_ = object_hash;
}

const LiveSnapshot* LogState::find(const std::string& backup_name) const {
  for (const auto& [id, snapshot] : snapshots_)
    if (snapshot.snap.name == backup_name) return &snapshot;
  return nullptr;
}

std::set<crypto::PublicKey> LogState::roots() const {
  std::set<crypto::PublicKey> keys;
  for (const auto& [key, actor] : actors_)
    if (actor.role == Role::Root) keys.insert(key);
  return keys;
}

bool LogState::knows_actor(const crypto::PublicKey& key) const {
  return genesis_ ? actors_.contains(key) : genesis_roots_.contains(key);
}

std::vector<PackId> LogState::purgeable() const {
  const auto needed = needed_packs();
  std::vector<PackId> packs;
  for (const auto& pack : packs_->all())
    if (!needed.contains(pack.id) && !purged_.contains(pack.id)) packs.push_back(pack.id);
  std::ranges::sort(packs);
  return packs;
}

PackSet LogState::live_packs() const {
  SharedBits live;
  for (const auto& [id, snapshot] : snapshots_) live.insert_all(snapshot.packs);
  return {*packs_, std::move(live)};
}

PackSet LogState::needed_packs(const std::set<SessionId>& without) const {
  SharedBits needed;
  for (const auto& [id, snapshot] : snapshots_) needed.insert_all(snapshot.packs);
  for (const auto& [id, session] : open_)
    if (!without.contains(id)) needed.insert_all(session.pins);
  return {*packs_, std::move(needed)};
}

bool LogState::was_referred(const PackId& pack) const { return packs_->find(pack) && !purged_.contains(pack); }

std::uint32_t LogState::number_of(const PackSummary& pack) {
  if (packs_.use_count() > 1) packs_ = std::make_shared<PackTable>(*packs_);
  return packs_->number_of(pack);
}

void LogState::publish(SnapEntry snap, SharedBits packs, std::optional<SessionId> parent, const LogEntry& entry) {
  // The fold has them now; of a large full they are many. `= {}` would keep their memory: it assigns an empty list.
  std::vector<PackSummary>().swap(snap.added);
  std::vector<PackId>().swap(snap.removed);
  const auto session = snap.session;
  snapshots_[session] = {std::move(snap), entry.time, parent, std::move(packs), std::nullopt, entry.seq, time_};
}

}  // namespace pgmint::repository

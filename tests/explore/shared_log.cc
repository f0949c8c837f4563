#include "explore/shared_log.h"

#include <fmt/format.h>

namespace pgmint::explore {
namespace {

const crypto::PublicKey kActor = public_key(1);
const TimePoint kNow = at_second(0), kLater = at_second(100), kRetain = at_second(50);

bool bit(std::uint64_t set, unsigned n) { return ((set >> n) & 1) != 0; }
unsigned number_of(const SessionId& id) {
  return std::to_integer<unsigned>(id.bytes[0]) << 8 | std::to_integer<unsigned>(id.bytes[1]);
}
unsigned number_of(const PackId& id) {
  const auto session = number_of(id.session);
  return session == kBaseSession ? id.number : session - kFirstWriter + 2;
}
PackMask mask_of(const PackSet& packs) {
  PackMask mask = 0;
  for (const auto& pack : packs) mask |= 1u << number_of(pack.id);
  return mask;
}

}  // namespace

SharedLog::SharedLog(const Configuration& configuration) : configuration_(&configuration), state_(kActor) {
  LogFixture start;
  PGMINT_ASSERT(start.genesis().has_value());
  PGMINT_ASSERT(start.begin(kBaseSession).has_value());
  auto base = snap_of(kBaseSession, {pack(kBaseSession, 0), pack(kBaseSession, 1)});
  if (configuration.retain_base) base.retain_until = kRetain;
  PGMINT_ASSERT(start.write(base).has_value());
  state_ = start.state;
  refresh();
}

EntryContent SharedLog::content_of(const Draft& draft) const {
  const auto id = session_id(draft.session);
  switch (draft.kind) {
    case EntryKind::Begin: {
      BeginEntry e;
      e.session = id;
      e.purpose = draft.session >= kFirstReader ? SessionPurpose::Read : SessionPurpose::Write;
      if (e.purpose == SessionPurpose::Read || configuration_->writers[draft.session - kFirstWriter].has_parent)
        e.parent = session_id(kBaseSession);
      return e;
    }
    case EntryKind::Snap: {
      const auto& writer = configuration_->writers[draft.session - kFirstWriter];
      auto e = snap_of(draft.session, {pack(draft.session, 0)});
      if (writer.has_parent) e.removed = {pack_id(kBaseSession, 1)};
      if (writer.shares_name) e.name = "shared";
      return e;
    }
    case EntryKind::End: return EndEntry{id};
    case EntryKind::Abort: return AbortEntry{id};
    case EntryKind::Forget: return ForgetEntry{id};
    case EntryKind::Hold: return HoldEntry{id, "why"};
    case EntryKind::Release: return ReleaseEntry{id};
    case EntryKind::Purge: {
      PurgeEntry e;
      for (unsigned n = 0; n < 32; ++n)
        if (bit(draft.packs, n)) e.packs.push_back(pack_of(n));
      return e;
    }
    case EntryKind::Floor: {
      const std::vector<FloorLine> lines = {{7, Incarnation(1), 1, draft.lsn}};
      return draft.window ? FloorEntry{{}, lines} : FloorEntry{lines};
    }
    default: PGMINT_ASSERT(false && "no actor writes this kind");
  }
  return AuditEntry{};
}

Status SharedLog::verdict(const Draft& draft, LogEntry& entry, bool retain_is_over) const {
  entry = next_entry(state_, content_of(draft), kActor, retain_is_over ? kLater : kNow);
  return state_.validate(entry);
}

/// The refusal is one that a fold without `rule` would not have made.
bool SharedLog::excused(const Draft& draft, const Status& refusal, LeftOut rule) const {
  const auto& why = refusal.failure().message();
  const auto says = [&](EntryKind kind, std::string_view text) { return draft.kind == kind && why.find(text) != std::string::npos; };
  switch (rule) {
    case LeftOut::BeginPins:
    case LeftOut::PinsAreFrozen:
      return says(EntryKind::Purge, "is needed") && (draft.packs & needed(rule)) == 0;
    case LeftOut::PurgeNothingNeeded: return says(EntryKind::Purge, "is needed");
    case LeftOut::PurgeOnlyWhatIsClosed: return says(EntryKind::Purge, "did not end") && (draft.packs & needed(rule)) == 0;
    case LeftOut::SnapNeedsOpenSession: return says(EntryKind::Snap, "is not open") && !is_live(draft.session);
    case LeftOut::ParentIsLive:
      return says(EntryKind::Begin, "is not a live snapshot") || (says(EntryKind::Snap, "is not open") && forced_open_.contains(draft.session));
    case LeftOut::SessionBeginsOnce:
      return says(EntryKind::Begin, "was seen before") || (says(EntryKind::Snap, "is not open") && forced_open_.contains(draft.session));
    case LeftOut::AbortOnlyWhatIsOpen: return says(EntryKind::Abort, "closed already");
    case LeftOut::HoldBlocksForget: return says(EntryKind::Forget, "is held");
    case LeftOut::RetainBlocksForget: return says(EntryKind::Forget, "is kept until");
    case LeftOut::NameIsUnused: return says(EntryKind::Snap, "there is a backup");
    case LeftOut::SnapAboveFloor: return says(EntryKind::Snap, "below the floor");
    case LeftOut::FloorBelowSnapshots: return says(EntryKind::Floor, "backup-");
    case LeftOut::FloorBelowReaders: return says(EntryKind::Floor, "session ");
    default: return false;
  }
}

void SharedLog::force(const Draft& draft) {
  const bool parent = draft.session >= kFirstReader || (draft.session >= kFirstWriter && configuration_->writers[draft.session - kFirstWriter].has_parent);
  switch (draft.kind) {
    case EntryKind::Begin: forced_open_[draft.session] = parent ? kBasePacks : 0; break;
    case EntryKind::Snap:
      forced_open_.erase(draft.session);
      forced_live_[draft.session] = (parent ? 0b01u : 0u) | 1u << (draft.session - kFirstWriter + 2);
      break;
    case EntryKind::Abort: forced_aborted_ |= std::uint64_t{1} << draft.session; break;
    case EntryKind::Forget: forced_gone_ |= std::uint64_t{1} << draft.session; break;
    case EntryKind::Purge: forced_purged_ |= draft.packs; break;
    case EntryKind::Floor: (draft.window ? window_floor_ : floor_) = std::max(draft.window ? window_floor_ : floor_, draft.lsn); break;
    default: PGMINT_ASSERT(false && "nothing excuses this kind");
  }
}

bool SharedLog::would_accept(const Draft& draft, LeftOut rule, bool retain_is_over) const {
  LogEntry entry;
  const auto status = verdict(draft, entry, retain_is_over);
  return status || excused(draft, status, rule);
}

std::shared_ptr<const SharedLog> SharedLog::append(const Draft& draft, LeftOut rule, bool retain_is_over, bool& accepted) const {
  auto next = std::make_shared<SharedLog>(*this);
  next->before_last_.reset();
  LogEntry entry;
  const auto status = verdict(draft, entry, retain_is_over);
  accepted = true;
  if (status) {
    PGMINT_ASSERT(next->state_.apply(entry).has_value());
  } else if (excused(draft, status, rule)) {
    next->force(draft);
  } else {
    accepted = false;
  }
  // Chain and void entries have their own tests; here they would only make equal states look different.
  next->state_.advance(entry.seq, crypto::Digest{});
  next->refresh();
  return next;
}

bool SharedLog::is_live(unsigned session) const {
  if (bit(forced_gone_, session)) return false;
  return state_.snapshots().contains(session_id(session)) || forced_live_.contains(session);
}
bool SharedLog::is_held(unsigned session) const {
  const auto found = state_.snapshots().find(session_id(session));
  return found != state_.snapshots().end() && found->second.hold;
}
std::vector<unsigned> SharedLog::live() const {
  std::vector<unsigned> sessions;
  for (const auto& [id, snapshot] : state_.snapshots())
    if (!bit(forced_gone_, number_of(id))) sessions.push_back(number_of(id));
  for (const auto& [session, packs] : forced_live_) sessions.push_back(session);
  return sessions;
}
PackMask SharedLog::packs_of(unsigned session) const {
  if (const auto forced = forced_live_.find(session); forced != forced_live_.end()) return forced->second;
  return mask_of(state_.packs_of(state_.snapshots().at(session_id(session))));
}
bool SharedLog::is_open(unsigned session) const {
  return state_.open_sessions().contains(session_id(session)) || forced_open_.contains(session);
}
std::vector<unsigned> SharedLog::open() const {
  std::vector<unsigned> sessions;
  for (const auto& [id, session] : state_.open_sessions()) sessions.push_back(number_of(id));
  for (const auto& [session, pins] : forced_open_) sessions.push_back(session);
  return sessions;
}
PackMask SharedLog::pins_of(unsigned session) const {
  if (const auto forced = forced_open_.find(session); forced != forced_open_.end()) return forced->second;
  return mask_of(state_.pins_of(state_.open_sessions().at(session_id(session))));
}
bool SharedLog::was_seen(unsigned session) const {
  return is_open(session) || state_.closed_sessions().contains(session_id(session));
}
bool SharedLog::is_aborted(unsigned session) const {
  const auto found = state_.closed_sessions().find(session_id(session));
  return bit(forced_aborted_, session) || (found != state_.closed_sessions().end() && found->second == Closed::ByAbort);
}
bool SharedLog::is_closed_by_snap(unsigned session) const {
  const auto found = state_.closed_sessions().find(session_id(session));
  return found != state_.closed_sessions().end() && found->second == Closed::BySnap;
}

PackMask SharedLog::needed(LeftOut rule) const {
  PackMask mask = 0;
  if (rule == LeftOut::PurgeNothingNeeded) return mask;
  for (auto session : live()) mask |= packs_of(session);
  if (rule == LeftOut::BeginPins) return mask;
  for (auto session : open())
    if (rule != LeftOut::PinsAreFrozen || is_live(kBaseSession)) mask |= pins_of(session);
  return mask;
}

std::uint64_t SharedLog::lowest_start() const {
  std::uint64_t lowest = ~std::uint64_t{0};
  for (auto session : live()) lowest = std::min(lowest, start_of(session));
  for (auto session : open())
    if (const auto wal = wal_of_open(session)) lowest = std::min(lowest, *wal);
  return lowest;
}

std::optional<std::uint64_t> SharedLog::wal_of_open(unsigned session) const {
  const auto found = state_.open_sessions().find(session_id(session));
  if (found == state_.open_sessions().end() || !found->second.wal) return std::nullopt;
  return found->second.wal->start_lsn;
}

bool SharedLog::two_live_of_one_name() const {
  int shared = 0;
  for (auto session : live())
    if (session >= kFirstWriter && configuration_->writers[session - kFirstWriter].shares_name) ++shared;
  return shared > 1;
}

/// Everything that later steps depend on, and nothing else: not how many entries there are.
void SharedLog::refresh() {
  purged_ = forced_purged_;
  for (const auto& pack : state_.purged_packs()) purged_ |= 1u << number_of(pack);
  for (const auto& line : state_.floors()) floor_ = std::max(floor_, line.lsn);
  for (const auto& line : state_.window_floors()) window_floor_ = std::max(window_floor_, line.lsn);
  for (auto session : open())
    if (const auto wal = wal_of_open(session); wal && *wal >= window_before_ && *wal < window_floor_) cut_off_ |= std::uint64_t{1} << session;
  window_before_ = window_floor_;
  for (unsigned session = kBaseSession; session < kFirstWriter + configuration_->writers.size(); ++session)
    if (start_of(session) < window_floor_ && !is_live(session)) thinned_ |= std::uint64_t{1} << session;
  key_.clear();
  const auto put = [&](unsigned v) { key_.push_back(static_cast<char>(v)); };
  for (const auto& [id, snapshot] : state_.snapshots()) {
    put(1);
    put(number_of(id));
    put(mask_of(state_.packs_of(snapshot)));
    put(snapshot.hold ? 1 : 0);
  }
  for (const auto& [id, session] : state_.open_sessions()) {
    put(2);
    put(number_of(id));
    put(mask_of(state_.pins_of(session)));
  }
  for (const auto& [id, how] : state_.closed_sessions()) {
    put(3);
    put(number_of(id));
    put(static_cast<unsigned>(how));
  }
  put(4);
  put(purged_);
  put(static_cast<unsigned>(floor_ / 1000));
  put(static_cast<unsigned>(window_floor_ / 1000));
  put(static_cast<unsigned>(thinned_));
  put(static_cast<unsigned>(cut_off_));
  put(static_cast<unsigned>(cut_off_ >> 8));
  for (const auto& [session, packs] : forced_live_) {
    put(5);
    put(session);
    put(packs);
  }
  for (const auto& [session, pins] : forced_open_) {
    put(6);
    put(session);
    put(pins);
  }
  put(7);
  put(static_cast<unsigned>(forced_aborted_));
  put(static_cast<unsigned>(forced_aborted_ >> 8));
  put(static_cast<unsigned>(forced_gone_));
}

}  // namespace pgmint::explore

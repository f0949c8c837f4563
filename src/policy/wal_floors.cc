#include "policy/wal_floors.h"

#include <algorithm>

namespace pgmint::policy {
namespace {

using postgres::Lsn;
using postgres::TimelineHistory;
using postgres::TimelineId;
using repository::FloorLine;
using repository::LogState;
using repository::SnapEntry;

class FloorPlan {
 public:
  FloorPlan(const LogState& state, const WalOfIdentity& wal, const std::map<repository::SessionId, WalBackup>& backups,
            TimePoint window_start)
      : state_(state), wal_(wal), backups_(backups), limit_(window_start) {
    for (const auto& [id, snapshot] : state.snapshots())
      if (of_identity(snapshot.snap.system_id, snapshot.snap.incarnation) && snapshot.snap.stop_lsn != 0) live_.push_back(&snapshot);
    for (const auto& [id, session] : state.open_sessions()) {
      if (session.purpose != repository::SessionPurpose::Write) continue;
      backup_runs_ = true;
      limit_ = std::min(limit_, session.begun);  // where it starts the log does not know yet, but not before that
    }
  }

  void run(repository::FloorEntry& to) const {
    for (const auto& [timeline, files] : wal_.inventory.timelines()) {
      if (files.segments.empty()) continue;
      if (const auto lsn = floor(timeline)) add(to.lines, state_.floors(), timeline, *lsn);
    }
    for (const auto& [timeline, lsn] : window_floors()) {
      const auto held = std::min(lsn, sessions_hold(timeline));
      add(to.window_lines, state_.window_floors(), timeline, held);
    }
  }

 private:
  bool of_identity(std::uint64_t system_id, repository::Incarnation incarnation) const {
    return system_id == wal_.identity.system_id && incarnation == wal_.identity.incarnation;
  }

  void add(std::vector<FloorLine>& to, const std::vector<FloorLine>& known, TimelineId timeline, Lsn lsn) const {
    const FloorLine line{wal_.identity.system_id, wal_.identity.incarnation, timeline.value(), lsn.value()};
    const bool there = std::ranges::any_of(known, [&](const FloorLine& other) {
      return other.system_id == line.system_id && other.incarnation == line.incarnation && other.timeline == line.timeline &&
             other.lsn >= line.lsn;
    });
    if (!there && lsn.value() != 0) to.push_back(line);
  }

  /// What open sessions read or build on may need all WAL from there.
  Lsn sessions_hold(TimelineId timeline) const {
    Lsn lowest(UINT64_MAX);
    for (const auto& [id, session] : state_.open_sessions())
      if (session.wal && of_identity(session.wal->system_id, session.wal->incarnation) && session.wal->timeline <= timeline.value())
        lowest = std::min(lowest, Lsn(session.wal->start_lsn));
    return lowest;
  }

  std::optional<Lsn> floor(TimelineId timeline) const {
    if (live_.empty()) {
      const auto now = repository::current_identity(state_);
      if (backup_runs_ || of_identity(now.system_id, now.incarnation)) return std::nullopt;
      const auto& segments = wal_.inventory.timelines().at(timeline).segments;
      return std::min(postgres::start_of(postgres::next(*segments.rbegin()), wal_.inventory.segment_size()), sessions_hold(timeline));
    }
    Lsn lowest = sessions_hold(TimelineId(UINT32_MAX));
    // Of all timelines, so that WAL of one that was left goes with the last backup that is older.
    for (const auto& [id, snapshot] : state_.snapshots())
      if (of_identity(snapshot.snap.system_id, snapshot.snap.incarnation)) lowest = std::min(lowest, Lsn(snapshot.snap.start_lsn));
    return lowest;
  }

  /// The backup that the window of this timeline stands on; nullptr: none is on the way to it.
  const SnapEntry* base_of(const TimelineHistory& history) const {
    const SnapEntry* newest = nullptr;
    const SnapEntry* oldest = nullptr;
    for (const auto* snapshot : live_) {
      const auto& snap = snapshot->snap;
      if (!history.contains(TimelineId(snap.timeline), Lsn(snap.stop_lsn))) continue;
      if (oldest == nullptr || snap.start_lsn < oldest->start_lsn) oldest = &snap;
      const auto known = backups_.find(snap.session);
      if (known == backups_.end() || !known->second.reliable || known->second.time > limit_) continue;
      if (newest == nullptr || snap.start_lsn > newest->start_lsn) newest = &snap;
    }
    return newest != nullptr ? newest : oldest;
  }

  std::map<TimelineId, Lsn> window_floors() const {
    std::map<TimelineId, Lsn> lowest;
    const auto& timelines = wal_.inventory.timelines();
    TimelineId unreadable{};
    std::set<TimelineId> without_base;
    for (const auto& [timeline, files] : timelines) {
      const auto history = wal_.inventory.history_of(timeline);
      if (!history) {
        unreadable = timeline;
        continue;
      }
      const auto* base = base_of(*history);
      if (base == nullptr) {
        without_base.insert(timeline);
        continue;
      }
      for (const auto& [through, ignored] : timelines) {
        if (through > timeline || through.value() < base->timeline || !history->begin_of(through)) continue;
        const auto [at, added] = lowest.try_emplace(through, Lsn(base->start_lsn));
        if (!added) at->second = std::min(at->second, Lsn(base->start_lsn));
      }
    }
    // It may descend from any timeline with a lower number.
    std::erase_if(lowest, [&](const auto& line) { return line.first <= unreadable || without_base.contains(line.first); });
    return lowest;
  }

  const LogState& state_;
  const WalOfIdentity& wal_;
  const std::map<repository::SessionId, WalBackup>& backups_;
  TimePoint limit_;
  std::vector<const repository::LiveSnapshot*> live_;
  bool backup_runs_ = false;
};

}  // namespace

TimePoint window_start(TimePoint now, Period period) {
  return now - std::chrono::days(31) * static_cast<int>(period.months) - std::chrono::days(period.days);
}

repository::FloorEntry plan_floors(const LogState& state, const std::vector<WalOfIdentity>& wal,
                                   const std::map<repository::SessionId, WalBackup>& backups, TimePoint window_start) {
  repository::FloorEntry entry;
  for (const auto& identity : wal) FloorPlan(state, identity, backups, window_start).run(entry);
  return entry;
}

}  // namespace pgmint::policy

#include "policy/locks.h"

#include <algorithm>

#include "repository/layout.h"

namespace pgmint::policy {
namespace {

using repository::LogState;
using repository::SessionId;

TimePoint later_by(TimePoint time, Period period) { return time + std::chrono::days(31) * static_cast<int>(period.months) + std::chrono::days(period.days); }

std::uint64_t floor_of(const std::vector<repository::FloorLine>& lines, const repository::WalIdentity& identity, std::uint32_t timeline) {
  std::uint64_t lsn = 0;
  for (const auto& line : lines)
    if (line.system_id == identity.system_id && line.incarnation == identity.incarnation && line.timeline == timeline) lsn = std::max(lsn, line.lsn);
  return lsn;
}

template <class Map, class K>
void raise(Map& map, const K& key, TimePoint until) {
  const auto [at, added] = map.try_emplace(key, until);
  if (!added) at->second = std::max(at->second, until);
}

}  // namespace

std::optional<TimePoint> lock_backup(const Verdict& verdict, TimePoint now, std::chrono::days renewed) {
  if (!verdict.keep) return std::nullopt;
  return verdict.open_end ? std::max(verdict.firmly_until, now + renewed) : verdict.firmly_until;
}

TimePoint lock_at_least(TimePoint wanted, TimePoint now, std::chrono::days renewed) { return std::min(wanted, now + renewed - std::chrono::days(1)); }

LockPlan::LockPlan(const LogState& state, const repository::ClusterId& cluster, const std::map<SessionId, Backup>& backups, const std::vector<WalOfIdentity>& wal, const LockRules& rules,
                   TimePoint now)
    : cluster_(cluster), prefix_(repository::cluster_prefix(cluster)), packs_(repository::packs_prefix(cluster)), manifests_(repository::manifests_prefix(cluster)),
      wal_(repository::wal_prefix(cluster)), longest_(now + rules.renewed), window_open_(std::max(now + rules.renewed, later_by(now, rules.wal_window))) {
  // The latest first: what a backup shares with those before it has its time, and is passed over by the thousand.
  std::vector<std::pair<TimePoint, const repository::LiveSnapshot*>> live;
  for (const auto& [id, snapshot] : state.snapshots())
    if (const auto kept = backups.find(id); kept != backups.end()) live.emplace_back(kept->second.until, &snapshot);
  std::ranges::sort(live, std::greater<>(), &decltype(live)::value_type::first);
  repository::SharedBits seen;
  for (const auto& [until, snapshot] : live) {
    raise(roots_, snapshot->snap.session, until);
    repository::LiveSnapshot rest;
    for (auto number = snapshot->packs.next(0); number < snapshot->packs.end(); number = snapshot->packs.next(number + 1))
      if (!seen.contains(number)) rest.packs.insert(number);
    for (const auto& pack : state.packs_of(rest)) pack_until_.emplace(pack.id, until);
    seen.insert_all(rest.packs);
    longest_ = std::max(longest_, until);
  }
  // What runs now builds on its parent, whatever rules say of that.
  for (const auto& [id, session] : state.open_sessions()) {
    if (session.parent) raise(roots_, *session.parent, now + rules.renewed);
    for (const auto& pack : state.pins_of(session)) raise(pack_until_, pack.id, now + rules.renewed);
  }
  for (const auto& identity : wal) identities_.push_back(identity_of(state, backups, identity, rules));
}

LockPlan::Identity LockPlan::identity_of(const LogState& state, const std::map<SessionId, Backup>& backups, const WalOfIdentity& wal, const LockRules& rules) const {
  const auto& [system_id, incarnation] = wal.identity;
  auto directory = repository::wal_directory(cluster_, system_id, incarnation, 1);
  directory.resize(directory.size() - 9);  // the timeline and its '/'
  Identity made{std::move(directory), wal.inventory.segment_size(), {}, {}};
  for (const auto& [timeline, files] : wal.inventory.timelines())
    made.timelines[timeline.value()] = {floor_of(state.floors(), wal.identity, timeline.value()), floor_of(state.window_floors(), wal.identity, timeline.value()), {}};
  for (const auto& [id, snapshot] : state.snapshots()) {
    const auto kept = backups.find(id);
    const auto& snap = snapshot.snap;
    if (kept == backups.end() || snap.system_id != system_id || snap.incarnation != incarnation || snap.stop_lsn == 0) continue;
    made.needed.push_back({snap.start_lsn, snap.stop_lsn, kept->second.until});
    // A window that has passed this backup stands on it, if it is there still: then what lies before it goes.
    const auto passed = later_by(kept->second.facts.time, rules.wal_window);
    if (kept->second.facts.reliable && kept->second.firmly_until > passed)
      made.timelines[snap.timeline].passed.push_back({snap.start_lsn, std::max(passed, std::min(passed + rules.expire_behind, window_open_))});
  }
  for (auto& [timeline, about] : made.timelines) {
    std::ranges::sort(about.passed, {}, &Passed::start);
    for (auto i = about.passed.size(); i-- > 1;) about.passed[i - 1].until = std::min(about.passed[i - 1].until, about.passed[i].until);
  }
  return made;
}

std::optional<TimePoint> LockPlan::until_of_wal(const std::string& name) const {
  const auto identity = std::ranges::find_if(identities_, [&](const Identity& one) { return name.starts_with(one.directory); });
  if (identity == identities_.end()) return std::nullopt;
  const auto file = postgres::parse_wal_file_name(std::string_view(name).substr(name.rfind('/') + 1), identity->size);
  // Without its history nobody finds the way through a timeline.
  if (!file || file->kind == postgres::WalFileKind::History) return longest_;
  const auto first = postgres::start_of(file->segment, identity->size).value(), end = first + identity->size.bytes();
  const auto known = identity->timelines.find(file->timeline.value());
  const Timeline nothing;
  const auto& about = known == identity->timelines.end() ? nothing : known->second;
  if (end <= about.floor) return std::nullopt;
  std::optional<TimePoint> until;
  const auto want = [&](TimePoint time) { until = std::max(until.value_or(time), time); };
  for (const auto& stretch : identity->needed)
    if (stretch.first < end && first <= stretch.last) want(stretch.until);
  if (end > about.window_floor) {
    const auto behind = std::ranges::lower_bound(about.passed, end, {}, &Passed::start);
    want(behind == about.passed.end() ? window_open_ : behind->until);
  }
  return until;
}

std::optional<TimePoint> LockPlan::until(const std::string& name) const {
  if (name == repository::kFormatName || name.starts_with(repository::kKeysPrefix)) return longest_;
  if (!name.starts_with(prefix_)) return std::nullopt;
  if (name.starts_with(wal_)) return until_of_wal(name);
  if (name.starts_with(packs_)) {
    const auto id = repository::parse_pack_name(name);
    const auto found = id ? pack_until_.find(*id) : pack_until_.end();
    return found == pack_until_.end() ? std::nullopt : std::optional(found->second);
  }
  if (name.starts_with(manifests_)) {
    const auto id = SessionId::parse(std::string_view(name).substr(manifests_.size()));
    const auto found = id ? roots_.find(*id) : roots_.end();
    return found == roots_.end() ? std::nullopt : std::optional(found->second);
  }
  return longest_;
}

}  // namespace pgmint::policy

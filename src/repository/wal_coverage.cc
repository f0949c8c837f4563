#include "repository/wal_coverage.h"

#include <fmt/format.h>

#include <algorithm>

namespace pgmint::repository {

using postgres::Lsn;
using postgres::SegmentNumber;
using postgres::TimelineHistory;
using postgres::TimelineId;
using postgres::WalFileKind;
using postgres::WalSegmentSize;

namespace {

/// The part of `range` that `present` lacks.
void append_missing(std::vector<WalRange>& to, const WalRange& range, const std::set<SegmentNumber>& present) {
  std::uint64_t next = range.first.value();
  const std::uint64_t end = range.last.value() + 1;
  for (auto at = present.lower_bound(range.first); next < end; ++at) {
    const std::uint64_t stop = at == present.end() ? end : std::min(end, at->value());
    if (stop > next) to.push_back({range.timeline, SegmentNumber(next), SegmentNumber(stop - 1)});
    if (at == present.end()) break;
    next = at->value() + 1;
  }
}

/// Sorted, overlapping and adjacent ones of a timeline joined.
std::vector<WalRange> joined(std::vector<WalRange> ranges) {
  std::ranges::sort(ranges, {}, [](const WalRange& r) { return std::pair(r.timeline, r.first); });
  std::vector<WalRange> result;
  for (const auto& range : ranges) {
    if (!result.empty() && result.back().timeline == range.timeline &&
        range.first.value() <= result.back().last.value() + 1) {
      result.back().last = std::max(result.back().last, range.last);
    } else {
      result.push_back(range);
    }
  }
  return result;
}

const std::set<SegmentNumber>& no_segments() {
  static const std::set<SegmentNumber> none;
  return none;
}

/// One timeline's stretch of a history: the segments that recovery reads from it. `last` of the target is unbounded.
struct Stretch {
  TimelineId timeline;
  std::uint64_t first = 0;
  std::uint64_t end = 0;  ///< exclusive
};

std::vector<Stretch> stretches(const TimelineHistory& history, WalSegmentSize size) {
  std::vector<Stretch> result;
  const auto push = [&](TimelineId timeline, std::uint64_t end) {
    const auto begin = history.begin_of(timeline);
    // The segment in which a timeline was left is read from its child, which begins with a copy of it.
    const std::uint64_t first = begin ? postgres::segment_of(*begin, size).value() : 0;
    if (first < end) result.push_back({timeline, first, end});
  };
  for (const auto& change : history.switches()) {
    const auto left = history.switch_point(change.timeline);
    if (left) push(change.timeline, postgres::segment_of(*left, size).value());
  }
  push(history.target(), UINT64_MAX);
  return result;
}

}  // namespace

std::string describe(const WalRange& range, WalSegmentSize size) {
  const auto first = postgres::segment_file_name(range.timeline, range.first, size);
  if (range.first == range.last) return first;
  return fmt::format("{} to {} ({} segments)", first, postgres::segment_file_name(range.timeline, range.last, size),
                     range.count());
}

WalFloors floors_of(const LogState& state, const WalIdentity& identity) {
  WalFloors floors;
  for (const auto* lines : {&state.floors(), &state.window_floors()}) {
    for (const auto& line : *lines) {
      if (line.system_id != identity.system_id || line.incarnation != identity.incarnation) continue;
      auto& floor = floors[TimelineId(line.timeline)];
      floor = std::max(floor, Lsn(line.lsn));
    }
  }
  return floors;
}

WalIdentity current_identity(const LogState& state) { return {state.system_id(), state.incarnation()}; }

std::optional<WalIdentity> find_identity(const LogState& state, std::uint64_t system_id) {
  const auto& all = state.identities();
  for (auto at = all.rbegin(); at != all.rend(); ++at) {
    if (at->first == system_id) return WalIdentity{at->first, at->second};
  }
  if (all.empty() && state.system_id() == system_id) return current_identity(state);
  return std::nullopt;
}

void WalInventory::add(const std::string& file_name, std::uint64_t stored_bytes) {
  const auto name = postgres::parse_wal_file_name(file_name, size_);
  if (!name) {
    strange_.push_back(file_name);
    return;
  }
  auto& files = timelines_[name->timeline];
  files.stored_bytes += stored_bytes;
  switch (name->kind) {
    case WalFileKind::Segment: files.segments.insert(name->segment); break;
    case WalFileKind::Partial: files.partials.insert(name->segment); break;
    case WalFileKind::History: files.has_history_file = true; break;
    case WalFileKind::Backup: files.backups.push_back(file_name); break;
  }
}

void WalInventory::add_history(TimelineId timeline, std::optional<TimelineHistory> history) {
  auto& files = timelines_[timeline];
  files.has_history_file = true;
  files.history_damaged = !history;
  files.history = std::move(history);
}

bool WalInventory::has(TimelineId timeline, SegmentNumber segment) const {
  const auto at = timelines_.find(timeline);
  return at != timelines_.end() && at->second.segments.contains(segment);
}

std::uint64_t WalInventory::segment_count() const {
  std::uint64_t sum = 0;
  for (const auto& [timeline, files] : timelines_) sum += files.segments.size();
  return sum;
}

std::uint64_t WalInventory::stored_bytes() const {
  std::uint64_t sum = 0;
  for (const auto& [timeline, files] : timelines_) sum += files.stored_bytes;
  return sum;
}

std::vector<WalRange> WalInventory::ranges() const {
  std::vector<WalRange> result;
  for (const auto& [timeline, files] : timelines_) {
    for (const auto segment : files.segments) {
      if (!result.empty() && result.back().timeline == timeline && postgres::next(result.back().last) == segment) {
        result.back().last = segment;
      } else {
        result.push_back({timeline, segment, segment});
      }
    }
  }
  return result;
}

std::optional<TimelineHistory> WalInventory::history_of(TimelineId timeline) const {
  const auto at = timelines_.find(timeline);
  if (at != timelines_.end() && at->second.history) return at->second.history;
  if (timeline == TimelineId(1)) return TimelineHistory(timeline);
  return std::nullopt;
}

std::vector<WalRange> WalInventory::gaps(const WalFloors& floors) const {
  std::vector<WalRange> found;
  for (const auto& [timeline, files] : timelines_) {
    if (!files.segments.empty()) {
      append_missing(found, {timeline, *files.segments.begin(), *files.segments.rbegin()}, files.segments);
    }
    const auto history = history_of(timeline);
    if (!history || history->switches().empty()) continue;
    // Along the history, from the first segment that is stored at all, to this timeline's last one.
    bool started = false;
    for (const auto& stretch : stretches(*history, size_)) {
      const auto at = timelines_.find(stretch.timeline);
      const auto& present = at == timelines_.end() ? no_segments() : at->second.segments;
      std::uint64_t first = stretch.first;
      std::uint64_t end = stretch.end;
      if (stretch.timeline == timeline) end = present.empty() ? 0 : present.rbegin()->value();
      if (!started) {
        const auto stored = present.lower_bound(SegmentNumber(first));
        if (stored == present.end() || stored->value() >= end) continue;
        first = stored->value();
        started = true;
      }
      if (first < end) append_missing(found, {stretch.timeline, SegmentNumber(first), SegmentNumber(end - 1)}, present);
    }
  }
  std::vector<WalRange> result;
  for (auto range : joined(std::move(found))) {
    if (const auto floor = floors.find(range.timeline); floor != floors.end()) {
      range.first = std::max(range.first, postgres::segment_of(floor->second, size_));
    }
    if (range.first <= range.last) result.push_back(range);
  }
  return result;
}

TimelineId WalInventory::newest_descendant(TimelineId timeline, Lsn lsn) const {
  for (auto at = timelines_.rbegin(); at != timelines_.rend() && at->first > timeline; ++at) {
    if (at->second.history && at->second.history->contains(timeline, lsn)) return at->first;
  }
  return timeline;
}

std::optional<Lsn> WalInventory::reachable_end(const TimelineHistory& history, Lsn from) const {
  std::uint64_t segment = postgres::segment_of(from, size_).value();
  const std::uint64_t first = segment;
  for (const auto& stretch : stretches(history, size_)) {
    if (segment >= stretch.end) continue;
    if (segment < stretch.first) break;
    while (segment < stretch.end && has(stretch.timeline, SegmentNumber(segment))) ++segment;
    if (segment < stretch.end) break;
  }
  if (segment == first) return std::nullopt;
  return postgres::start_of(SegmentNumber(segment), size_);
}

std::vector<WalRange> WalInventory::missing(const TimelineHistory& history, Lsn from, Lsn to) const {
  std::vector<WalRange> result;
  for (const auto& range : needed_segments(history, from, to, size_)) {
    const auto at = timelines_.find(range.timeline);
    append_missing(result, range, at == timelines_.end() ? no_segments() : at->second.segments);
  }
  return result;
}

std::vector<WalRange> needed_segments(const TimelineHistory& history, Lsn from, Lsn to, WalSegmentSize size) {
  std::vector<WalRange> result;
  if (to <= from) return result;
  const std::uint64_t first = postgres::segment_of(from, size).value();
  const std::uint64_t end = postgres::segment_before(to, size).value() + 1;
  for (const auto& stretch : stretches(history, size)) {
    const std::uint64_t lo = std::max(first, stretch.first);
    const std::uint64_t hi = std::min(end, stretch.end);
    if (lo < hi) result.push_back({stretch.timeline, SegmentNumber(lo), SegmentNumber(hi - 1)});
  }
  return result;
}

}  // namespace pgmint::repository

#include "wal/absence.h"

#include <fmt/format.h>

#include <algorithm>

namespace pgmint::wal {

using postgres::SegmentNumber;
using postgres::TimelineId;
using postgres::WalFileKind;

namespace {

/// The last segment that any file of a timeline names.
std::optional<SegmentNumber> last_segment(const repository::TimelineFiles& files, postgres::WalSegmentSize size) {
  std::optional<SegmentNumber> last;
  const auto take = [&](SegmentNumber segment) { last = std::max(last.value_or(segment), segment); };
  if (!files.segments.empty()) take(*files.segments.rbegin());
  if (!files.partials.empty()) take(*files.partials.rbegin());
  for (const auto& backup : files.backups) {
    if (const auto name = postgres::parse_wal_file_name(backup, size)) take(name->segment);
  }
  return last;
}

std::optional<std::string> segment_is_hole(const postgres::WalFileName& name, const repository::WalInventory& inventory,
                                           const repository::WalFloors& floors) {
  const auto size = inventory.segment_size();
  if (const auto floor = floors.find(name.timeline);
      floor != floors.end() && name.segment < postgres::segment_of(floor->second, size)) {
    return fmt::format("it lies before {}, up to where WAL of timeline {} was let go by expire",
                       postgres::format(floor->second), name.timeline.value());
  }
  for (const auto& [timeline, files] : inventory.timelines()) {
    if (timeline < name.timeline) continue;
    const auto last = last_segment(files, size);
    if (timeline == name.timeline) {
      if (last && *last > name.segment) {
        return fmt::format("{} of the same timeline is stored: this one is missing",
                           postgres::segment_file_name(timeline, *last, size));
      }
      continue;
    }
    const auto history = inventory.history_of(timeline);
    if (!history) {
      if (last && *last > name.segment) {
        return fmt::format("{} is stored, and the history of timeline {}, which would tell whether it descends from {}, is {}",
                           postgres::segment_file_name(timeline, *last, size), timeline.value(), name.timeline.value(),
                           files.history_damaged ? "damaged" : "missing");
      }
      continue;
    }
    const auto left = history->switch_point(name.timeline);
    if (left && name.segment < postgres::segment_of(*left, size)) {
      return fmt::format("timeline {} left timeline {} at {}, behind it: this one is missing", timeline.value(),
                         name.timeline.value(), postgres::format(*left));
    }
  }
  return std::nullopt;
}

std::optional<std::string> history_is_hole(TimelineId timeline, const repository::WalInventory& inventory) {
  const auto& stored = inventory.timelines();
  if (stored.empty() || stored.rbegin()->first < timeline) return std::nullopt;
  // Archiving that began on a later timeline never saw the history files of before; no backup needs them either.
  if (stored.begin()->first >= timeline) return std::nullopt;
  return fmt::format("WAL of timeline {} is stored, and of timelines before: its history file, or one before it, is missing",
                     stored.lower_bound(timeline)->first.value());
}

}  // namespace

std::optional<std::string> why_not_absent(const postgres::WalFileName& name, const repository::WalInventory& inventory,
                                          const repository::WalFloors& floors) {
  switch (name.kind) {
    case WalFileKind::Segment: return segment_is_hole(name, inventory, floors);
    case WalFileKind::History: return history_is_hole(name.timeline, inventory);
    case WalFileKind::Partial:
    case WalFileKind::Backup: return std::nullopt;
  }
  return std::nullopt;
}

}  // namespace pgmint::wal

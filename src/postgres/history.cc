#include "postgres/history.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "postgres/parse_number.h"

namespace pgmint::postgres {
namespace {

constexpr std::string_view kBlanks = " \t\r\n\f\v";
constexpr std::size_t kSwitchesMax = 100'000;
constexpr std::size_t kReasonMax = 4096;

/// Takes the next blank-separated word off `line`.
std::string_view take_word(std::string_view& line) {
  auto from = line.find_first_not_of(kBlanks);
  if (from == std::string_view::npos) return line = {};
  auto to = std::min(line.find_first_of(kBlanks, from), line.size());
  auto word = line.substr(from, to - from);
  line.remove_prefix(to);
  return word;
}

std::string_view trim(std::string_view text) {
  auto from = text.find_first_not_of(kBlanks);
  if (from == std::string_view::npos) return {};
  return text.substr(from, text.find_last_not_of(kBlanks) - from + 1);
}

}  // namespace

Result<TimelineHistory> TimelineHistory::parse(TimelineId target, std::string_view text) {
  auto bad = [&](std::size_t line, std::string_view why) {
    return Error(Errc::Corruption, fmt::format("timeline history of {}, line {}: {}", target.value(), line, why));
  };
  if (text.size() > kTextMax) return bad(0, "larger than any history");
  TimelineHistory history(target);
  std::size_t number = 0;
  while (!text.empty()) {
    ++number;
    auto end = std::min(text.find('\n'), text.size());
    auto line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (auto content = trim(line); content.empty() || content[0] == '#') continue;
    if (history.switches_.size() == kSwitchesMax) return bad(number, "too many timelines");
    auto timeline = parse_timeline(take_word(line));
    if (!timeline) return bad(number, "no timeline id");
    auto lsn = parse_lsn(take_word(line));
    if (!lsn) return bad(number, "no switch point");
    if (!history.switches_.empty() && *timeline <= history.switches_.back().timeline)
      return bad(number, "timeline ids do not rise");
    if (*timeline >= target) return bad(number, "a parent is not below its child");
    history.switches_.push_back({*timeline, *lsn, std::string(trim(line).substr(0, kReasonMax))});
  }
  return history;
}

std::optional<Lsn> TimelineHistory::switch_point(TimelineId timeline) const {
  std::optional<Lsn> lowest;
  for (auto entry = switches_.rbegin(); entry != switches_.rend(); ++entry) {
    lowest = std::min(lowest.value_or(entry->switch_point), entry->switch_point);
    if (entry->timeline == timeline) return lowest;
  }
  return std::nullopt;
}

std::optional<Lsn> TimelineHistory::begin_of(TimelineId timeline) const {
  Lsn begin;
  for (const auto& entry : switches_) {
    if (entry.timeline == timeline) return begin;
    begin = entry.switch_point;
  }
  if (timeline == target_) return begin;
  return std::nullopt;
}

bool TimelineHistory::contains(TimelineId timeline, Lsn lsn) const {
  auto begin = begin_of(timeline);
  if (!begin || lsn < *begin) return false;
  auto end = switch_point(timeline);
  return !end || lsn <= *end;
}

TimelineId TimelineHistory::timeline_at(Lsn lsn) const {
  // Newest first, as tliOfPointInHistory: the byte at a switch point already belongs to the new timeline.
  TimelineId newer = target_;
  for (auto entry = switches_.rbegin(); entry != switches_.rend(); ++entry) {
    if (lsn >= entry->switch_point) return newer;
    newer = entry->timeline;
  }
  return newer;
}

}  // namespace pgmint::postgres

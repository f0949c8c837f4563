#include "postgres/wal_name.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "postgres/parse_number.h"

namespace pgmint::postgres {
namespace {

constexpr std::size_t kSegmentNameLength = 24;

bool is_upper_hex(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F'); });
}

/// Eight upper-case digits.
std::optional<std::uint32_t> hex8(std::string_view text) {
  if (text.size() != 8 || !is_upper_hex(text)) return std::nullopt;
  return parse_number<std::uint32_t>(text, 16);
}

}  // namespace

Result<WalSegmentSize> WalSegmentSize::of(std::uint64_t bytes) {
  if (!std::has_single_bit(bytes) || bytes < (1U << 20) || bytes > (1U << 30))
    return Error(Errc::Corruption, fmt::format("{} bytes is no WAL segment size", bytes));
  return WalSegmentSize(static_cast<std::uint32_t>(bytes));
}

SegmentNumber segment_of(Lsn lsn, WalSegmentSize size) {
  return SegmentNumber(lsn.value() / size.bytes());
}

SegmentNumber segment_before(Lsn end, WalSegmentSize size) {
  return SegmentNumber(end.value() == 0 ? 0 : (end.value() - 1) / size.bytes());
}

Lsn start_of(SegmentNumber segment, WalSegmentSize size) {
  return Lsn(segment.value() * size.bytes());
}

std::optional<SegmentNumber> previous(SegmentNumber segment) {
  if (segment.value() == 0) return std::nullopt;
  return SegmentNumber(segment.value() - 1);
}

std::optional<TimelineId> parse_history_file_name(std::string_view name) {
  if (name.size() != 16 || name.substr(8) != ".history") return std::nullopt;
  auto timeline = hex8(name.substr(0, 8));
  if (!timeline || *timeline == 0) return std::nullopt;
  return TimelineId(*timeline);
}

bool looks_like_wal_file_name(std::string_view name) {
  if (parse_history_file_name(name)) return true;
  if (name.size() < kSegmentNameLength || !is_upper_hex(name.substr(0, kSegmentNameLength))) return false;
  auto suffix = name.substr(kSegmentNameLength);
  return suffix.empty() || suffix == ".partial" ||
         (suffix.size() == 16 && suffix[0] == '.' && is_upper_hex(suffix.substr(1, 8)) &&
          suffix.substr(9) == ".backup");
}

std::optional<WalFileName> parse_wal_file_name(std::string_view name, WalSegmentSize size) {
  if (auto timeline = parse_history_file_name(name))
    return WalFileName{.kind = WalFileKind::History, .timeline = *timeline, .segment = {}};
  if (name.size() < kSegmentNameLength || !looks_like_wal_file_name(name)) return std::nullopt;
  auto timeline = hex8(name.substr(0, 8));
  auto high = hex8(name.substr(8, 8));
  auto low = hex8(name.substr(16, 8));
  if (!timeline || !high || !low || *timeline == 0 || *low >= size.segments_per_xlog_id()) return std::nullopt;
  WalFileName parsed{.kind = WalFileKind::Segment,
                     .timeline = TimelineId(*timeline),
                     .segment = SegmentNumber(*high * size.segments_per_xlog_id() + *low)};
  auto suffix = name.substr(kSegmentNameLength);
  if (suffix == ".partial") parsed.kind = WalFileKind::Partial;
  if (suffix.size() == 16) {
    auto offset = hex8(suffix.substr(1, 8));
    if (!offset || *offset >= size.bytes()) return std::nullopt;
    parsed.kind = WalFileKind::Backup;
    parsed.backup_offset = *offset;
  }
  return parsed;
}

std::string segment_file_name(TimelineId timeline, SegmentNumber segment, WalSegmentSize size) {
  return fmt::format("{:08X}{:08X}{:08X}", timeline.value(), segment.value() / size.segments_per_xlog_id(),
                     segment.value() % size.segments_per_xlog_id());
}

std::string history_file_name(TimelineId timeline) {
  return fmt::format("{:08X}.history", timeline.value());
}

std::string format(const WalFileName& name, WalSegmentSize size) {
  switch (name.kind) {
    case WalFileKind::Segment:
      return segment_file_name(name.timeline, name.segment, size);
    case WalFileKind::Partial:
      return segment_file_name(name.timeline, name.segment, size) + ".partial";
    case WalFileKind::History:
      return history_file_name(name.timeline);
    case WalFileKind::Backup:
      return fmt::format("{}.{:08X}.backup", segment_file_name(name.timeline, name.segment, size), name.backup_offset);
  }
  PGMINT_ASSERT(false);
}

}  // namespace pgmint::postgres

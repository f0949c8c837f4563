#include "postgres/backup_label.h"

#include <fmt/format.h>

#include <algorithm>

#include "postgres/parse_number.h"

namespace pgmint::postgres {
namespace {

constexpr std::size_t kLabelFileMax = 64U << 10;
constexpr std::size_t kMapFileMax = 16U << 20;

Error bad_label(std::string_view why) {
  return Error(Errc::Corruption, fmt::format("backup_label: {}", why));
}

bool take_prefix(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

/// The next line without its newline; nullopt when it has none: PostgreSQL insists on it.
std::optional<std::string_view> take_line(std::string_view& text) {
  auto end = text.find('\n');
  if (end == std::string_view::npos) return std::nullopt;
  auto line = text.substr(0, end);
  text.remove_prefix(end + 1);
  return line;
}

/// "START WAL LOCATION: 0/2000028 (file 000000010000000000000002)"
Status read_start(std::string_view line, BackupLabel& label) {
  if (!take_prefix(line, "START WAL LOCATION: ")) return bad_label("it does not begin with START WAL LOCATION");
  auto blank = line.find(' ');
  auto lsn = parse_lsn(line.substr(0, blank));
  if (!lsn || blank == std::string_view::npos) return bad_label("no start position");
  line.remove_prefix(blank);
  if (!take_prefix(line, " (file ") || line.size() != 25 || line.back() != ')') return bad_label("no start segment");
  line.remove_suffix(1);
  if (!looks_like_wal_file_name(line)) return bad_label("no start segment");
  label.start_lsn = *lsn;
  label.start_segment_file = line;
  auto timeline = parse_number<std::uint32_t>(line.substr(0, 8), 16);
  if (!timeline || *timeline == 0) return bad_label("no timeline in the segment's name");
  label.start_timeline = TimelineId(*timeline);
  return ok();
}

Status read_optional(std::string_view line, BackupLabel& label) {
  if (take_prefix(line, "BACKUP METHOD: ")) {
    label.method = line;
  } else if (take_prefix(line, "BACKUP FROM: ")) {
    label.from_standby = line == "standby";
  } else if (take_prefix(line, "START TIME: ")) {
    label.start_time = line;
  } else if (take_prefix(line, "LABEL: ")) {
    label.label = line;
  } else if (take_prefix(line, "START TIMELINE: ")) {
    if (parse_timeline(line) != label.start_timeline)
      return bad_label("START TIMELINE disagrees with the start segment");
  } else if (take_prefix(line, "INCREMENTAL FROM LSN: ")) {
    label.incremental_from_lsn = parse_lsn(line);
    if (!label.incremental_from_lsn) return bad_label("no INCREMENTAL FROM LSN");
  }
  return ok();  // PostgreSQL passes over what it does not know
}

}  // namespace

Result<BackupLabel> parse_backup_label(std::string_view text) {
  if (text.size() > kLabelFileMax) return bad_label("larger than any label");
  BackupLabel label;
  auto start = take_line(text);
  if (!start) return bad_label("truncated");
  TRY(read_start(*start, label));
  auto checkpoint = take_line(text);
  if (!checkpoint || !take_prefix(*checkpoint, "CHECKPOINT LOCATION: ")) return bad_label("no CHECKPOINT LOCATION");
  auto lsn = parse_lsn(*checkpoint);
  if (!lsn) return bad_label("no checkpoint position");
  label.checkpoint_lsn = *lsn;
  while (auto line = take_line(text)) TRY(read_optional(*line, label));
  if (!text.empty()) return bad_label("truncated");
  return label;
}

std::string label_of_whole(std::string_view text) {
  std::string whole;
  while (!text.empty()) {
    const auto line = text.substr(0, std::min(text.find('\n'), text.size() - 1) + 1);
    text.remove_prefix(line.size());
    if (!line.starts_with("INCREMENTAL FROM LSN: ") && !line.starts_with("INCREMENTAL FROM TLI: ")) whole += line;
  }
  return whole;
}

Result<std::vector<TablespaceMapEntry>> parse_tablespace_map(std::string_view text, const VersionEntry& version) {
  auto bad = [](std::string_view why) { return Error(Errc::Corruption, fmt::format("tablespace_map: {}", why)); };
  if (text.size() > kMapFileMax) return bad("larger than any map");
  std::vector<TablespaceMapEntry> entries;
  std::string line;
  auto finish_line = [&]() -> Status {
    auto blank = line.find(' ');
    auto oid = parse_number<std::uint32_t>(std::string_view(line).substr(0, blank), 10);
    if (!oid || *oid == 0 || blank == std::string::npos || blank + 1 == line.size())
      return bad("a line is not an oid, a blank and a path");
    if (line.find('\0') != std::string::npos) return bad("a zero byte");
    entries.push_back({Oid(*oid), line.substr(blank + 1)});
    line.clear();
    return ok();
  };
  bool escaped = false;
  for (char c : text) {
    const bool line_end = c == '\n' || c == '\r';
    if (escaped) {
      if (!version.map_escapes_backslash && !line_end)
        line += '\\';  // 13: a backslash means itself before anything else
      line += c;
      // In 13 the second of two backslashes may still escape a line end.
      escaped = !version.map_escapes_backslash && c == '\\';
      if (escaped) line.pop_back();
    } else if (c == '\\') {
      escaped = true;
    } else if (!line_end) {
      line += c;
    } else if (!line.empty()) {
      TRY(finish_line());
    }
  }
  if (!line.empty() || escaped) return bad("truncated");
  return entries;
}

Result<std::string> format_tablespace_map(const std::vector<TablespaceMapEntry>& entries, const VersionEntry& version) {
  std::string text;
  for (const auto& entry : entries) {
    text += fmt::format("{} ", entry.oid.value());
    for (char c : entry.location) {
      if (c == '\n' || c == '\r' || (c == '\\' && version.map_escapes_backslash)) text += '\\';
      text += c;
    }
    text += '\n';
  }
  auto back = parse_tablespace_map(text, version);
  if (!back || *back != entries)
    return Error(Errc::Usage, "a tablespace location cannot be written into tablespace_map",
                 Hint{"choose locations without line ends and backslashes: --tablespace OLD=NEW"});
  return text;
}

}  // namespace pgmint::postgres

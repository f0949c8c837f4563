// The names of files in pg_wal. A name means a position only together with the cluster's WAL segment size.
#pragma once

#include "base/error.h"
#include "postgres/lsn.h"

namespace pgmint::postgres {

/// Bytes of one WAL segment: a power of two from 1 MiB to 1 GiB, fixed by initdb (pg_control, or a segment's own
/// header).
class WalSegmentSize {
 public:
  /// @errors Corruption: not a size that PostgreSQL allows
  static Result<WalSegmentSize> of(std::uint64_t bytes);
  /// PostgreSQL's default.
  static constexpr WalSegmentSize default_size() { return WalSegmentSize(16U << 20); }
  constexpr std::uint32_t bytes() const { return bytes_; }
  constexpr std::uint64_t segments_per_xlog_id() const { return (std::uint64_t{1} << 32) / bytes_; }
  auto operator<=>(const WalSegmentSize&) const = default;

 private:
  constexpr explicit WalSegmentSize(std::uint32_t bytes) : bytes_(bytes) {}
  std::uint32_t bytes_;
};

/// How many segments of this size precede it in the WAL.
using SegmentNumber = Strong<std::uint64_t, struct SegmentNumberTag>;

/// Segment that holds the byte at `lsn`.
SegmentNumber segment_of(Lsn lsn, WalSegmentSize size);
/// Segment that holds the byte before `lsn`: the last one needed to reach an end position such as a backup's stop LSN.
SegmentNumber segment_before(Lsn end, WalSegmentSize size);
Lsn start_of(SegmentNumber segment, WalSegmentSize size);
constexpr SegmentNumber next(SegmentNumber segment) {
  return SegmentNumber(segment.value() + 1);
}
/// nullopt before the first.
std::optional<SegmentNumber> previous(SegmentNumber segment);

enum class WalFileKind {
  Segment,  ///< 24 hexadecimal digits
  Partial,  ///< a segment's name and ".partial": the last, unfinished one of a timeline that was left
  History,  ///< "00000002.history": where a timeline came from
  Backup    ///< a segment's name, ".XXXXXXXX.backup": the label of a backup that started in it
};

struct WalFileName {
  WalFileKind kind{};
  TimelineId timeline;
  SegmentNumber segment;            ///< not for History
  std::uint32_t backup_offset = 0;  ///< Backup: byte in the segment where the backup started
  bool operator==(const WalFileName&) const = default;
};

/// A plain file name, without directories. nullopt for anything PostgreSQL would not write: lower case digits, timeline
/// 0, a segment beyond what fits one 4 GiB block at this segment size.
std::optional<WalFileName> parse_wal_file_name(std::string_view name, WalSegmentSize size);
/// As above for names whose meaning needs no segment size. @return the timeline
std::optional<TimelineId> parse_history_file_name(std::string_view name);
/// True for names that archive_command may hand over, whatever the segment size.
bool looks_like_wal_file_name(std::string_view name);

std::string format(const WalFileName& name, WalSegmentSize size);
/// "000000010000000A000000FF".
std::string segment_file_name(TimelineId timeline, SegmentNumber segment, WalSegmentSize size);
/// "00000002.history".
std::string history_file_name(TimelineId timeline);

}  // namespace pgmint::postgres

#include "backup/last_record.h"

#include <fcntl.h>

#include "postgres/wal_reader.h"

namespace pgmint::backup {
namespace {

constexpr std::size_t kPiece = 1U << 20;
constexpr std::uint64_t kRecordAlignment = 8;  // MAXALIGN: where the next record may start

struct Found {
  std::optional<postgres::Lsn> record;  ///< the one that ends at the stop
  postgres::WalSegmentResult segment;
};

/// nullopt: the file is not there.
Result<std::optional<Found>> read_segment(const SegmentReader& segments, const std::string& name, postgres::TimelineId timeline,
                                          postgres::SegmentNumber segment, postgres::Lsn stop,
                                          postgres::WalSegmentSize size) {
  Found found;
  postgres::WalSegmentReader reader(timeline, segment, size, {}, [&](const postgres::WalRecord& record) {
    const auto aligned = (record.end.value() + kRecordAlignment - 1) / kRecordAlignment * kRecordAlignment;
    if (!found.record && aligned >= stop.value()) found.record = record.start;
  });
  const bool is_there = TRY(segments(name, [&](ByteView piece) -> Result<bool> {
    TRY(reader.feed(piece).context(name));
    return !found.record;
  }));
  if (!is_there) return std::optional<Found>();
  found.segment = TRY(std::move(reader).finish().context(name));
  return std::optional(std::move(found));
}

}  // namespace

SegmentReader segments_of(fs::path data_directory) {
  return [data_directory = std::move(data_directory)](const std::string& name, const std::function<Result<bool>(ByteView)>& take) -> Result<bool> {
    const auto path = data_directory / "pg_wal" / name;
    const auto fd = TRY(open_if_exists(path, O_RDONLY));
    if (!fd) return false;
    Bytes piece(kPiece);
    for (std::uint64_t at = 0;; at += piece.size()) {
      const auto got = TRY(read_at(*fd, piece, at, path.string()));
      if (got == 0 || !TRY(take(ByteView(piece).first(got)))) return true;
    }
  };
}

Result<std::optional<postgres::Lsn>> last_needed_record(const SegmentReader& segments, postgres::TimelineId timeline,
                                                        postgres::Lsn start, postgres::Lsn stop,
                                                        postgres::WalSegmentSize size) {
  const std::optional<postgres::Lsn> none;
  const auto behind_start = [&](postgres::Lsn record) { return record > start ? std::optional(record) : none; };
  const auto last = postgres::segment_before(stop, size);
  std::optional<postgres::SegmentNumber> segment = last;
  // The record may have started in an earlier segment.
  for (; segment && *segment >= postgres::segment_of(start, size); segment = postgres::previous(*segment)) {
    const auto found = TRY(read_segment(segments, postgres::segment_file_name(timeline, *segment, size), timeline, *segment, stop, size));
    if (!found) return none;
    if (found->record) return behind_start(*found->record);
    const auto& read = found->segment;
    if (*segment == last) {
      // A switch ends where its segment does, whatever its length says.
      if (read.end_kind == postgres::WalReadEnd::Switch && read.end >= stop) return behind_start(read.last_record);
      if (!read.leading) return none;
    } else if (read.trailing) {
      return behind_start(read.trailing->start);
    } else if (!read.leading_continues) {
      return none;
    }
  }
  return none;
}

}  // namespace pgmint::backup

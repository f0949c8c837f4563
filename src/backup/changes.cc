#include "backup/changes.h"

#include <fcntl.h>
#include <fmt/format.h>

#include "postgres/wal_record.h"
#include "repository/pack.h"

namespace pgmint::backup {
namespace {

using postgres::Lsn;
using postgres::WalSummary;

constexpr std::size_t kPiece = 1U << 20;

/// The server's own copy of a segment, as far as `needed`; nullopt: it has none. A recycled file under this name, whose pages
/// are of another place, makes a void summary.
Result<std::optional<WalSummary>> summarize_own(const ChangeSources& sources, postgres::TimelineId timeline,
                                                postgres::SegmentNumber segment, Lsn needed) {
  if (sources.data_directory.empty()) return std::optional<WalSummary>();
  const auto size = sources.control.wal_segment_size;
  const auto path = sources.data_directory / "pg_wal" / postgres::segment_file_name(timeline, segment, size);
  const auto fd = TRY(open_if_exists(path, O_RDONLY));
  if (!fd) return std::optional<WalSummary>();
  postgres::SegmentSummarizer summarizer(timeline, segment, size);
  Bytes piece(kPiece);
  for (std::uint64_t at = 0; at < size.bytes();) {
    const auto got = TRY(read_at(*fd, piece, at, path.string()));
    if (got == 0) break;
    summarizer.feed(ByteView(piece).first(got));
    at += got;
  }
  return std::optional(std::move(summarizer).finish_from(needed));
}

/// Of the archive, else of the server's own copy. nullopt: neither has one; `why` gets what was wrong.
Result<std::optional<WalSummary>> summary_of(const ChangeSources& sources, postgres::TimelineId timeline,
                                             postgres::SegmentNumber segment, Lsn needed, std::string& why,
                                             std::vector<std::string>& damage) {
  const auto size = sources.control.wal_segment_size;
  const auto name = postgres::segment_file_name(timeline, segment, size);
  auto archived = repository::read_summary(sources.archive, timeline, segment, size);
  if (archived && *archived) return archived;
  if (!archived && !repository::is_damage(archived.failure()) && archived.failure().code() != Errc::Precondition)
    return std::move(archived).failure();
  why = archived ? fmt::format("{} has no change summary in the repository", name)
                 : fmt::format("the change summary of {} cannot be read: {}", name, archived.failure().describe());
  if (!archived) damage.push_back(why);
  auto own = TRY(summarize_own(sources, timeline, segment, needed));
  if (!own) why += ", and the server no longer has the segment";
  return own;
}

}  // namespace

Result<postgres::TimelineHistory> history_of(const ChangeSources& sources, postgres::TimelineId timeline) {
  if (timeline == postgres::TimelineId(1)) return postgres::TimelineHistory(timeline);
  const auto name = postgres::history_file_name(timeline);
  const auto own = sources.data_directory / "pg_wal" / name;
  if (!sources.data_directory.empty() && TRY(stat_if_exists(own))) {
    const auto text = TRY(read_file(own, postgres::TimelineHistory::kTextMax));
    return postgres::TimelineHistory::parse(timeline, as_text(text));
  }
  const auto archived = TRY(sources.archive.get(name));
  if (!archived) return Error(Errc::NotFound, fmt::format("{} is neither in pg_wal nor in the repository", name));
  return postgres::TimelineHistory::parse(timeline, as_text(*archived));
}

Result<postgres::ChangeSet> changes_between(const ChangeSources& sources, const postgres::TimelineHistory& history, Lsn from,
                                            Lsn to, std::vector<std::string>& damage, const CancelToken* cancel) {
  const auto size = sources.control.wal_segment_size;
  // The start of a backup comes right behind a switch of segments: nothing begins in a segment's first page header.
  if (to.value() % size.bytes() <= postgres::kWalLongHeaderSize) to = postgres::start_of(postgres::segment_of(to, size), size);
  postgres::SummaryMerger merger;
  std::string why;
  Lsn end = from;
  for (const auto& range : repository::needed_segments(history, from, to, size)) {
    for (auto segment = range.first; segment <= range.last; segment = next(segment)) {
      if (cancel != nullptr) TRY(cancel->check());
      const auto summary = TRY(summary_of(sources, range.timeline, segment, to, why, damage));
      if (!summary) {
        postgres::ChangeSet nothing;
        nothing.void_reason = std::move(why);
        return nothing;
      }
      // What the summary of a broken segment is of is not known; the merger refuses it for what it is.
      if (!summary->void_reason && summary->system_identifier != sources.control.system_identifier) {
        postgres::ChangeSet nothing;
        nothing.void_reason = fmt::format("{} is of another cluster", postgres::segment_file_name(range.timeline, segment, size));
        return nothing;
      }
      merger.add(*summary);
      end = summary->end;
    }
  }
  if (from >= to) {  // nothing was written in between
    postgres::ChangeSet nothing;
    nothing.from = nothing.to = to;
    return nothing;
  }
  auto changes = std::move(merger).finish();
  if (!changes.void_reason && end < to)
    changes.void_reason = fmt::format("the WAL is known up to {} only, not to {}", postgres::format(end), postgres::format(to));
  return changes;
}

}  // namespace pgmint::backup

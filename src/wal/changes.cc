#include "wal/changes.h"

#include <fmt/format.h>

namespace pgmint::wal {
namespace {

using postgres::TimelineHistory;
using postgres::WalFileName;
using postgres::WalSegmentSize;
using repository::WalRange;

Error not_a_segment(const std::string& name) {
  return Error(Errc::Usage, fmt::format("{}: not the name of a WAL segment", name), Hint{"pgmint wal status names the first and the last"});
}

Result<WalFileName> segment_named(const std::string& name, WalSegmentSize size) {
  const auto parsed = postgres::parse_wal_file_name(name, size);
  if (parsed && parsed->kind == postgres::WalFileKind::Segment) return *parsed;
  return not_a_segment(name);
}

/// What a segment's name means depends on its size, which every stored segment tells.
Result<WalSegmentSize> segment_size(repository::WalArchive& archive, const std::string& name) {
  if (repository::wal_content_of(name) != repository::WalContent::Segment) return not_a_segment(name);
  const auto info = TRY(archive.info(name));
  if (!info) return Error(Errc::NotFound, fmt::format("{} is not archived", name), Hint{"pgmint wal status"});
  return WalSegmentSize::of(info->wal_segment_size);
}

Result<std::vector<WalRange>> segments_between(repository::WalArchive& archive, const WalFileName& first, const WalFileName& last,
                                               WalSegmentSize size) {
  if (last.segment < first.segment)
    return Error(Errc::Usage, fmt::format("{} lies before {}", format(last, size), format(first, size)), Hint{"pgmint wal show --help"});
  if (first.timeline == last.timeline) return std::vector{WalRange{first.timeline, first.segment, last.segment}};
  const auto name = postgres::history_file_name(last.timeline);
  const auto text = TRY(archive.get(name));
  if (!text) return Error(Errc::NotFound, fmt::format("{} is not archived", name), Hint{"pgmint wal status"});
  const auto history = TRY(TimelineHistory::parse(last.timeline, as_text(*text)).context(name));
  auto ranges = repository::needed_segments(history, start_of(first.segment, size), start_of(next(last.segment), size), size);
  if (ranges.front().timeline == first.timeline && ranges.back().timeline == last.timeline) return ranges;
  return Error(Errc::Precondition, fmt::format("{} is not on the way to {}: the history of timeline {} takes the WAL there from timeline {}",
                                               format(first, size), format(last, size), last.timeline.value(),
                                               ranges.front().timeline.value()),
               Hint{"pgmint wal status"});
}

}  // namespace

Result<ArchivedChanges> archived_changes(repository::WalArchive& archive, const std::string& first, const std::string& last,
                                         const CancelToken* cancel) {
  const auto size = TRY(segment_size(archive, first));
  ArchivedChanges result;
  result.segment_size = size;
  result.segments = TRY(segments_between(archive, TRY(segment_named(first, size)), TRY(segment_named(last, size)), size));
  postgres::SummaryMerger merger;
  const auto add = [&](const WalRange& one, const postgres::WalSummary* summary) -> Status {
    if (cancel != nullptr) TRY(cancel->check());
    if (summary == nullptr)
      return Error(Errc::NotFound, fmt::format("{} is not archived, or has no change summary", describe(one, size)), Hint{"pgmint wal status"});
    merger.add(*summary);
    return ok();
  };
  TRY(repository::for_each_summary(archive, result.segments, size, add));
  result.changes = std::move(merger).finish();
  return result;
}

}  // namespace pgmint::wal

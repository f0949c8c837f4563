// The part of wal_coverage.h that reads an archive.
#include <fmt/format.h>

#include <algorithm>

#include "repository/wal_coverage.h"
#include "repository/wal_object.h"

namespace pgmint::repository {

using postgres::Lsn;
using postgres::SegmentNumber;
using postgres::TimelineHistory;
using postgres::TimelineId;
using postgres::WalSegmentSize;

Result<WalInventory> load_wal_inventory(WalArchive& archive, std::optional<WalSegmentSize> size, std::vector<WalArchive::Listed>* listed) {
  auto files = TRY(archive.list_all());
  if (!size) {
    // The newest segment: an older one may have gone in the meantime.
    for (auto at = files.rbegin(); at != files.rend() && !size; ++at) {
      if (wal_content_of(at->file_name) != WalContent::Segment) continue;
      const auto info = TRY(archive.info(at->file_name));
      if (info) size = TRY(WalSegmentSize::of(info->wal_segment_size));
    }
  }
  WalInventory inventory(size.value_or(WalSegmentSize::default_size()));
  for (const auto& file : files) inventory.add(file.file_name, file.stored);
  if (listed != nullptr) *listed = std::move(files);
  std::vector<TimelineId> with_history;
  for (const auto& [timeline, contents] : inventory.timelines()) {
    if (contents.has_history_file) with_history.push_back(timeline);
  }
  for (const auto timeline : with_history) {
    auto text = archive.get(postgres::history_file_name(timeline));
    if (!text && text.failure().code() != Errc::Corruption) return std::move(text).failure();
    if (text && !*text) continue;
    std::optional<TimelineHistory> history;
    if (text) {
      auto parsed = TimelineHistory::parse(timeline, as_text(**text));
      if (parsed) history = std::move(*parsed);
    }
    inventory.add_history(timeline, std::move(history));
  }
  return inventory;
}

Result<std::vector<WalRange>> missing_segments(WalArchive& archive, TimelineId timeline, Lsn from, Lsn to,
                                               WalSegmentSize size) {
  if (to <= from) return std::vector<WalRange>{};
  const auto first = postgres::segment_of(from, size);
  const auto before = postgres::previous(first);
  WalInventory inventory(size);
  for (const auto& file :
       TRY(archive.list(timeline.value(), before ? postgres::segment_file_name(timeline, *before, size) : ""))) {
    inventory.add(file.file_name, file.stored);
  }
  return inventory.missing(TimelineHistory(timeline), from, to);
}

Status wait_for_wal(WalArchive& archive, const WaitForWal& wait, Clock& clock) {
  const auto deadline = clock.now() + wait.limit;
  for (;;) {
    const auto missing = TRY(missing_segments(archive, wait.timeline, wait.from, wait.to, wait.size));
    if (missing.empty()) return ok();
    if (wait.cancel != nullptr) TRY(wait.cancel->check());
    if (wait.progress) wait.progress(missing);
    if (clock.now() >= deadline) {
      std::string names;
      for (std::size_t i = 0; i < missing.size() && i < 8; ++i) {
        names += (i == 0 ? "" : ", ") + describe(missing[i], wait.size);
      }
      if (missing.size() > 8) names += ", ...";
      return Error(Errc::Postgres,
                   fmt::format("WAL that is needed did not arrive in the repository within {} s: {}", wait.limit.count(), names),
                   Hint{"look at archive_mode, archive_command and pg_stat_archiver of the server, and its log; "
                        "pgmint wal status shows what has arrived"});
    }
    clock.sleep(wait.poll);
  }
}

Result<std::optional<postgres::WalSummary>> read_summary(WalArchive& archive, TimelineId timeline, SegmentNumber segment,
                                                         WalSegmentSize size) {
  const auto name = postgres::segment_file_name(timeline, segment, size);
  const auto encoded = TRY(archive.summary(name));
  if (!encoded) return std::nullopt;
  return TRY(postgres::decode_summary(*encoded).context(name));
}

Status for_each_summary(WalArchive& archive, const std::vector<WalRange>& ranges, WalSegmentSize size,
                        const std::function<Status(const WalRange& one, const postgres::WalSummary*)>& visit) {
  for (const auto& range : ranges) {
    for (auto segment = range.first; segment <= range.last; segment = postgres::next(segment)) {
      const auto summary = TRY(read_summary(archive, range.timeline, segment, size));
      TRY(visit({range.timeline, segment, segment}, summary ? &*summary : nullptr));
    }
  }
  return ok();
}

Result<RecoveryWindow> recovery_window(WalArchive& archive, const WalInventory& inventory, const TimelineHistory& history,
                                       Lsn start, Lsn stop) {
  const auto size = inventory.segment_size();
  RecoveryWindow window;
  window.timeline = history.target();
  window.from = stop;
  const Lsn end = inventory.reachable_end(history, start).value_or(start);
  window.complete_to_from = end >= stop;
  window.end = std::max(end, stop);
  window.segments = needed_segments(history, start, end, size);

  // Later WAL on the way means that it does not simply end here.
  Lsn stored_to{};
  for (const auto& range : needed_segments(history, end, Lsn(UINT64_MAX), size)) {
    const auto files = inventory.timelines().find(range.timeline);
    if (files == inventory.timelines().end()) continue;
    auto at = files->second.segments.upper_bound(range.last);
    if (at == files->second.segments.begin()) continue;
    --at;
    if (*at >= range.first) stored_to = std::max(stored_to, postgres::start_of(postgres::next(*at), size));
  }
  if (stored_to > end) {
    const auto missing = inventory.missing(history, end, stored_to);
    if (!missing.empty()) window.first_gap = missing.front();
  }
  if (!window.complete_to_from) return window;

  std::uint64_t looked_at = 0;
  const auto oldest = postgres::segment_of(stop, size);
  for (auto range = window.segments.rbegin(); range != window.segments.rend(); ++range) {
    for (auto segment = range->last; segment >= range->first && segment >= oldest;) {
      if (looked_at++ == kCommitSearchMax) {
        window.last_commit_known = false;
        return window;
      }
      const auto summary = TRY(read_summary(archive, range->timeline, segment, size));
      if (!summary || (summary->void_reason && !summary->last_commit)) window.last_commit_known = false;
      if (summary && summary->last_commit) {
        if (summary->last_commit->end > stop) window.last_commit = summary->last_commit;
        return window;
      }
      const auto before = postgres::previous(segment);
      if (!before) break;
      segment = *before;
    }
  }
  return window;
}

}  // namespace pgmint::repository

#include "restore/replay.h"

#include <algorithm>
#include <map>

#include "restore/recovery_settings.h"

namespace pgmint::restore {
namespace {

using postgres::Lsn;
using repository::WalRange;

struct Segment {
  postgres::TimelineId timeline;
  postgres::SegmentNumber number;
};

/// Where recovery ends inside what it may read.
struct End {
  Lsn at;
  bool exact = true;
};

class Search {
 public:
  Search(repository::WalArchive& archive, const std::vector<WalRange>& ranges, postgres::WalSegmentSize size) : archive_(archive), size_(size) {
    for (const auto& range : ranges)
      for (auto number = range.first.value(); number <= range.last.value(); ++number) segments_.push_back({range.timeline, postgres::SegmentNumber(number)});
  }

  /// The first commit after `time` (at it, when exclusive) ends recovery. Commits come in the order of time, but for those of one moment.
  Result<std::optional<End>> first_commit_after(TimePoint time, bool exclusive) {
    const auto passed = [&](TimePoint commit) { return exclusive ? commit >= time : commit > time; };
    std::size_t low = 0, high = segments_.size();
    while (low < high) {
      const auto middle = low + (high - low) / 2;
      auto at = middle + 1;  // the newest segment up to the middle that has a commit
      std::optional<postgres::CommitPoint> commit;
      while (at > low && !commit) commit = TRY(commit_of(--at));
      if (commit && passed(commit->time)) {
        high = at;
      } else {
        low = middle + 1;
      }
    }
    if (low == segments_.size()) return std::optional<End>();
    const auto summary = TRY(summary_of(low));
    if (!summary) return std::optional<End>();
    if (summary->first_commit && passed(summary->first_commit->time)) return std::optional(End{summary->first_commit->end, true});
    if (summary->last_commit) return std::optional(End{summary->last_commit->end, false});
    return std::optional(End{end_of(low), false});
  }

  Result<std::optional<End>> first(const std::function<std::optional<End>(const postgres::WalSummary&, Lsn segment_end)>& match) {
    for (std::size_t i = 0; i < segments_.size(); ++i)
      if (const auto summary = TRY(summary_of(i)))
        if (auto found = match(*summary, end_of(i))) return found;
    return std::optional<End>();
  }

 private:
  Lsn end_of(std::size_t index) const { return postgres::start_of(postgres::next(segments_[index].number), size_); }

  Result<std::optional<postgres::WalSummary>> summary_of(std::size_t index) {
    auto summary = repository::read_summary(archive_, segments_[index].timeline, segments_[index].number, size_);
    // A plan that knows less is better than none: the restore itself reads the WAL anyway.
    if (!summary && summary.failure().code() == Errc::Corruption) return std::optional<postgres::WalSummary>();
    return summary;
  }
  Result<std::optional<postgres::CommitPoint>> commit_of(std::size_t index) {
    const auto summary = TRY(summary_of(index));
    return summary ? summary->last_commit : std::optional<postgres::CommitPoint>();
  }

  repository::WalArchive& archive_;
  postgres::WalSegmentSize size_;
  std::vector<Segment> segments_;
};

bool xid_precedes(std::uint32_t a, std::uint32_t b) { return static_cast<std::int32_t>(a - b) < 0; }

Result<End> end_of_recovery(const Target& target, const Choice& choice, Search& search) {
  const Lsn stop(choice.root.stop_lsn);
  const auto last = End{std::max(stop, choice.window.end), false};
  switch (target.kind) {
    case TargetKind::Latest: return End{std::max(stop, choice.window.end), true};
    case TargetKind::Immediate: return End{stop, true};
    // The record that begins there is read.
    case TargetKind::Lsn: return End{std::max(stop, Lsn(target.lsn.value() + 1)), true};
    case TargetKind::Time: {
      const auto found = TRY(search.first_commit_after(target.time, target.exclusive));
      return found ? End{std::max(stop, found->at), found->exact} : last;
    }
    case TargetKind::Name: {
      const auto found = TRY(search.first([&](const postgres::WalSummary& summary, Lsn) -> std::optional<End> {
        for (const auto& point : summary.restore_points)
          if (point.name == target.name && point.end >= stop) return End{point.end, true};
        return std::nullopt;
      }));
      return found.value_or(last);
    }
    case TargetKind::Xid: {
      // Transactions do not end in the order in which they began: from the first segment on that has one as young.
      const auto found = TRY(search.first([&](const postgres::WalSummary& summary, Lsn segment_end) -> std::optional<End> {
        if (summary.last_xid && !xid_precedes(summary.last_xid->value(), target.xid)) return End{segment_end, false};
        return std::nullopt;
      }));
      return found ? End{std::max(stop, found->at), found->exact} : last;
    }
  }
  return last;
}

}  // namespace

Result<Replay> replay_of(const RestoreRequest& request, const Choice& choice) {
  const auto& root = choice.root;
  const auto size = TRY(postgres::WalSegmentSize::of(root.wal_segment_size));
  repository::WalArchive archive(request.cluster, {root.system_id, root.incarnation});
  Search search(archive, choice.window.segments, size);
  const auto end = TRY(end_of_recovery(recovery_target(request.target, root), choice, search));
  Replay replay;
  replay.from = Lsn(root.start_lsn);
  replay.to = end.at;
  replay.ends_there = end.exact;
  replay.segments = repository::needed_segments(choice.history, replay.from, replay.to, size);
  std::map<postgres::TimelineId, std::vector<WalRange>> wanted;
  for (const auto& range : replay.segments) {
    replay.segment_count += range.count();
    wanted[range.timeline].push_back(range);
  }
  for (const auto& [timeline, ranges] : wanted)
    for (const auto& file : TRY(archive.list(timeline.value()))) {
      const auto segment = postgres::parse_wal_file_name(file.file_name, size);
      if (!segment || segment->kind != postgres::WalFileKind::Segment) continue;
      if (std::ranges::any_of(ranges, [&](const WalRange& range) { return range.first <= segment->segment && segment->segment <= range.last; })) replay.stored_bytes += file.stored;
    }
  return replay;
}

}  // namespace pgmint::restore

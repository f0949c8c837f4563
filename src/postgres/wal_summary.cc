#include "postgres/wal_summary.h"

#include <fmt/format.h>

#include "postgres/change_collector.h"

namespace pgmint::postgres {

struct SegmentSummarizer::State {
  State(TimelineId t, SegmentNumber n, WalSegmentSize size)
      : timeline(t),
        segment(n),
        segment_size(size),
        reader(t, n, size, {}, [this](const WalRecord& record) { add(record); }) {}

  /// The version is known from the first page on, which the reader has read before it visits a record.
  void add(const WalRecord& record) {
    if (!collector) collector.emplace(*version);
    collector->add(record);
  }

  TimelineId timeline;
  SegmentNumber segment;
  WalSegmentSize segment_size;
  const VersionEntry* version = nullptr;
  Bytes first_bytes;
  std::optional<ChangeCollector> collector;
  WalSegmentReader reader;
  std::optional<std::string> failed;
};

SegmentSummarizer::SegmentSummarizer(TimelineId timeline, SegmentNumber segment, WalSegmentSize size)
    : state_(std::make_unique<State>(timeline, segment, size)) {}
SegmentSummarizer::SegmentSummarizer(SegmentSummarizer&&) noexcept = default;
SegmentSummarizer::~SegmentSummarizer() = default;

void SegmentSummarizer::feed(ByteView bytes, const codec::WalChain& proven) {
  State& state = *state_;
  if (state.failed) return;
  if (state.version == nullptr) {
    append(state.first_bytes, bytes.first(std::min(bytes.size(), kWalLongHeaderSize - state.first_bytes.size())));
    if (state.first_bytes.size() == kWalLongHeaderSize) {
      auto header = wal_segment_header(state.first_bytes);
      if (header) state.version = header->version;
    }
  }
  auto fed = state.reader.feed(bytes, proven);
  if (!fed) state.failed = fed.failure().describe();
}

WalSummary SegmentSummarizer::finish() && {
  // No segment reaches so far: WAL must not end before the segment does.
  return std::move(*this).finish_from(Lsn(~std::uint64_t{0}));
}

WalSummary SegmentSummarizer::finish_from(Lsn needed) && {
  State& state = *state_;
  WalSummary summary;
  summary.timeline = state.timeline;
  summary.segment = state.segment;
  summary.segment_size = state.segment_size;
  auto read = std::move(state.reader).finish();
  if (!state.failed && !read) state.failed = read.failure().describe();
  if (state.failed) {
    summary.void_reason = *state.failed;
    return summary;
  }
  summary.major = read->header.version->major;
  summary.system_identifier = read->header.system_identifier;
  summary.wal_block_size = read->header.block_size;
  summary.first_record = read->first_record;
  summary.first_previous = read->first_previous;
  summary.last_record = read->last_record;
  summary.last_complete = read->last_complete;
  summary.end = read->end;
  summary.ends_with_switch = read->end_kind == WalReadEnd::Switch;
  summary.leading = std::move(read->leading);
  summary.trailing = std::move(read->trailing);
  summary.leading_continues = read->leading_continues;
  summary.overwrites_fragment = read->overwrites_fragment;
  if (state.collector) {
    ChangeCollector& collector = *state.collector;
    summary.blocks = collector.blocks.take();
    summary.limits = collector.limits.take();
    summary.first_commit = collector.first_commit;
    summary.last_commit = collector.last_commit;
    summary.last_xid = collector.last_xid;
    summary.restore_points = std::move(collector.restore_points);
    summary.events = std::move(collector.events);
    summary.events_omitted = collector.events_omitted;
    summary.void_reason = std::move(collector.void_reason);
  }
  if (read->end_kind == WalReadEnd::EndOfWal && read->end < needed && !summary.void_reason)
    summary.void_reason = fmt::format("WAL ends inside the segment, at {}: {}", format(read->end), read->end_reason);
  return summary;
}

WalSummary summarize_segment(ByteView segment, TimelineId timeline, SegmentNumber number, WalSegmentSize size) {
  SegmentSummarizer summarizer(timeline, number, size);
  summarizer.feed(segment);
  return std::move(summarizer).finish();
}

}  // namespace pgmint::postgres

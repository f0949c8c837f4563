#include <fmt/format.h>

#include "postgres/change_collector.h"
#include "postgres/wal_summary.h"

namespace pgmint::postgres {
namespace {

/// A record whose end is still to come.
struct Pending {
  Lsn start;
  std::uint32_t length = 0;
  Bytes head;
  PartialCrc crc;
  bool head_is_all = true;  // `head` holds every byte so far
};

}  // namespace

struct SummaryMerger::State {
  std::optional<WalSummary> last;  // without lists: identity and positions of the segment before
  std::optional<ChangeCollector> collector;
  std::optional<Pending> pending;
  Lsn from, to;
  Lsn last_record;             // start of the last record that began, the pending one included; 0/0: not known yet
  Lsn last_complete;           // start of the last record that ended
  bool knows_leading = false;  // a record that began before the range: its end is not ours to judge
  std::optional<std::string> void_reason;

  void set_void(std::string reason) {
    if (!void_reason) void_reason = std::move(reason);
  }

  std::string name(const WalSummary& summary) const {
    return segment_file_name(summary.timeline, summary.segment, summary.segment_size);
  }

  /// Is this the segment after the last one, of the same cluster?
  void check_neighbour(const WalSummary& next) {
    if (!last) return;
    if (next.major != last->major || next.system_identifier != last->system_identifier ||
        next.segment_size != last->segment_size || next.wal_block_size != last->wal_block_size)
      return set_void(fmt::format("{} is of another cluster than the WAL before", name(next)));
    if (next.segment.value() != last->segment.value() + 1)
      return set_void(fmt::format("there is a gap between {} and {}", name(*last), name(next)));
    if (next.timeline < last->timeline)
      return set_void(fmt::format("{} is of an older timeline than the WAL before", name(next)));
  }

  void check_chain(const WalSummary& next, Lsn expected) {
    if (!is_valid(next.first_previous) || !is_valid(expected)) return;
    if (next.first_previous != expected)
      set_void(fmt::format("the chain breaks in {}: its first record follows {}, not {}", name(next),
                           format(next.first_previous), format(expected)));
  }

  void complete_pending(const WalSummary& next) {
    Pending record = std::move(*pending);
    pending.reset();
    if (record.crc.length != record.length)
      return set_void(fmt::format("the record at {} has another length in {}", format(record.start), name(next)));
    if (record.head.size() < kRecordHeaderSize)
      return set_void(fmt::format("the record at {} was kept without its header", format(record.start)));
    ByteView head = record.head;
    auto header = head.first(kRecordHeaderSize);
    if (!record_crc_fits(without_prefix(record.crc, partial_crc(header)), header))
      return set_void(
          fmt::format("the checksum of the record at {} does not fit once its parts are joined", format(record.start)));
    WalRecord whole{.start = record.start,
                    .end = joined_end(next),
                    .header = parse_record_header(head),
                    .layout = {},
                    .main_data = {}};
    if (is_valid(last_complete) && whole.header.previous != last_complete)
      return set_void(fmt::format("the chain breaks at {}", format(record.start)));
    auto layout = parse_record_layout(head, record.length, *find_version(next.major));
    if (!layout) return set_void(fmt::format("record at {}: {}", format(record.start), layout.failure().message()));
    whole.layout = std::move(*layout);
    if (head.size() > whole.layout.main_data_offset) whole.main_data = head.subspan(whole.layout.main_data_offset);
    collector->add(whole);
    last_complete = record.start;
  }

  /// Where the record that ends in `next` ends.
  Lsn joined_end(const WalSummary& next) const {
    // Bytes of the record in this segment, with a header on each page they cover.
    std::uint64_t left = next.leading ? next.leading->remaining : 0;
    std::uint64_t at = 0;
    for (bool first = true; left > 0; first = false) {
      std::uint64_t room = next.wal_block_size - (first ? kWalLongHeaderSize : kWalShortHeaderSize);
      std::uint64_t taken = std::min(room, left);
      left -= taken;
      at += left > 0 ? next.wal_block_size : next.wal_block_size - room + taken;
    }
    at = (at + 7) & ~std::uint64_t{7};
    return start_of(next.segment, next.segment_size) + at;
  }

  void join_leading(const WalSummary& next) {
    if (next.overwrites_fragment) {
      pending.reset();  // the server itself went on without it
      check_chain(next, last_complete);
      return;
    }
    if (pending && !next.leading)
      return set_void(fmt::format("the record at {} is not continued in {}", format(pending->start), name(next)));
    if (!pending && next.leading && last && !knows_leading)
      return set_void(fmt::format("{} continues a record that the WAL before does not begin", name(next)));
    knows_leading = !pending && next.leading && next.leading_continues;
    if (pending) {
      if (pending->length - std::min<std::uint64_t>(pending->length, pending->crc.length) != next.leading->remaining)
        return set_void(
            fmt::format("the record at {} continues with another length in {}", format(pending->start), name(next)));
      if (pending->head_is_all)
        append(pending->head,
               ByteView(next.leading->head)
                   .first(std::min(next.leading->head.size(),
                                   kFragmentKeepMax - std::min(kFragmentKeepMax, pending->head.size()))));
      pending->crc = concatenate(pending->crc, next.leading->crc);
      pending->head_is_all = pending->head.size() == pending->crc.length;
      if (next.leading_continues) return;
      complete_pending(next);
    }
    check_chain(next, last_record);
  }

  void add(const WalSummary& next) {
    if (void_reason) return take_facts(next);
    check_neighbour(next);
    if (next.void_reason) set_void(fmt::format("{}: {}", name(next), *next.void_reason));
    if (!void_reason && find_version(next.major) == nullptr)
      set_void(fmt::format("{}: PostgreSQL {} is unknown", name(next), next.major));
    if (void_reason) return take_facts(next);
    if (!collector) collector.emplace(*find_version(next.major));
    if (!last) {
      from = is_valid(next.first_record) ? next.first_record : start_of(next.segment, next.segment_size);
      knows_leading = next.leading.has_value();
    }
    join_leading(next);
    take_facts(next);
    for (const auto& fork : next.blocks) collector->blocks.add(fork);
    for (const auto& limit : next.limits) collector->limits.add(limit.where, limit.limit);
    if (is_valid(next.last_record)) last_record = next.last_record;
    if (is_valid(next.last_complete)) last_complete = next.last_complete;
    if (next.trailing)
      pending = Pending{.start = next.trailing->start,
                        .length = next.trailing->remaining,
                        .head = next.trailing->head,
                        .crc = next.trailing->crc,
                        .head_is_all = next.trailing->head.size() == next.trailing->crc.length};
    to = next.end;
    last = WalSummary{};
    last->major = next.major;
    last->system_identifier = next.system_identifier;
    last->timeline = next.timeline;
    last->segment = next.segment;
    last->segment_size = next.segment_size;
    last->wal_block_size = next.wal_block_size;
  }

  /// What stands even when blocks and limits do not.
  void take_facts(const WalSummary& next) {
    if (!collector) {
      const auto* version = find_version(next.major);
      collector.emplace(version != nullptr ? *version : all_versions().back());
    }
    if (next.first_commit) collector->add_commit(*next.first_commit);
    if (next.last_commit) collector->add_commit(*next.last_commit);
    for (const auto& point : next.restore_points) collector->restore_points.push_back(point);
    for (const auto& event : next.events) collector->add_event(event);
    collector->events_omitted += next.events_omitted;
  }
};

SummaryMerger::SummaryMerger() : state_(std::make_unique<State>()) {}
SummaryMerger::SummaryMerger(SummaryMerger&&) noexcept = default;
SummaryMerger::~SummaryMerger() = default;

void SummaryMerger::add(const WalSummary& summary) {
  state_->add(summary);
}

ChangeSet SummaryMerger::finish() && {
  State& state = *state_;
  ChangeSet changes;
  changes.from = state.from;
  changes.to = state.to;
  changes.void_reason = std::move(state.void_reason);
  if (!state.collector) {
    if (!changes.void_reason) changes.void_reason = "no WAL at all";
    return changes;
  }
  ChangeCollector& collector = *state.collector;
  if (!changes.void_reason) changes.void_reason = collector.void_reason;
  changes.blocks = collector.blocks.take();
  changes.limits = collector.limits.take();
  changes.first_commit = collector.first_commit;
  changes.last_commit = collector.last_commit;
  changes.restore_points = std::move(collector.restore_points);
  changes.events = std::move(collector.events);
  changes.events_omitted = collector.events_omitted;
  return changes;
}

}  // namespace pgmint::postgres

// What one WAL segment changed: the record kept beside each archived segment, and how neighbours are joined.
// Rules: POSTGRES.md 9 to 15. Format: docs/format/wal-summary.md.
#pragma once

#include <map>
#include <memory>

#include "base/clock.h"
#include "postgres/control_file.h"
#include "postgres/wal_reader.h"

namespace pgmint::postgres {

/// "From this LSN on, blocks at or above `limit` no longer are what they were": created, truncated or dropped storage.
struct LimitBlock {
  RelationFork where;  ///< relation zero: every relation of the database in that tablespace
  BlockNumber limit = 0;
  auto operator<=>(const LimitBlock&) const = default;
};

/// Blocks of one fork, sorted, each once.
struct ForkBlocks {
  RelationFork where;
  std::vector<BlockNumber> blocks;
  bool operator==(const ForkBlocks&) const = default;
};

struct CommitPoint {
  Lsn end;  ///< of the commit record
  TransactionId xid;
  TimePoint time;
  bool operator==(const CommitPoint&) const = default;
};

struct RestorePoint {
  std::string name;
  Lsn end;
  TimePoint time;
  bool operator==(const RestorePoint&) const = default;
};

/// Something a person may want to go back before.
struct RelationEvent {
  enum class Kind : std::uint8_t { Drop = 0, Truncate = 1, DatabaseDrop = 2, DatabaseCreate = 3 };
  Kind kind{};
  Lsn start;  ///< of the record: recovering to here, exclusively, is just before it
  TransactionId xid;
  std::optional<TimePoint> time;  ///< of the commit, where the record says
  RelationLocator locator;        ///< DatabaseDrop, DatabaseCreate: relation zero
  BlockNumber blocks = 0;         ///< Truncate: blocks that stayed
  bool operator==(const RelationEvent&) const = default;
};

struct WalSummary {
  int major = 0;
  SystemIdentifier system_identifier;
  TimelineId timeline;  ///< in the segment's name
  SegmentNumber segment;
  WalSegmentSize segment_size = WalSegmentSize::default_size();
  std::uint32_t wal_block_size = 8192;

  Lsn first_record, first_previous, last_record, last_complete, end;  ///< as WalSegmentResult
  bool ends_with_switch = false;

  std::vector<ForkBlocks> blocks;                        ///< sorted by fork
  std::vector<LimitBlock> limits;                        ///< sorted, the lowest per fork
  std::optional<CommitPoint> first_commit, last_commit;  ///< by time
  std::optional<TransactionId> last_xid;
  std::vector<RestorePoint> restore_points;
  std::vector<RelationEvent> events;  ///< at most kEventsMax
  std::uint64_t events_omitted = 0;

  std::optional<RecordFragment> leading, trailing;
  bool leading_continues = false;
  bool overwrites_fragment = false;

  /// Set: the blocks and limits do not tell everything that changed, so nothing may be skipped because of them
  /// (POSTGRES 15). Commit times and events stand as far as they were read.
  std::optional<std::string> void_reason;
  bool operator==(const WalSummary&) const = default;
};
inline constexpr std::size_t kEventsMax = 10'000;

/// Summarises one complete segment while it passes through. Not thread-safe. Never fails because of what WAL says: what
/// it cannot understand makes the summary void, with the reason.
class SegmentSummarizer {
 public:
  SegmentSummarizer(TimelineId timeline, SegmentNumber segment, WalSegmentSize size);
  SegmentSummarizer(SegmentSummarizer&&) noexcept;
  ~SegmentSummarizer();
  /// @param proven  records that lie in `bytes` and whose checksums need not be computed once more
  void feed(ByteView bytes, const codec::WalChain& proven = {});
  WalSummary finish() &&;
  /// For a segment that the server is still writing: WAL may end inside it, if every record before `needed` was read.
  WalSummary finish_from(Lsn needed) &&;

 private:
  struct State;
  std::unique_ptr<State> state_;
};
WalSummary summarize_segment(ByteView segment, TimelineId timeline, SegmentNumber number, WalSegmentSize size);

/// Versioned and extensible: unknown optional fields are passed over, unknown required ones refused.
Bytes encode_summary(const WalSummary& summary);
/// @errors Corruption (bounds-checked, hostile input), Precondition: written by a newer pgmint
Result<WalSummary> decode_summary(ByteView bytes);

/// What changed in a range of WAL, joined from the summaries of its segments.
struct ChangeSet {
  Lsn from, to;
  std::vector<ForkBlocks> blocks;  ///< sorted by fork
  std::vector<LimitBlock> limits;  ///< sorted, the lowest per fork
  std::optional<CommitPoint> first_commit, last_commit;
  std::vector<RestorePoint> restore_points;
  std::vector<RelationEvent> events;
  std::uint64_t events_omitted = 0;
  std::optional<std::string> void_reason;  ///< set: use none of blocks and limits
};

/// Joins summaries in WAL order, completing records that span segments and checking the chain by xl_prev. Not
/// thread-safe.
class SummaryMerger {
 public:
  /// The next segment of the range. A gap, another cluster, a broken chain or a void summary makes the result void.
  void add(const WalSummary& summary);
  ChangeSet finish() &&;
  SummaryMerger();
  SummaryMerger(SummaryMerger&&) noexcept;
  ~SummaryMerger();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace pgmint::postgres

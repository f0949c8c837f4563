// Records out of one WAL segment, fed page by page in pieces of any size.
#pragma once

#include <functional>
#include <memory>

#include "codec/wal_chain.h"
#include "postgres/wal_record.h"

namespace pgmint::postgres {

/// A CRC of part of a record, so that fragments kept by two segments can be checked once they meet.
struct PartialCrc {
  std::uint32_t value = 0;   ///< CRC-32C register started at zero, without final inversion
  std::uint64_t length = 0;  ///< bytes it covers
  bool operator==(const PartialCrc&) const = default;
};
PartialCrc partial_crc(ByteView data, PartialCrc before = {});
/// CRC of `first` followed by `second`.
PartialCrc concatenate(PartialCrc first, PartialCrc second);
/// The tail: what concatenate(prefix, tail) == whole. prefix.length <= whole.length.
PartialCrc without_prefix(PartialCrc whole, PartialCrc prefix);
/// Whether a record's CRC fits: `body` covers everything behind the header, `header` its 24 bytes.
bool record_crc_fits(PartialCrc body, ByteView header);

/// Part of a record at the edge of a segment.
struct RecordFragment {
  Lsn start;       ///< where the record starts; for a leading fragment unknown (0/0)
  Bytes head;      ///< its first bytes, at most kFragmentKeepMax; all of it when it is shorter
  PartialCrc crc;  ///< of all its bytes in this segment
  std::uint32_t remaining =
      0;  ///< leading: bytes of the record from the segment's start on; trailing: total length of the record
          ///< (zero when its length itself lies in the next segment: never, records are aligned)
  bool operator==(const RecordFragment&) const = default;
};
inline constexpr std::size_t kFragmentKeepMax = 4096;

/// A whole record within one segment.
struct WalRecord {
  Lsn start;
  Lsn end;  ///< of its last byte, before alignment; the pd_lsn that it gives is this, aligned to 8
  WalRecordHeader header;
  RecordLayout layout;
  ByteView main_data;  ///< borrowed during the visit; empty when longer than main_data_max or of no interest
};

struct WalReaderOptions {
  /// Main data above this is not gathered (a commit may drop thousands of tables); its CRC is checked all the same.
  std::uint32_t main_data_max = 4U << 20;
};

/// Why reading stopped.
enum class WalReadEnd {
  SegmentEnd,  ///< all pages were read
  Switch,      ///< an XLOG_SWITCH record: the rest of the segment is empty
  EndOfWal     ///< zero length or an invalid record: what follows was never written (`end_reason`)
};

struct WalSegmentResult {
  WalSegmentHeader header;
  Lsn first_record;    ///< start of the first whole or started record; 0/0 when there is none
  Lsn first_previous;  ///< its xl_prev: must be the last record before
  Lsn last_record;     ///< start of the last record that starts here; 0/0 when there is none
  Lsn last_complete;   ///< start of the last record that starts and ends here; 0/0 when there is none
  Lsn end;             ///< where reading stopped; after a switch the segment's end
  WalReadEnd end_kind = WalReadEnd::SegmentEnd;
  std::string end_reason;
  std::optional<RecordFragment> leading;   ///< end of a record from before
  bool leading_continues = false;          ///< the leading fragment fills the segment: the record goes on
  std::optional<RecordFragment> trailing;  ///< start of a record that goes on
  bool overwrites_fragment = false;  ///< the fragment before this segment was abandoned (XLOG_OVERWRITE_CONTRECORD)
};

/// Reads one segment. Not thread-safe. Memory is bounded by main_data_max and one WAL page.
class WalSegmentReader {
 public:
  using Visit = std::function<void(const WalRecord&)>;
  /// @param name  the segment's timeline and number, which pages must agree with
  WalSegmentReader(TimelineId timeline, SegmentNumber segment, WalSegmentSize size, WalReaderOptions options,
                   Visit visit);
  ~WalSegmentReader();
  WalSegmentReader(WalSegmentReader&&) noexcept;

  /// The next bytes of the segment, in pieces of any size. A record or page that cannot be ends the WAL there
  /// (end_reason), since what was never written looks the same. @errors Corruption, Precondition: the first page is not
  /// that of this segment
  /// @param proven  records that lie in `bytes` and whose checksums were found to fit: they are not computed again, where this reading
  ///                comes upon the first of them
  Status feed(ByteView bytes, const codec::WalChain& proven = {});
  /// After the last byte; the segment is taken to end there. @errors Corruption: not even a first page
  Result<WalSegmentResult> finish() &&;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace pgmint::postgres

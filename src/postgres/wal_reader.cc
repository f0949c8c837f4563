#include "postgres/wal_reader.h"

#include <fmt/format.h>

#include <algorithm>

#include "codec/crc32c.h"
#include "postgres/load.h"

namespace pgmint::postgres {
namespace {

constexpr std::uint8_t kRmgrInfoMask = 0xF0;
constexpr std::uint8_t kXlogSwitch = 0x40;
constexpr std::size_t kAlignment = 8;
constexpr std::size_t kCrcOffset = 20;
constexpr std::size_t kHeadMax = kRecordHeaderSize + kRecordHeadersMax;

constexpr std::uint64_t aligned(std::uint64_t position) {
  return (position + kAlignment - 1) & ~std::uint64_t{kAlignment - 1};
}

}  // namespace

struct WalSegmentReader::State {
  TimelineId timeline;
  SegmentNumber segment;
  WalSegmentSize size;
  Lsn segment_start = start_of(segment, size);
  WalReaderOptions options;
  Visit visit;

  WalSegmentResult result;
  bool ended = false;          // Switch or EndOfWal: what follows is not looked at
  std::uint64_t consumed = 0;  // bytes of whole pages that were processed
  Bytes page;                  // an incomplete page
  TimelineId page_timeline;

  std::optional<std::uint32_t> leading_left;  // bytes of the leading fragment still to come
  WalRecord record;  // the one being visited, kept for its memory
  // The record being put together from several pages.
  bool assembling = false;
  Lsn record_start;
  std::uint32_t record_length = 0;
  Bytes record_bytes;     // all of it, or its first kHeadMax bytes
  PartialCrc record_crc;  // of all its bytes so far; with record_proven only its length counts
  bool record_proven = false;
  codec::WalChain proven;  // of the bytes being fed
  bool in_chain = false;   // the reading is inside of `proven`, record by record

  State(TimelineId t, SegmentNumber s, WalSegmentSize z, WalReaderOptions o, Visit v)
      : timeline(t), segment(s), size(z), options(o), visit(std::move(v)) {}

  Lsn position(std::uint64_t offset) const { return segment_start + offset; }

  void end_of_wal(Lsn at, std::string_view why) {
    ended = true;
    result.end_kind = WalReadEnd::EndOfWal;
    result.end = at;
    result.end_reason = why;
    assembling = false;
  }

  std::size_t page_size() const { return result.header.block_size; }

  Status feed(ByteView bytes, const codec::WalChain& chain) {
    proven = chain;
    in_chain = false;
    while (!bytes.empty() && !ended) {
      if (consumed == 0 && result.header.version == nullptr) {
        gather(bytes, kWalLongHeaderSize);
        if (page.size() < kWalLongHeaderSize) return ok();
        TRY(read_segment_header());
      }
      if (consumed + page.size() >= size.bytes()) return Error(Errc::Corruption, "more bytes than a WAL segment has");
      if (page.empty() && bytes.size() >= page_size()) {
        read_page(bytes.first(page_size()));
        bytes = bytes.subspan(page_size());
        continue;
      }
      gather(bytes, page_size());
      if (page.size() < page_size()) return ok();
      Bytes whole = std::move(page);
      page.clear();
      read_page(whole);
    }
    return ok();
  }

  /// Moves bytes into `page` until it has `wanted`.
  void gather(ByteView& bytes, std::size_t wanted) {
    auto taken = std::min(bytes.size(), wanted - std::min(wanted, page.size()));
    append(page, bytes.first(taken));
    bytes = bytes.subspan(taken);
  }

  Status read_segment_header() {
    result.header = TRY(wal_segment_header(page));
    return check_segment_identity(
        result.header, {.kind = WalFileKind::Segment, .timeline = timeline, .segment = segment}, size, std::nullopt);
  }

  /// What is wrong with a page's header in this place; empty when nothing is.
  std::string page_problem(ByteView bytes, const Result<WalPageHeader>& header) const {
    if (!header) return header.failure().message();
    if (header->magic != result.header.version->wal_page_magic) return "the page magic changes";
    if (header->address != position(consumed)) return "a page of another place";
    if (header->long_header != (consumed == 0)) return "a page header of the wrong kind";
    if (header->timeline > timeline || header->timeline < page_timeline) return "a page of another timeline";
    if (header->long_header && load<std::uint64_t>(bytes, 24) != result.header.system_identifier.value())
      return "a page of another cluster";
    return {};
  }

  void read_page(ByteView bytes) {
    const std::uint64_t begin = consumed;
    auto header = parse_wal_page_header(bytes);
    if (auto problem = page_problem(bytes, header); !problem.empty()) {
      consumed += bytes.size();
      end_of_wal(assembling ? record_start : position(begin), problem);
      return;
    }
    page_timeline = header->timeline;
    std::size_t at = header->long_header ? kWalLongHeaderSize : kWalShortHeaderSize;
    if (auto problem = continue_over_page(*header, begin); !problem.empty()) {
      consumed += bytes.size();
      end_of_wal(assembling ? record_start : position(begin), problem);
      return;
    }
    read_records(bytes, at, begin);
    consumed = begin + bytes.size();
  }

  /// Whether the page continues what the last one began. @return what is wrong
  std::string continue_over_page(const WalPageHeader& header, std::uint64_t begin) {
    if (header.overwrites_continuation) {
      // After a crash the rest of the record never came; the log goes on without it.
      in_chain = false;
      if (assembling) {
        assembling = false;
      } else if (begin == 0 || leading_left) {
        result.overwrites_fragment = true;
        result.leading.reset();
        leading_left.reset();
      }
      return {};
    }
    if (begin == 0 && header.first_is_continuation) {
      if (header.remaining == 0 || header.remaining > kRecordLengthMax) return "an impossible continuation";
      leading_left = header.remaining;
      result.leading = RecordFragment{.start = {}, .head = {}, .crc = {}, .remaining = header.remaining};
      return {};
    }
    std::uint64_t expected = 0;
    if (leading_left) expected = *leading_left;
    if (assembling) expected = record_length - record_crc.length;
    if (header.first_is_continuation != (expected != 0)) return "a record is not continued";
    if (expected != 0 && header.remaining != expected) return "a record continues with another length";
    return {};
  }

  void read_records(ByteView bytes, std::size_t at, std::uint64_t begin) {
    while (at < bytes.size() && !ended) {
      if (leading_left) {
        auto taken = std::min<std::size_t>(*leading_left, bytes.size() - at);
        keep(*result.leading, bytes.subspan(at, taken));
        at += taken;
        *leading_left -= static_cast<std::uint32_t>(taken);
        if (*leading_left != 0) return;
        leading_left.reset();
        at = aligned(at);
      } else if (assembling) {
        auto taken = std::min<std::size_t>(record_length - record_crc.length, bytes.size() - at);
        assemble(bytes.subspan(at, taken));
        at += taken;
        if (record_crc.length < record_length) return;
        at = aligned(at);
        assembling = false;
        finish_assembled(position(begin + at));
      } else {
        at = start_record(bytes, at, begin);
      }
    }
  }

  static void keep(RecordFragment& fragment, ByteView bytes) {
    append(fragment.head, bytes.first(std::min(bytes.size(), kFragmentKeepMax - fragment.head.size())));
    fragment.crc = partial_crc(bytes, fragment.crc);
  }

  void assemble(ByteView bytes) {
    std::size_t wanted = record_length <= options.main_data_max ? record_length : std::max(kHeadMax, kFragmentKeepMax);
    append(record_bytes, bytes.first(std::min(bytes.size(), wanted - std::min(wanted, record_bytes.size()))));
    if (record_proven)
      record_crc.length += bytes.size();
    else
      record_crc = partial_crc(bytes, record_crc);
  }

  /// Whether the record that begins here is one of `proven`. Both readings go by the records' lengths: where they meet once, they
  /// stay together.
  bool is_proven(Lsn start) {
    in_chain = (in_chain || start.value() == proven.from) && start.value() < proven.to;
    return in_chain;
  }

  /// The CRC runs over the body first, then over the header up to the CRC itself (XLogInsertRecord).
  static bool whole_crc_fits(ByteView record) {
    const auto crc = codec::crc32c(record.first(kCrcOffset), codec::crc32c(record.subspan(kRecordHeaderSize)));
    return crc == load<std::uint32_t>(record, kCrcOffset);
  }

  /// A record begins at `at`. @return where to go on in the page
  std::size_t start_record(ByteView bytes, std::size_t at, std::uint64_t begin) {
    const Lsn start = position(begin + at);
    auto length = load<std::uint32_t>(bytes, at);
    if (length == 0) {
      end_of_wal(start, "no record begins there");
      return at;
    }
    if (length < kRecordHeaderSize || length > kRecordLengthMax) {
      end_of_wal(start, "a record of an impossible length");
      return at;
    }
    auto here = bytes.subspan(at, std::min<std::size_t>(length, bytes.size() - at));
    if (here.size() < length) {
      if (here.size() >= kRecordHeaderSize) {
        if (const auto header = parse_record_header(here); !follows(header)) {
          end_of_wal(start, wrong_chain(header));
          return at;
        }
      }
      assembling = true;
      record_proven = is_proven(start);
      record_start = start;
      record_length = length;
      record_bytes.clear();
      record_crc = {};
      assemble(here);
      return bytes.size();
    }
    at = aligned(at + length);
    finish(start, position(begin + at), here, is_proven(start) || whole_crc_fits(here));
    return at;
  }

  /// Whether the next record names the last one as the one before it.
  bool follows(const WalRecordHeader& header) const {
    return !is_valid(result.last_complete) || header.previous == result.last_complete;
  }
  std::string wrong_chain(const WalRecordHeader& header) const {
    return fmt::format("a record follows {}, not {}", format(header.previous), format(result.last_complete));
  }

  void finish_assembled(Lsn end) {
    ByteView bytes = record_bytes;
    auto header = bytes.first(kRecordHeaderSize);
    if (record_proven) return finish(record_start, end, bytes, true);
    if (bytes.size() == record_length) return finish(record_start, end, bytes, whole_crc_fits(bytes));
    auto body = without_prefix(record_crc, partial_crc(header));
    finish(record_start, end, bytes, record_crc_fits(body, header));
  }

  void finish(Lsn start, Lsn end, ByteView bytes, bool crc_fits) {
    record.start = start;
    record.end = end;
    record.header = parse_record_header(bytes);
    record.main_data = {};
    if (!crc_fits || !follows(record.header)) {
      end_of_wal(start, crc_fits ? wrong_chain(record.header) : "a record's checksum does not fit");
      return;
    }
    note_start(start, record.header.previous);
    result.last_complete = start;
    if (const char* problem =
            read_record_layout(bytes, record.header.total_length, *result.header.version, kPageSizeMax, record.layout)) {
      end_of_wal(start, fmt::format("WAL record: {}", problem));
      return;
    }
    if (bytes.size() == record.header.total_length) record.main_data = bytes.subspan(record.layout.main_data_offset);
    const bool is_switch = record.header.rmgr == static_cast<std::uint8_t>(Rmgr::Xlog) &&
                           (record.header.info & kRmgrInfoMask) == kXlogSwitch;
    if (is_switch) record.end = position(size.bytes());
    visit(record);
    if (is_switch) {
      ended = true;
      result.end_kind = WalReadEnd::Switch;
      result.end = record.end;
    }
  }

  void note_start(Lsn start, Lsn previous) {
    if (!is_valid(result.first_record)) {
      result.first_record = start;
      result.first_previous = previous;
    }
    result.last_record = start;
  }

  Result<WalSegmentResult> finish_segment() {
    if (result.header.version == nullptr) return Error(Errc::Corruption, "not even the first page of a WAL segment");
    if (!ended && consumed < size.bytes()) {
      end_of_wal(assembling ? record_start : position(consumed), "the segment is shorter than it should be");
      leading_left.reset();
    }
    if (result.end_kind == WalReadEnd::SegmentEnd) result.end = position(size.bytes());
    result.leading_continues = leading_left.has_value() && !ended;
    if (ended && leading_left) result.leading.reset();
    if (assembling) {
      bool has_header = record_bytes.size() >= kRecordHeaderSize;
      note_start(record_start, has_header ? parse_record_header(record_bytes).previous : kInvalidLsn);
      record_bytes.resize(std::min(record_bytes.size(), kFragmentKeepMax));
      result.trailing = RecordFragment{
          .start = record_start, .head = std::move(record_bytes), .crc = record_crc, .remaining = record_length};
    }
    return std::move(result);
  }
};

WalSegmentReader::WalSegmentReader(TimelineId timeline, SegmentNumber segment, WalSegmentSize size,
                                   WalReaderOptions options, Visit visit)
    : state_(std::make_unique<State>(timeline, segment, size, options, std::move(visit))) {}
WalSegmentReader::~WalSegmentReader() = default;
WalSegmentReader::WalSegmentReader(WalSegmentReader&&) noexcept = default;

Status WalSegmentReader::feed(ByteView bytes, const codec::WalChain& proven) {
  return state_->feed(bytes, proven);
}
Result<WalSegmentResult> WalSegmentReader::finish() && {
  return state_->finish_segment();
}

}  // namespace pgmint::postgres

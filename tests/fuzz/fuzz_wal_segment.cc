// The input is the start of a WAL segment, fed in pieces; its own header says which segment it is. Whatever the bytes
// are, there is a summary, it encodes, and what it encodes to reads back.
#include "fuzz_input.h"
#include "postgres/wal_summary.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace pgmint;
  using namespace pgmint::postgres;
  ByteView input = fuzz_input(data, size);
  auto header = wal_segment_header(input);
  TimelineId timeline = header ? header->timeline : TimelineId(1);
  WalSegmentSize segment_size = header ? header->segment_size : WalSegmentSize::default_size();
  SegmentNumber segment = header ? segment_of(header->address, segment_size) : SegmentNumber(1);
  SegmentSummarizer whole(timeline, segment, segment_size), pieces(timeline, segment, segment_size);
  whole.feed(input);
  for (std::size_t at = 0, piece = 1; at < input.size(); at += piece, piece = piece * 3 + 1)
    pieces.feed(input.subspan(at, std::min(piece, input.size() - at)));
  WalSummary summary = std::move(whole).finish();
  PGMINT_ASSERT(summary == std::move(pieces).finish());
  auto back = decode_summary(encode_summary(summary));
  PGMINT_ASSERT(back.has_value());
  PGMINT_ASSERT(*back == summary || (summary.void_reason && summary.void_reason->size() > 1024));
  SummaryMerger merger;
  merger.add(summary);
  merger.add(summary);
  PGMINT_ASSERT(std::move(merger).finish().void_reason.has_value());
  // Records straight from the bytes as well: in whole segments CRCs keep most of what is hostile out.
  for (const auto& version : all_versions()) {
    if (input.size() < 32) break;
    auto length = static_cast<std::uint32_t>(input.size());
    (void)parse_record_layout(input, length, version);
  }
  return 0;
}

// The input is an encoded change summary. What decodes encodes again to something that decodes to the same, and joins.
#include "fuzz_input.h"
#include "postgres/wal_summary.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace pgmint;
  using namespace pgmint::postgres;
  auto summary = decode_summary(fuzz_input(data, size));
  if (!summary && summary.failure().code() == Errc::Precondition) return 0;  // written by a newer pgmint
  if (!parsed_or_corrupt(summary)) return 0;
  auto again = decode_summary(encode_summary(*summary));
  PGMINT_ASSERT(again.has_value() && *again == *summary);
  SummaryMerger merger;
  merger.add(*summary);
  WalSummary next_one = *summary;
  next_one.segment = next(summary->segment);
  merger.add(next_one);
  (void)std::move(merger).finish();
  return 0;
}

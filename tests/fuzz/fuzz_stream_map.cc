// First byte: 0 a part of a stream, else its index; the rest is what the record holds. What parses is written back to something that parses
// to the same bytes again.
#include "fuzz_input.h"
#include "repository/stream_map.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace pgmint;
  using namespace pgmint::repository;
  if (size == 0) return 0;
  const auto input = fuzz_input(data + 1, size - 1);
  if (data[0] == 0) {
    const auto chunks = parse_stream_part(input);
    if (!parsed_or_corrupt(chunks)) return 0;
    const auto written = encode_stream_part(*chunks);
    const auto again = parse_stream_part(written);
    PGMINT_ASSERT(again.has_value() && *again == *chunks);
    return 0;
  }
  const auto index = parse_stream_index(input);
  if (!parsed_or_corrupt(index)) return 0;
  const auto written = encode_stream_index(*index);
  const auto again = parse_stream_index(written);
  PGMINT_ASSERT(again.has_value() && encode_stream_index(*again) == written);
  return 0;
}

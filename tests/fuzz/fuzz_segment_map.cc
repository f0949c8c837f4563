// The input is an opened segment map. What parses is written back to something that parses to the same bytes again.
#include "fuzz_input.h"
#include "repository/segment_map.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace pgmint;
  using namespace pgmint::repository;
  const auto map = parse_segment_map(fuzz_input(data, size));
  if (!parsed_or_corrupt(map)) return 0;
  const auto written = encode_segment_map(*map);
  const auto again = parse_segment_map(written);
  PGMINT_ASSERT(again.has_value() && encode_segment_map(*again) == written);
  // A reader asks for the length of each extent: they add up to the file.
  std::uint64_t sum = 0;
  for (std::uint64_t i = 0; i < map->extents.size(); ++i) sum += map->extent_length(i);
  PGMINT_ASSERT(map->extents.size() != map->extent_count() || sum == map->file_length);
  return 0;
}

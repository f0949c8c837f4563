// The input is a manifest node (first byte even) or root (odd), opened. What parses is written back to something that parses to
// the same bytes again.
#include "fuzz_input.h"
#include "repository/manifest.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace pgmint;
  using namespace pgmint::repository;
  if (size == 0) return 0;
  const auto input = fuzz_input(data, size).subspan(1);
  if (data[0] % 2 == 0) {
    const auto node = parse_node(input);
    if (!parsed_or_corrupt(node)) return 0;
    const auto written = encode_node(*node);
    const auto again = parse_node(written);
    PGMINT_ASSERT(again.has_value() && encode_node(*again) == written);
  } else {
    const auto root = parse_root(input);
    if (!root && root.error().code() == Errc::Precondition) return 0;  // written by a newer pgmint
    if (!parsed_or_corrupt(root)) return 0;
    const auto written = encode_root(*root);
    const auto again = parse_root(written);
    PGMINT_ASSERT(again.has_value() && encode_root(*again) == written);
  }
  return 0;
}

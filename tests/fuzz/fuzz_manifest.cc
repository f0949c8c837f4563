// The input is a manifest node (first byte 0 mod 3), root (1) or piece of an account of packs (2), opened. What parses is written
// back to something that parses to the same bytes again.
#include "fuzz_input.h"
#include "repository/pack_account.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace pgmint;
  using namespace pgmint::repository;
  if (size == 0) return 0;
  const auto input = fuzz_input(data, size).subspan(1);
  if (data[0] % 3 == 0) {
    const auto node = parse_node(input);
    if (!parsed_or_corrupt(node)) return 0;
    const auto written = encode_node(*node);
    const auto again = parse_node(written);
    PGMINT_ASSERT(again.has_value() && encode_node(*again) == written);
  } else if (data[0] % 3 == 1) {
    const auto root = parse_root(input);
    if (!root && root.error().code() == Errc::Precondition) return 0;  // written by a newer pgmint
    if (!parsed_or_corrupt(root)) return 0;
    const auto written = encode_root(*root);
    const auto again = parse_root(written);
    PGMINT_ASSERT(again.has_value() && encode_root(*again) == written);
  } else {
    PackUse use;
    std::optional<PackId> last;
    if (!parsed_or_corrupt(parse_account_piece(input, use, last))) return 0;
    PackUse again;
    std::optional<PackId> last_again;
    for (const auto& piece : encode_pack_account(use)) PGMINT_ASSERT(parse_account_piece(piece, again, last_again).has_value());
    PGMINT_ASSERT(again == use);
  }
  return 0;
}

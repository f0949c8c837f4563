// The input is an opened pack footer, in front of it where the records end (u32). What parses is written back to the same bytes.
#include "codec/binary.h"
#include "fuzz_input.h"
#include "repository/pack.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace pgmint;
  using namespace pgmint::repository;
  const auto input = fuzz_input(data, size);
  codec::BinaryReader in(input, "input");
  const auto end = in.u32();
  if (!end) return 0;
  const auto footer = input.subspan(in.position());
  const auto lines = parse_pack_footer(footer, *end);
  if (!parsed_or_corrupt(lines)) return 0;
  PGMINT_ASSERT(std::ranges::equal(encode_pack_footer(*lines), footer));
  return 0;
}

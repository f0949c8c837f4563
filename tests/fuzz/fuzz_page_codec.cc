// An even first byte: streams for the decoder (u24 size of the pages, u16 size of control, u16 of the raw planes; the rest is the
// remainder), which both CPU paths must read alike. An odd one: pages for the encoder, which must come back and pass the check.
#include "codec/binary.h"
#include "codec/page_decoder.h"
#include "codec/page_encoder.h"
#include "fuzz_input.h"

namespace pgmint::codec {
namespace {

Status decode_streams(BinaryReader& in) {
  const std::size_t size = TRY(in.u8()) | std::size_t{TRY(in.u16())} << 8;
  const auto control_size = TRY(in.u16()), raw_size = TRY(in.u16());
  const auto control = TRY(in.raw(control_size)), raw = TRY(in.raw(raw_size)), remainder = TRY(in.raw(in.remaining()));
  static PageDecoder best, portable(CpuPath::Baseline);
  const std::size_t pages = 1 + size % kGroupSize;
  Bytes out(pages), again(pages);
  const auto decoded = best.decode(control, raw, remainder, out);
  const auto decoded_again = portable.decode(control, raw, remainder, again);
  PGMINT_ASSERT(decoded.has_value() == decoded_again.has_value());
  if (!parsed_or_corrupt(decoded)) return ok();
  PGMINT_ASSERT(out == again);
  // The check says yes exactly where no byte is left as it was before.
  std::ranges::fill(again, std::byte{0xA5});
  PGMINT_ASSERT(best.decode(control, raw, remainder, again).has_value());
  const bool all_written = out == again;
  static Columns columns;
  PlaneSource planes{control.subspan(1 + pages / kPageSize), raw};
  PGMINT_ASSERT(merge_columns(planes, columns, CpuPath::Baseline).has_value());
  for (const auto path : {best_cpu_path(), CpuPath::Baseline}) PGMINT_ASSERT(reproduces(control, raw, remainder, columns, out, path) == all_written);
  return ok();
}

void encode_pages(ByteView input) {
  static PageEncoder encoder;
  static PageDecoder decoder;
  const auto group = input.first(std::min<std::size_t>(input.size(), kGroupSize));
  if (group.empty()) return;
  const auto streams = encoder.encode(group);
  if (!streams) return;
  Bytes out(group.size(), std::byte{0xA5});
  PGMINT_ASSERT(decoder.decode(streams->control, streams->raw, streams->remainder, out).has_value());
  PGMINT_ASSERT(std::ranges::equal(out, group));
  for (const auto path : {best_cpu_path(), CpuPath::Baseline})
    PGMINT_ASSERT(reproduces(streams->control, streams->raw, streams->remainder, *streams->columns, group, path));
  Bytes other(group.begin(), group.end());
  other[other.size() / 2] ^= std::byte{0x10};
  PGMINT_ASSERT(!reproduces(streams->control, streams->raw, streams->remainder, *streams->columns, other));
}

}  // namespace
}  // namespace pgmint::codec

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace pgmint;
  codec::BinaryReader in(fuzz_input(data, size), "fuzz");
  const auto mode = in.u8();
  if (!mode) return 0;
  if ((*mode & 1) == 0)
    static_cast<void>(codec::decode_streams(in));
  else
    codec::encode_pages(*in.raw(in.remaining()));
  return 0;
}

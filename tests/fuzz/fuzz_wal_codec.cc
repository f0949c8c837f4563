// First byte modulo 3. 0: streams for the decoder (u8 pages of the piece, u24 size of control, u16 of raw planes, u8 images of a page each;
// the rest is the remainder), which both CPU paths must read alike. 1: a piece for the encoder, which must come back. 2: a stored piece.
#include "codec/binary.h"
#include "codec/wal_decoder.h"
#include "codec/wal_encoder.h"
#include "codec/wal_layout.h"
#include "codec/wal_piece.h"
#include "fuzz_input.h"

namespace pgmint::codec {
namespace {

Status decode_streams(BinaryReader& in) {
  const std::size_t pages = 1 + TRY(in.u8()) % kWalPagesMax;
  const std::size_t control_size = TRY(in.u16()) | std::size_t{TRY(in.u8())} << 16;
  const auto raw_size = TRY(in.u16());
  const std::size_t images_size = std::size_t{TRY(in.u8())} * kPageSize;
  const auto control = TRY(in.raw(control_size)), raw = TRY(in.raw(raw_size)), images = TRY(in.raw(images_size));
  const auto remainder = TRY(in.raw(in.remaining()));
  static WalDecoder best, portable(CpuPath::Baseline);
  Bytes out(pages * kWalPageSize, std::byte{0x11}), again(pages * kWalPageSize, std::byte{0x22});
  const auto decoded = best.decode(control, raw, remainder, images, out);
  const auto decoded_again = portable.decode(control, raw, remainder, images, again);
  PGMINT_ASSERT(decoded.has_value() == decoded_again.has_value());
  if (parsed_or_corrupt(decoded)) PGMINT_ASSERT(out == again);
  return ok();
}

void encode_piece(ByteView piece) {
  static WalEncoder encoder;
  static WalDecoder decoder;
  const auto streams = encoder.encode(piece, WalSums::Verify);
  if (!streams) return;
  Bytes out(piece.size(), std::byte{0xA5});
  PGMINT_ASSERT(decoder.decode(streams->control, streams->raw, streams->remainder, streams->images, out).has_value());
  PGMINT_ASSERT(std::ranges::equal(out, piece));
}

Status read_stored(BinaryReader& in) {
  const std::size_t pages = 1 + TRY(in.u8()) % kWalPagesMax;
  const auto codec = TRY(in.u8()) % 2 == 0 ? BlockCodec::Zstd : BlockCodec::Lz4;
  static WalPieceReader reader;
  Bytes out(pages * kWalPageSize);
  parsed_or_corrupt(reader.read(codec, TRY(in.raw(in.remaining())), out));
  return ok();
}

}  // namespace
}  // namespace pgmint::codec

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace pgmint;
  codec::BinaryReader in(fuzz_input(data, size), "fuzz");
  const auto mode = in.u8();
  if (!mode) return 0;
  if (*mode % 3 == 0)
    static_cast<void>(codec::decode_streams(in));
  else if (*mode % 3 == 1)
    codec::encode_piece(*in.raw(in.remaining()));
  else
    static_cast<void>(codec::read_stored(in));
  return 0;
}

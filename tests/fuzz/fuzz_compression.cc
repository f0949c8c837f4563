// The input is a codec id, the plain size in two bytes, and what stands stored. The same bytes then serve as a
// plaintext that must come back.
#include "codec/binary.h"
#include "codec/compression.h"
#include "fuzz_input.h"

namespace pgmint::codec {
namespace {

void round_trip(CodecChoice choice, ByteView plain) {
  static Decompressor decompressor;
  static Compressor zstd({CodecId::Zstd, 1}), lz4({CodecId::Lz4, 0}), none({CodecId::None, 0}), pages({CodecId::PageZstd, 1});
  Compressor& compressor = choice.id == CodecId::Zstd ? zstd : choice.id == CodecId::Lz4 ? lz4 : choice.id == CodecId::PageZstd ? pages : none;
  Bytes stored(Compressor::bound(plain.size()));
  const auto output = compressor.compress(plain, stored);
  if (output.codec == CodecId::None) return;
  PGMINT_ASSERT(output.size < plain.size());
  Bytes again(plain.size());
  PGMINT_ASSERT(decompressor.decompress(output.codec, ByteView(stored).first(output.size), again).has_value());
  PGMINT_ASSERT(std::ranges::equal(again, plain));
}

}  // namespace
}  // namespace pgmint::codec

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace pgmint;
  codec::BinaryReader reader(fuzz_input(data, size), "fuzz");
  const auto id = reader.u8();
  const auto plain_size = reader.u16();
  if (!id || !plain_size) return 0;
  const ByteView stored = *reader.raw(reader.remaining());
  static codec::Decompressor decompressor;
  Bytes out(*plain_size);
  parsed_or_corrupt(decompressor.decompress(static_cast<codec::CodecId>(*id), stored, out));
  const auto sized = codec::decompress_sized(stored, 1 << 20);
  if (parsed_or_corrupt(sized)) PGMINT_ASSERT(sized->size() <= 1 << 20);
  codec::round_trip({static_cast<codec::CodecId>(*id % 4), 1}, stored);
  return 0;
}

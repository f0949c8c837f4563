// The input is a script: a count n, n bytes that each choose a kind of field, then the bytes that are read as those
// fields. What was read must write back to the very bytes it was read from: one value, one encoding.
#include "codec/binary.h"
#include "fuzz_input.h"

namespace pgmint::codec {
namespace {

Status read_and_write_back(BinaryReader& reader, BinaryWriter& writer, unsigned kind) {
  switch (kind % 9) {
    case 0:
      writer.u8(TRY(reader.u8()));
      break;
    case 1:
      writer.u16(TRY(reader.u16()));
      break;
    case 2:
      writer.u32(TRY(reader.u32()));
      break;
    case 3:
      writer.u64(TRY(reader.u64()));
      break;
    case 4:
      writer.varint(TRY(reader.varint()));
      break;
    case 5:
      writer.signed_varint(TRY(reader.signed_varint()));
      break;
    case 6:
      writer.bytes(TRY(reader.bytes(kind)));
      break;
    case 7:
      writer.text(TRY(reader.text(SIZE_MAX)));
      break;
    default: {
      const std::size_t element_min = kind / 9 + 1;
      const std::size_t count = TRY(reader.count(element_min));
      PGMINT_ASSERT(count <= reader.remaining() / element_min);
      writer.varint(count);
    }
  }
  return ok();
}

}  // namespace
}  // namespace pgmint::codec

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace pgmint;
  ByteView input = fuzz_input(data, size);
  if (input.empty()) return 0;
  const std::size_t count = std::min(std::to_integer<std::size_t>(input[0]), input.size() - 1);
  const ByteView kinds = input.subspan(1, count);
  const ByteView content = input.subspan(1 + count);
  codec::BinaryReader reader(content, "fuzz");
  for (const std::byte kind : kinds) {
    const std::size_t before = reader.position();
    codec::BinaryWriter writer;
    if (!parsed_or_corrupt(codec::read_and_write_back(reader, writer, std::to_integer<unsigned>(kind)))) break;
    PGMINT_ASSERT(std::ranges::equal(writer.view(), content.subspan(before, reader.position() - before)));
    PGMINT_ASSERT(reader.position() + reader.remaining() == content.size());
  }
  PGMINT_ASSERT(reader.expect_end().has_value() == (reader.position() == content.size()));
  return 0;
}

#include "codec/binary.h"

#include <fmt/format.h>

namespace pgmint::codec {

namespace {

template <std::unsigned_integral T>
void put_little_endian(Bytes& to, T value) {
  for (std::size_t i = 0; i < sizeof(T); ++i) {
    to.push_back(static_cast<std::byte>(value & 0xff));
    if constexpr (sizeof(T) > 1) value = static_cast<T>(value >> 8);
  }
}

template <std::unsigned_integral T>
T get_little_endian(ByteView from) {
  T value = 0;
  for (std::size_t i = sizeof(T); i-- > 0;)
    value = static_cast<T>((std::uint64_t{value} << 8) | std::to_integer<T>(from[i]));
  return value;
}

}  // namespace

void BinaryWriter::u8(std::uint8_t v) {
  put_little_endian(data_, v);
}
void BinaryWriter::u16(std::uint16_t v) {
  put_little_endian(data_, v);
}
void BinaryWriter::u32(std::uint32_t v) {
  put_little_endian(data_, v);
}
void BinaryWriter::u64(std::uint64_t v) {
  put_little_endian(data_, v);
}

void BinaryWriter::varint(std::uint64_t v) {
  while (v >= 0x80) {
    data_.push_back(static_cast<std::byte>((v & 0x7f) | 0x80));
    v >>= 7;
  }
  data_.push_back(static_cast<std::byte>(v));
}

void BinaryWriter::signed_varint(std::int64_t v) {
  const auto u = static_cast<std::uint64_t>(v);
  varint((u << 1) ^ (v < 0 ? ~std::uint64_t{0} : 0));
}

void BinaryWriter::raw(ByteView bytes) {
  append(data_, bytes);
}

void BinaryWriter::bytes(ByteView bytes) {
  varint(bytes.size());
  raw(bytes);
}

void BinaryWriter::text(std::string_view text) {
  bytes(as_bytes(text));
}

Result<std::uint8_t> BinaryReader::u8() {
  return get_little_endian<std::uint8_t>(TRY(raw(1)));
}
Result<std::uint16_t> BinaryReader::u16() {
  return get_little_endian<std::uint16_t>(TRY(raw(2)));
}
Result<std::uint32_t> BinaryReader::u32() {
  return get_little_endian<std::uint32_t>(TRY(raw(4)));
}
Result<std::uint64_t> BinaryReader::u64() {
  return get_little_endian<std::uint64_t>(TRY(raw(8)));
}

Result<std::uint64_t> BinaryReader::varint() {
  std::uint64_t value = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    if (at_ >= data_.size()) return corrupt("a varint is cut off");
    const auto byte = std::to_integer<std::uint64_t>(data_[at_++]);
    // The tenth byte carries bit 63 only.
    if (shift == 63 && byte > 1) return corrupt("a varint exceeds 64 bits");
    value |= (byte & 0x7f) << shift;
    if ((byte & 0x80) == 0) {
      // One value, one encoding: what is signed or hashed must not have twins.
      if (byte == 0 && shift > 0) return corrupt("a varint is not in its shortest form");
      return value;
    }
  }
  return corrupt("a varint exceeds 64 bits");
}

Result<std::int64_t> BinaryReader::signed_varint() {
  const std::uint64_t u = TRY(varint());
  return static_cast<std::int64_t>((u >> 1) ^ ((u & 1) != 0 ? ~std::uint64_t{0} : 0));
}

Result<std::size_t> BinaryReader::count(std::size_t element_min) {
  PGMINT_ASSERT(element_min > 0);
  const std::uint64_t n = TRY(varint());
  if (n > remaining() / element_min) return corrupt(fmt::format("{} elements cannot fit in {} bytes", n, remaining()));
  return static_cast<std::size_t>(n);
}

Result<ByteView> BinaryReader::raw(std::size_t n) {
  if (n > remaining()) return corrupt(fmt::format("{} bytes wanted, {} left", n, remaining()));
  const ByteView view = data_.subspan(at_, n);
  at_ += n;
  return view;
}

Result<ByteView> BinaryReader::bytes(std::size_t limit) {
  const std::uint64_t n = TRY(varint());
  if (n > limit) return corrupt(fmt::format("a field of {} bytes exceeds its limit of {}", n, limit));
  return raw(static_cast<std::size_t>(n));
}

Result<std::string> BinaryReader::text(std::size_t limit) {
  return std::string(as_text(TRY(bytes(limit))));
}

Status BinaryReader::expect_end() const {
  if (!at_end()) return corrupt(fmt::format("{} bytes follow the end", remaining()));
  return ok();
}

Error BinaryReader::corrupt(std::string_view why) const {
  return Error(Errc::Corruption, fmt::format("{}: {} (at byte {})", what_, why, at_));
}

}  // namespace pgmint::codec

// Little-endian fields, varints and length-prefixed strings: the writer, and a reader that trusts nothing.
#pragma once

#include <concepts>

#include "base/bytes.h"
#include "base/error.h"

namespace pgmint::codec {

/// Appends to its own buffer. Never fails.
class BinaryWriter {
 public:
  void u8(std::uint8_t v);
  void u16(std::uint16_t v);
  void u32(std::uint32_t v);
  void u64(std::uint64_t v);
  /// LEB128, at most ten bytes.
  void varint(std::uint64_t v);
  /// Zigzag, then varint.
  void signed_varint(std::int64_t v);
  void raw(ByteView bytes);
  /// varint length, then the bytes.
  void bytes(ByteView bytes);
  void text(std::string_view text);

  std::size_t size() const { return data_.size(); }
  ByteView view() const { return data_; }
  Bytes take() { return std::move(data_); }

 private:
  Bytes data_;
};

/// Reads bytes from outside. Borrowed view; every read is bounds-checked and fails with Errc::Corruption, naming `what`.
class BinaryReader {
 public:
  BinaryReader(ByteView data, std::string_view what) : data_(data), what_(what) {}

  Result<std::uint8_t> u8();
  Result<std::uint16_t> u16();
  Result<std::uint32_t> u32();
  Result<std::uint64_t> u64();
  /// Rejects encodings longer than ten bytes, above 64 bits, or not shortest.
  Result<std::uint64_t> varint();
  Result<std::int64_t> signed_varint();
  /// A varint that counts elements of at least `element_min` bytes each: refused when they could not fit in what is left,
  /// so that a hostile count cannot make the caller reserve memory.
  Result<std::size_t> count(std::size_t element_min);
  /// Borrowed view of exactly n bytes.
  Result<ByteView> raw(std::size_t n);
  Result<ByteView> bytes(std::size_t limit);
  Result<std::string> text(std::size_t limit);
  template <std::size_t N>
  Result<ByteArray<N>> array() {
    auto view = TRY(raw(N));
    ByteArray<N> out;
    std::memcpy(out.data(), view.data(), N);
    return out;
  }

  std::size_t remaining() const { return data_.size() - at_; }
  std::size_t position() const { return at_; }
  bool at_end() const { return remaining() == 0; }
  /// @errors Corruption unless everything was read
  Status expect_end() const;
  Error corrupt(std::string_view why) const;

 private:
  ByteView data_;
  std::string_view what_;
  std::size_t at_ = 0;
};

}  // namespace pgmint::codec

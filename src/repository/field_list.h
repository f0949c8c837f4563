// Tagged fields that can grow: a count, then tag, length, value. Format: docs/format/README.md, "Conventions".
#pragma once

#include <initializer_list>
#include <map>
#include <vector>

#include "codec/binary.h"

namespace pgmint::repository {

/// Builds a field list; tags must be added in ascending order.
class FieldWriter {
 public:
  void add(std::uint64_t tag, ByteView value);
  void u8(std::uint64_t tag, std::uint8_t v);
  void u32(std::uint64_t tag, std::uint32_t v);
  void u64(std::uint64_t tag, std::uint64_t v);
  void text(std::uint64_t tag, std::string_view v) { add(tag, as_bytes(v)); }
  /// The whole list; the writer is empty afterwards.
  Bytes take();

 private:
  std::vector<std::pair<std::uint64_t, Bytes>> fields_;
};

/// Parsed fields, borrowed from the input.
class FieldReader {
 public:
  /// Reads one field list at the front of `in`. `known`: every tag the caller understands; an unknown odd tag is refused,
  /// an unknown even one is passed over. @errors Corruption, Precondition (unknown odd tag: a newer pgmint wrote this)
  static Result<FieldReader> parse(codec::BinaryReader& in, std::string_view what, std::initializer_list<std::uint64_t> known);

  bool has(std::uint64_t tag) const { return fields_.contains(tag); }
  /// The first value. @errors Corruption when absent
  Result<ByteView> value(std::uint64_t tag) const;
  std::vector<ByteView> all(std::uint64_t tag) const;
  Result<std::uint8_t> u8(std::uint64_t tag) const;
  Result<std::uint32_t> u32(std::uint64_t tag) const;
  Result<std::uint64_t> u64(std::uint64_t tag) const;
  Result<std::string> text(std::uint64_t tag, std::size_t limit = 4096) const;
  /// "" when absent.
  Result<std::string> optional_text(std::uint64_t tag, std::size_t limit = 4096) const;
  template <std::size_t N>
  Result<ByteArray<N>> array(std::uint64_t tag) const {
    auto view = TRY(value(tag));
    if (view.size() != N) return wrong_size(tag);
    ByteArray<N> out;
    std::memcpy(out.data(), view.data(), N);
    return out;
  }
  Error wrong_size(std::uint64_t tag) const;

 private:
  std::multimap<std::uint64_t, ByteView> fields_;
  std::string what_;
};

}  // namespace pgmint::repository

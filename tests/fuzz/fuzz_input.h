// What fuzz targets share: the input as bytes, and a check that ends the run.
#pragma once

#include "base/bytes.h"

namespace pgmint {

inline ByteView fuzz_input(const std::uint8_t* data, std::size_t size) {
  return std::as_bytes(std::span(data, size));
}

/// Whatever the bytes are, a parser answers with a value or with Corruption; everything else is a finding.
template <class T>
bool parsed_or_corrupt(const Result<T>& result) {
  PGMINT_ASSERT(result.has_value() || result.error().code() == Errc::Corruption);
  return result.has_value();
}

}  // namespace pgmint

// Fixed-width fields at an offset of PostgreSQL's structures, in the machine's byte order (little-endian on all that
// pgmint runs on; the control file's version number would look wrong on another).
#pragma once

#include <cstring>

#include "base/bytes.h"

namespace pgmint::postgres {

/// @pre offset + sizeof(T) <= bytes.size(): callers check sizes once per structure
template <class T>
T load(ByteView bytes, std::size_t offset) {
  PGMINT_ASSERT(offset + sizeof(T) <= bytes.size());
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof(T));
  return value;
}

}  // namespace pgmint::postgres

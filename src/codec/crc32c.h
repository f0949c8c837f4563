// CRC-32C (Castagnoli), as in PostgreSQL's pg_control and WAL and in pgmint's pack trailers. Not a security measure.
#pragma once

#include "base/bytes.h"

namespace pgmint::codec {

/// CRC-32C of `data`, continuing `crc` (0 to start; pre- and post-inversion inside). SSE4.2 where the CPU has it.
std::uint32_t crc32c(ByteView data, std::uint32_t crc = 0);

/// The same by table look-up: what crc32c() does on other CPUs. Here so that a test can hold the two against each other.
std::uint32_t crc32c_portable(ByteView data, std::uint32_t crc = 0);
/// True when crc32c() uses the CPU's instruction.
bool crc32c_is_accelerated();

}  // namespace pgmint::codec

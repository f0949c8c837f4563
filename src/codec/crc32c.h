// CRC-32C (Castagnoli), as in PostgreSQL's pg_control and WAL and in pgmint's pack trailers. Not a security measure.
#pragma once

#include "base/bytes.h"

namespace pgmint::codec {

/// CRC-32C of `data`, continuing `crc` (0 to start; pre- and post-inversion inside). SSE4.2 where the CPU has it.
std::uint32_t crc32c(ByteView data, std::uint32_t crc = 0);

}  // namespace pgmint::codec

// What the WAL codec finds out about records on its way, for others who read the same WAL.
#pragma once

#include <cstdint>

namespace pgmint::codec {

/// Whole records of one piece of WAL, one right behind the other, whose checksums fit. Positions in WAL, as PostgreSQL's LSN: of the
/// first record, and where the next one behind the last would begin. Both 0: nothing is known.
struct WalChain {
  std::uint64_t from = 0;
  std::uint64_t to = 0;
};

}  // namespace pgmint::codec

// Which WAL a recovery to the target reads, and how much of it.
#pragma once

#include "restore/choose.h"

namespace pgmint::restore {

struct Replay {
  postgres::Lsn from, to;  ///< `to`: where recovery ends at the latest
  bool ends_there = true;  ///< false: the target lies somewhere in the last segment, or before it
  std::vector<repository::WalRange> segments;
  std::uint64_t segment_count = 0;
  std::uint64_t stored_bytes = 0;  ///< of these in the repository
  std::uint64_t bytes() const { return to.value() - from.value(); }
};

/// Reads change summaries where the target is a time, a transaction or a restore point. @errors as choose()
Result<Replay> replay_of(const RestoreRequest& request, const Choice& choice);

}  // namespace pgmint::restore

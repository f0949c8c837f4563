// What a verification found of WAL, as the log remembers it.
#pragma once

#include <map>
#include <vector>

#include "repository/verify_log.h"

namespace pgmint::repository {

/// Not thread-safe. Borrows the cluster, by whose state of the beginning it goes.
class WalMemory {
 public:
  /// @param runs_max  of WAL in one entry
  explicit WalMemory(Cluster& cluster, std::size_t runs_max = kWalRunsMax) : cluster_(cluster), runs_max_(runs_max), log_(cluster) {}

  /// Of a segment whose object bears no time nothing is noted: nothing would hold the proof to it.
  void sound(const StoredSegment& segment, ProofDepth depth);
  /// Nothing is noted where it is known already. @param depth  the least that shows it
  void damaged(const StoredSegment& segment, ProofDepth depth);
  /// Writes what was noted since the last time, if anything, and forgets it. @param read  when the reading of these began
  /// @errors as Log::append: this key may not write, the store is read-only
  Status write(TimePoint read);

 private:
  Status append(std::vector<WalRead> wal);

  Cluster& cluster_;
  const std::size_t runs_max_;
  VerifyLog log_;
  std::map<std::pair<ProofDepth, bool>, std::vector<StoredSegment>> noted_;  ///< since the last write(); true: damaged
};

}  // namespace pgmint::repository

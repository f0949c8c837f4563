// Which WAL a verification reads when it need not read all, as verify_choice.h has it for packs. Pure.
// Decision: docs/adr/0019-what-was-proven.md
#pragma once

#include <optional>
#include <vector>

#include "repository/verify_choice.h"
#include "repository/wal_proofs.h"

namespace pgmint::repository {

/// One stored segment, or partial one, with what it takes in the store.
struct ListedSegment {
  StoredSegment segment;
  std::uint64_t bytes = 0;
};

/// What is known of WAL without reading it.
struct EarlierWal {
  std::uint64_t segments = 0, bytes = 0;  ///< with a proof
  std::uint64_t unproven_segments = 0, unproven_bytes = 0;
  std::uint64_t damaged_segments = 0;     ///< among the unproven: found so, and not sound since
  std::optional<TimePoint> oldest, newest;  ///< of the proofs
  /// Since when the store has had the oldest of what is unproven and was not found damaged, by its own clock.
  std::optional<TimePoint> unproven_since;
  /// @param read  when it was last proven
  void add(const ListedSegment& segment, std::optional<TimePoint> read, bool damaged = false);
  void add(const EarlierWal& other);
};

/// When that object was last proven to that depth. A proof of another object of its name is none, nor is one from the future or without a date.
std::optional<TimePoint> wal_proven_at(const WalHistory& history, const StoredSegment& segment, ProofDepth at_least, const ProofClock& clock);

/// Of `wal`, in any order, what is to be read. The rules are those of choose_packs(); of what has no proof that comes first which never
/// had one, then what had one of another object, by the log's order: so a store whose times all change does not keep a share from getting on.
struct ChosenWal {
  std::vector<ListedSegment> read;
  EarlierWal left;  ///< the others
};
ChosenWal choose_wal(std::vector<ListedSegment> wal, const WalProofs& proofs, ProofDepth at_least, const ProofClock& clock, const VerifyChoice& choice);

/// Of what is listed; by whatever depth it was read.
EarlierWal what_wal_is_proven(const std::vector<ListedSegment>& wal, const WalProofs& proofs, const ProofClock& clock);

}  // namespace pgmint::repository

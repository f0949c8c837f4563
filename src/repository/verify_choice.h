// Which packs a verification reads when it need not read all: by what the log says was proven, and when. Pure.
// Decision: docs/adr/0019-what-was-proven.md
#pragma once

#include <optional>
#include <vector>

#include "repository/log_state.h"

namespace pgmint::repository {

/// What the clocks say that time it is. A proof is dated by the one, and aged by the other, so that no clock makes it younger.
struct ProofClock {
  static ProofClock of(TimePoint local, std::optional<TimePoint> store, const LogState& state);
  TimePoint earliest{};  ///< of the local clock and the store's
  TimePoint latest{};    ///< of these and the log's last activity
};

struct VerifyChoice {
  std::optional<std::chrono::hours> older_than = {};  ///< only packs whose proof is older, or absent
  std::optional<std::uint32_t> share = {};            ///< at least so many millionths of all bytes, from 1 to 1,000,000
  bool everything() const { return !older_than && !share; }
};

/// So many millionths of the bytes, rounded up.
std::uint64_t share_of(std::uint64_t bytes, std::uint64_t share);

/// What is known of packs without reading them.
struct EarlierProofs {
  std::uint64_t packs = 0, bytes = 0;              ///< with a proof
  std::uint64_t unproven_packs = 0, unproven_bytes = 0;
  std::uint64_t damaged_packs = 0;                 ///< among the unproven: found so, and not sound since
  std::optional<TimePoint> oldest, newest;         ///< of the packs' proofs
  /// Since when the repository has had what was never read, at least: of the oldest live snapshot that refers to such a pack, one
  /// that was found damaged not counted. Set by what_is_proven().
  std::optional<TimePoint> unproven_since;
  /// @param read  when it was last proven
  void add(const PackSummary& pack, std::optional<TimePoint> read, bool damaged = false);
  void add(const EarlierProofs& other);
};

/// When the pack was last proven to that depth. A proof from the future is none, nor is one without a date.
std::optional<TimePoint> proven_at(const PackHistory& history, ProofDepth at_least, const ProofClock& clock);

/// Of `packs`, in any order, those to read. Packs that were found damaged always are, and count for nothing in a share: they are
/// looked at until they are sound. A share is made of what has waited longest, by the log's order and not by clocks: packs
/// without a proof, then those with the oldest. It is reached with the last pack, so that there is one at least, and after
/// 1,000,000 / share runs (rounded up) nothing has been left out.
struct ChosenPacks {
  std::vector<PackSummary> read;
  EarlierProofs left;  ///< the others
};
ChosenPacks choose_packs(std::vector<PackSummary> packs, const PackProofs& proofs, ProofDepth at_least,
                         const ProofClock& clock, const VerifyChoice& choice);

/// Of every pack of a live snapshot, or of this one; by whatever depth it was read.
EarlierProofs what_is_proven(const LogState& state, const std::optional<SessionId>& only, const ProofClock& clock);

}  // namespace pgmint::repository

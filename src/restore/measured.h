// How fast restores were, as the log's entries about them tell: every host that reads the log knows it, and nobody else writes it.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "policy/estimate.h"
#include "repository/log_state.h"

namespace pgmint::restore {

/// The event of the AUDIT entry that a restore leaves.
inline constexpr std::string_view kRestoreEvent = "restore";

/// "; copied 12345 bytes in 678 ms", for the end of that entry's detail.
std::string format_measure(const policy::Measure& copy);
/// nullopt: it ends otherwise, as those of earlier builds and of restores that are no measure.
std::optional<policy::Measure> parse_measure(std::string_view detail);

/// Of the newest restores, oldest first.
std::vector<policy::Measure> measured_copies(const repository::LogState& state);

/// The event of the AUDIT entry that a validation of a restored server leaves.
inline constexpr std::string_view kValidatedEvent = "restore validated";

/// What it says.
struct Proof {
  std::string backup;
  bool passed = false;
  std::size_t checks = 0, warnings = 0;   ///< of entries of earlier builds, checks may hold some that could not be made
  std::optional<std::size_t> not_made;    ///< for want of a privilege, of a login, of a record; nullopt: an earlier build did not tell
  std::optional<TimePoint> restored;      ///< in whole seconds; nullopt: an earlier build did not tell
  std::string server;                     ///< where, in words
  std::optional<policy::Measure> replay;  ///< bytes of WAL, and how long recovery took
  bool operator==(const Proof&) const = default;
};
/// "20261122T084001Z-full: passed, 12 checks, 3 not made, 1 warnings, restored 2026-11-22T09:00:00Z, on db2:5433; replayed 12345 bytes in 678 ms"; "not made" and "restored" are
/// missing in entries of earlier builds.
std::string format_proof(const Proof& proof);
std::optional<Proof> parse_proof(std::string_view detail);

struct DatedProof {
  Proof proof;
  TimePoint time{};  ///< of the validation
};
/// Of those that the log's fold remembers and that passed, oldest first.
std::vector<DatedProof> proofs(const repository::LogState& state);
/// The one that proved this restore of `backup` already: another look at the same server proves no other restore. An entry that does not say
/// which restore it is about may be about this one when it is not older. Null: none.
const DatedProof* proof_of_restore(const std::vector<DatedProof>& proofs, std::string_view backup, TimePoint restored);
/// The one whose restore is the newest, whenever somebody looked at it; of the same restore the last.
std::optional<DatedProof> newest_restore(const std::vector<DatedProof>& proofs);
/// That of those that passed and that the log's fold remembers.
std::optional<DatedProof> last_proof(const repository::LogState& state);

/// Of the newest validations of a restored server that told how long its recovery took, oldest first.
std::vector<policy::Measure> measured_replays(const repository::LogState& state);

}  // namespace pgmint::restore

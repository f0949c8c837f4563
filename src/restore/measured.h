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
  std::size_t checks = 0, warnings = 0;
  std::string server;                     ///< where, in words
  std::optional<policy::Measure> replay;  ///< bytes of WAL, and how long recovery took
  bool operator==(const Proof&) const = default;
};
/// "20261122T084001Z-full: passed, 12 checks, 1 warnings, on db2:5433; replayed 12345 bytes in 678 ms"
std::string format_proof(const Proof& proof);
std::optional<Proof> parse_proof(std::string_view detail);

struct DatedProof {
  Proof proof;
  TimePoint time{};
};
/// The newest that passed, of those that the log's fold remembers.
std::optional<DatedProof> last_proof(const repository::LogState& state);

/// Of the newest validations of a restored server that told how long its recovery took, oldest first.
std::vector<policy::Measure> measured_replays(const repository::LogState& state);

}  // namespace pgmint::restore

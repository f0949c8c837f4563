// How much a restore would read, write and replay, and how long that would take by what was measured.
#pragma once

#include <string>
#include <vector>

#include "cli/output.h"
#include "policy/estimate.h"
#include "restore/prepare.h"
#include "restore/replay.h"

namespace pgmint::cli {

struct RestoreWork {
  std::uint64_t read_bytes = 0;  ///< of packs
  restore::Replay replay;
  policy::Estimate estimate;
};
/// @errors as restore::replay_of
Result<RestoreWork> restore_work(const restore::RestoreRequest& request, const restore::Prepared& prepared);

/// What the log tells of earlier restores of this cluster.
policy::Measures measures_of(const repository::LogState& state);

Json estimate_json(const policy::Estimate& estimate);
std::vector<std::string> estimate_lines(const policy::Estimate& estimate);

}  // namespace pgmint::cli

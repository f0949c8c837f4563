// Everything that a restore decides before it writes: for run(), and for whoever asks what a restore would do. One function, so that
// a plan cannot say anything else than the restore does.
#pragma once

#include <map>

#include "restore/choose.h"
#include "restore/target_directory.h"

namespace pgmint::restore {

/// What a look at the whole manifest tells.
struct Survey {
  std::string owner = "postgres";
  std::uint64_t files = 0;
  WrittenBytes bytes;
  bool has_control = false;
};

struct Prepared {
  Choice choice;
  Survey survey;
  std::optional<TargetPlan> target;  ///< absent where the request names no place (`to` is empty)
};

/// In their order.
enum class Step : std::uint8_t { Backup, Manifest, Packs, Place };

/// Chooses, reads the manifest, looks for every pack and at every place that would be written. Writes nothing.
/// @param at  told of each step before it is taken (may be null) @errors as run()
Result<Prepared> prepare(const RestoreRequest& request, const std::function<void(Step, const std::string& backup)>& at = nullptr);

}  // namespace pgmint::restore

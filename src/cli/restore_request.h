// What restore and plan are asked on the command line: one reader for both, so that they mean the same.
#pragma once

#include <string>

#include "cli/cluster_choice.h"
#include "cli/command_table.h"
#include "restore/restore.h"

namespace pgmint::cli {

struct AskedRestore {
  ClusterPtr cluster;
  std::string name;  ///< of the cluster
  restore::RestoreRequest request;
};
/// @param to  absent: no place is looked at (plan) @errors Usage, as existing_cluster
Result<AskedRestore> asked_restore(Context& context, const std::optional<std::string>& to);

/// The options that say what is restored to which moment, put behind the first of a command's own.
std::vector<OptionSpec> restore_choice_options(std::vector<OptionSpec> own);

/// The "target" of JSON answers.
Json target_json(const restore::Target& target);

}  // namespace pgmint::cli

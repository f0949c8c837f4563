// A recovery plan as a TOML file. Manual: docs/manual/emergency.md
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/config.h"
#include "service/recovery_plan.h"

namespace pgmint::cli {

/// What a plan takes from around it.
struct PlanSurroundings {
  std::vector<std::string> own_command;  ///< this program with its configuration: what `restore` is put behind
  const Configuration& configuration;    ///< connections of SQL checks that name none, clusters
};

/// @param source  how messages name it
/// @errors Configuration: with file and line, and the nearest known key; a plan that check_plan() refuses
Result<service::RecoveryPlan> parse_recovery_plan(std::string_view text, std::string_view source, const PlanSurroundings& surroundings);

/// For the manual: every key.
std::vector<KeyDocumentation> documented_plan_keys();

}  // namespace pgmint::cli

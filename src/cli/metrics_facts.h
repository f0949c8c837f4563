// What monitoring gets to see: everything that status knows, as numbers. The names are a contract (docs/manual/alerts.md).
#pragma once

#include <string>

#include "cli/context.h"

namespace pgmint::cli {

struct GatheredMetrics {
  std::string text;
  Status outcome;  ///< why text lacks what the repository would have told, pgmint_repository_up being 0 in it
};
/// @errors Configuration, Cancelled
Result<GatheredMetrics> gather_metrics(Context& context);
/// Where not even the configuration can be read.
std::string metrics_of_nothing();

}  // namespace pgmint::cli

// The keys of [export].
#pragma once

#include "cli/config_value.h"

namespace pgmint::cli {

const std::vector<Key<ExportSettings>>& export_keys();

}  // namespace pgmint::cli

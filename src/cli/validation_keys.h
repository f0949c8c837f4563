// The keys of [cluster.NAME.validation] and [[validation]].
#pragma once

#include "cli/config_value.h"

namespace pgmint::cli {

const std::vector<Key<ValidationSettings>>& validation_keys();
const std::vector<Key<ValidationQuery>>& validation_query_keys();
/// [[validation]]. @errors Configuration
Status read_validation_queries(std::vector<ValidationQuery>& target, const Value& value);

}  // namespace pgmint::cli

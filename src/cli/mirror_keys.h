// The keys of [[mirror]].
#pragma once

#include "cli/config_value.h"

namespace pgmint::cli {

const std::vector<Key<MirrorSettings>>& mirror_keys();
/// @errors Configuration: also of one that lacks its name or url, and of two with one name
Status read_mirrors(std::vector<MirrorSettings>& target, const Value& value);

}  // namespace pgmint::cli

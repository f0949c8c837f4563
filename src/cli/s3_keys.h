// The keys of [s3] and [repository.s3].
#pragma once

#include "cli/config_value.h"
#include "cli/s3_settings.h"

namespace pgmint::cli {

const std::vector<Key<S3Settings>>& s3_keys();
/// @param table  how messages name it. @errors Configuration
Status read_s3(S3Settings& target, const Value& value, std::string table);

}  // namespace pgmint::cli

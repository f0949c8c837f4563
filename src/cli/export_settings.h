// [export]: where files for others go when that is a bucket, and how they are kept there.
#pragma once

#include <optional>

#include "base/strong.h"
#include "cli/s3_settings.h"

namespace pgmint::cli {

struct ExportSettings {
  S3Settings s3;                         ///< what it says of the service takes the place of [s3]
  std::optional<ByteCount> parts_above;  ///< longer files go in parts; absent: what S3 takes with one request
};

}  // namespace pgmint::cli

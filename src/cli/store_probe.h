// Does the store keep its one promise: of many who create the same name, exactly one succeeds?
#pragma once

#include "base/random.h"
#include "storage/blob_store.h"

namespace pgmint::cli {

/// Below it the probe's objects stand, which it removes.
inline constexpr std::string_view kProbePrefix = "probe/";

/// 16 threads create one object with contents of their own; then it is created again, read, and removed. Leaves
/// nothing.
/// @errors Storage: the promise does not hold, with what was seen; whatever the store fails with
Status probe_create_if_absent(storage::BlobStore& store, RandomSource& random);

}  // namespace pgmint::cli

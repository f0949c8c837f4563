// Versions of a store that fails now and then: what may be done twice is tried again.
#pragma once

#include <memory>

#include "base/cancel.h"
#include "base/random.h"
#include "storage/object_versions.h"
#include "storage/retry_store.h"

namespace pgmint::storage {

/// Every operation of ObjectVersions may be carried out twice; a listing goes on where it was cut off. Borrows all.
std::unique_ptr<ObjectVersions> make_retry_versions(ObjectVersions& inner, RetryPolicy policy, Clock& clock, RandomSource& random, const CancelToken* cancel);

}  // namespace pgmint::storage

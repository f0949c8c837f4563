// What doctor and init say about a bucket: how it is set up, and what stands behind the names of its objects.
#pragma once

#include "base/cancel.h"
#include "storage/s3_store.h"

namespace pgmint::cli {

/// Settings, clock, and where the bucket keeps versions: what old ones cost, whether these credentials may remove them, and whether anybody has deleted or
/// overwritten what pgmint never does. `may_write`: an object of the probe's may be made for that. What may not be asked is a warning "not known". @errors Storage, Cancelled
Result<std::vector<storage::S3Finding>> examine_bucket(storage::S3Store& bucket, bool may_write, const CancelToken& cancel);

/// Why a store that lets several create one object may do so, and what to do: for whoever makes a repository there.
Error explain_failed_race(Error error, storage::S3Store* bucket);

}  // namespace pgmint::cli

// A claimed object lock is tried: an object is locked for some seconds, and must not go while it is.
#pragma once

#include "base/cancel.h"
#include "storage/s3_store.h"

namespace pgmint::cli {

/// With an object of the probe's, which goes once its lock has passed: takes some ten seconds. Says also whether these credentials may take locks of the mode
/// governance off. @errors Storage, Cancelled
Result<storage::S3Finding> try_lock(storage::S3Store& bucket, storage::LockMode mode, Clock& clock, const CancelToken& cancel);

/// For whoever makes a repository whose objects are to be locked. @errors Precondition: the bucket takes no locks; Key: it cannot be known
Status need_object_lock(storage::S3Store& bucket);

}  // namespace pgmint::cli

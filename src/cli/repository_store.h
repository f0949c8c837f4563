// The store that a repository's URL names: a directory, or a bucket behind what repeats requests.
#pragma once

#include <memory>

#include "base/cancel.h"
#include "cli/config.h"
#include "storage/retry_store.h"
#include "storage/s3_store.h"

namespace pgmint::cli {

/// Requests to a bucket that are in flight at once, where many can be.
inline constexpr unsigned kRequestsAtOnce = 16;

struct RepositoryStore {
  std::unique_ptr<storage::BlobStore> store;
  storage::S3Store* bucket = nullptr;  ///< lives in `store`; null: a directory
  storage::S3Store* log_bucket = nullptr;   ///< likewise, where the log has a bucket of its own
  storage::BlobStore* log_store = nullptr;  ///< that, behind what repeats requests
};

/// @param s3  of an s3:// repository
/// @param create  make the directory of a new repository; buckets are never made
/// @param patience  with a bucket that does not answer
/// @errors Configuration, Storage, Key
Result<RepositoryStore> open_repository_store(const RepositorySettings& repository, const S3Settings& s3, bool create, const storage::RetryPolicy& patience, CancelToken& cancel);

/// The same of a mirror. @param general  [s3], for one without a table of its own
/// @param brief  for a look at it only: what cannot be reached is given up soon
Result<RepositoryStore> open_mirror_store(const MirrorSettings& mirror, const S3Settings& general, bool create, bool brief, CancelToken& cancel);

}  // namespace pgmint::cli

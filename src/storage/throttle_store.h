// --max-rate: so many bytes a second, read and written together.
#pragma once

#include <memory>
#include <mutex>

#include "base/cancel.h"
#include "base/clock.h"
#include "base/strong.h"
#include "storage/blob_store.h"

namespace pgmint::storage {

/// Spaces bytes out to an average rate. Idle time is not saved up, so the rate is never passed over a longer while than one
/// request. Thread-safe (given such a clock); borrows the clock and `cancel`, which may be null.
class RateLimiter {
 public:
  RateLimiter(ByteCount bytes_per_second, Clock& clock, const CancelToken* cancel = nullptr);
  /// Waits until everything taken before is paid for, then books `bytes`. @errors Cancelled
  Status take(std::uint64_t bytes);

 private:
  const std::uint64_t bytes_per_second_;
  Clock& clock_;
  const CancelToken* const cancel_;
  std::mutex mutex_;
  TimePoint free_at_{};
};

/// Books what create, read and read_range move. A rate of several stores together: give them one limiter. Borrows it.
std::unique_ptr<BlobStore> make_throttle_store(std::unique_ptr<BlobStore> inner, RateLimiter& limiter);

}  // namespace pgmint::storage

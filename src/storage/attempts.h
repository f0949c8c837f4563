// How often an operation is tried, and how long is waited in between.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <atomic>

#include "base/log.h"
#include "base/random.h"
#include "storage/interruptible_sleep.h"
#include "storage/retry_store.h"

namespace pgmint::storage {

/// The delays of one operation. Says when the attempts are used up.
class Attempts {
 public:
  /// @param given_up  set when these attempts are used up in vain; set already: the store is away, and one attempt finds out whether it is back
  Attempts(const RetryPolicy& policy, Clock& clock, RandomSource& random, const CancelToken* cancel, std::atomic<bool>& given_up)
      : policy_(policy), clock_(clock), random_(random), cancel_(cancel), given_up_(given_up), delay_(policy.first_delay), left_(given_up ? 1 : policy.attempts_max) {}

  /// True when `error` may be followed by another attempt.
  bool left_after(const Error& error) {
    if (!is_transient(error.code())) return false;
    if (made_ < left_) return true;
    given_up_ = true;
    return false;
  }
  void answered() { given_up_ = false; }

  /// Waits before the next attempt. @errors Cancelled
  Status wait(const Error& error) {
    log_debug("{}: trying again ({} of {})", error.describe(), made_ + 1, left_);
    ++made_;
    const auto half = delay_ / 2;
    const auto jitter = std::chrono::microseconds(
        static_cast<std::int64_t>(random_.u64() % (static_cast<std::uint64_t>(half.count()) + 1)));
    delay_ = std::min(delay_ * 2, policy_.delay_max);
    return interruptible_sleep(clock_, half + jitter, cancel_);
  }

 private:
  const RetryPolicy& policy_;
  Clock& clock_;
  RandomSource& random_;
  const CancelToken* cancel_;
  std::atomic<bool>& given_up_;
  std::chrono::microseconds delay_;
  const int left_;  ///< in all
  int made_ = 1;
};

/// Calls `operation`, which may be carried out twice, until it succeeds or `tries` are used up. @errors as operation, Cancelled
template <class F>
auto repeated(Attempts tries, F operation) -> decltype(operation()) {
  for (;;) {
    auto result = operation();
    if (result) tries.answered();
    if (result || !tries.left_after(result.failure())) return result;
    TRY(tries.wait(result.failure()));
  }
}

}  // namespace pgmint::storage

// How often an operation is tried, and how long is waited in between.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <limits>

#include "base/log.h"
#include "base/random.h"
#include "storage/interruptible_sleep.h"
#include "storage/retry_store.h"

namespace pgmint::storage {

/// What the operations on one store know of each other.
struct StoreTrouble {
  std::atomic<bool> given_up{false};   ///< attempts were used up in vain: the store is away, and one attempt finds out whether it is back
  std::atomic<bool> told{false};       ///< that it is in trouble, and not yet that it is over
  std::atomic<std::int64_t> told_at{std::numeric_limits<std::int64_t>::min() / 2};  ///< microseconds of the clock
};

/// The delays of one operation. Says when the attempts are used up, and tells whoever waits that it goes on trying: a short trouble is nobody's concern.
class Attempts {
 public:
  static constexpr auto kToldAfter = std::chrono::seconds(3);
  static constexpr auto kToldEvery = std::chrono::minutes(1);

  Attempts(const RetryPolicy& policy, Clock& clock, RandomSource& random, const CancelToken* cancel, StoreTrouble& trouble)
      : policy_(policy), clock_(clock), random_(random), cancel_(cancel), trouble_(trouble), delay_(policy.first_delay), left_(trouble.given_up ? 1 : policy.attempts_max), began_(clock.now()) {}

  /// True when `error` may be followed by another attempt.
  bool left_after(const Error& error) {
    if (!is_transient(error.code())) return false;
    if (made_ < left_) return true;
    trouble_.given_up = true;
    return false;
  }
  void answered() {
    trouble_.given_up = false;
    if (made_ > 1 && trouble_.told.exchange(false)) log_info("the store answers again");
  }

  /// Waits before the next attempt. @errors Cancelled
  Status wait(const Error& error) {
    ++made_;
    if (is_to_be_told()) log_warning("{}: trying again ({} of {})", error.describe(), made_, left_);
    else log_debug("{}: trying again ({} of {})", error.describe(), made_, left_);
    const auto half = delay_ / 2;
    const auto jitter = std::chrono::microseconds(
        static_cast<std::int64_t>(random_.u64() % (static_cast<std::uint64_t>(half.count()) + 1)));
    delay_ = std::min(delay_ * 2, policy_.delay_max);
    return interruptible_sleep(clock_, half + jitter, cancel_);
  }

 private:
  bool is_to_be_told() {
    const auto now = clock_.now();
    if (now - began_ < kToldAfter) return false;
    const auto stamp = std::chrono::duration_cast<std::chrono::microseconds>(now.time_since_epoch()).count();
    auto last = trouble_.told_at.load();
    if (stamp - last < std::chrono::microseconds(kToldEvery).count() || !trouble_.told_at.compare_exchange_strong(last, stamp)) return false;
    trouble_.told = true;
    return true;
  }

  const RetryPolicy& policy_;
  Clock& clock_;
  RandomSource& random_;
  const CancelToken* cancel_;
  StoreTrouble& trouble_;
  std::chrono::microseconds delay_;
  const int left_;  ///< in all
  const TimePoint began_;
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

// One flag that says stop: set by a signal or by the first failing worker, read everywhere.
#pragma once

#include <atomic>

#include "base/error.h"

namespace pgmint {

/// Thread-safe and async-signal-safe to set.
class CancelToken {
 public:
  void cancel() { requested_.store(true, std::memory_order_relaxed); }
  /// Asked to stop, whether it is held off or not.
  bool requested() const { return requested_.load(std::memory_order_relaxed); }
  bool cancelled() const { return requested() && held_off_.load(std::memory_order_relaxed) == 0; }
  /// @errors Cancelled
  Status check() const {
    if (cancelled()) return Error(Errc::Cancelled, "cancelled");
    return ok();
  }

  /// While one lives nobody sees that the token was set: for the end of a run that makes what it has done count. Whoever holds it
  /// off sees to it that this end is near. Borrows the token, which may be null.
  class HoldOff {
   public:
    explicit HoldOff(const CancelToken* token) : token_(token) {
      if (token_ != nullptr) ++token_->held_off_;
    }
    ~HoldOff() {
      if (token_ != nullptr) --token_->held_off_;
    }
    HoldOff(const HoldOff&) = delete;
    HoldOff& operator=(const HoldOff&) = delete;

   private:
    const CancelToken* token_;
  };

 private:
  std::atomic<bool> requested_{false};
  mutable std::atomic<unsigned> held_off_{0};
};

}  // namespace pgmint

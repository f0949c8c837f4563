// One flag that says stop: set by a signal or by the first failing worker, read everywhere.
#pragma once

#include <atomic>

#include "base/error.h"

namespace pgmint {

/// Thread-safe and async-signal-safe to set.
class CancelToken {
 public:
  void cancel() { cancelled_.store(true, std::memory_order_relaxed); }
  bool cancelled() const { return cancelled_.load(std::memory_order_relaxed); }
  /// @errors Cancelled
  Status check() const {
    if (cancelled()) return Error(Errc::Cancelled, "cancelled");
    return ok();
  }

 private:
  std::atomic<bool> cancelled_{false};
};

}  // namespace pgmint

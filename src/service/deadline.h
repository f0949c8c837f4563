// A time limit on work that watches a token, and one on work that may not even do that.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "base/cancel.h"

namespace pgmint::service {

/// A token that is set when a time is over, or when another one is. Borrows the other, which may be null.
class Deadline {
 public:
  Deadline(std::chrono::milliseconds time, const CancelToken* outer) : watcher_([this, time, outer] { watch(time, outer); }) {}
  Deadline(const Deadline&) = delete;
  Deadline& operator=(const Deadline&) = delete;
  ~Deadline() {
    {
      const std::lock_guard lock(mutex_);
      done_ = true;
    }
    changed_.notify_all();
    watcher_.join();
  }
  CancelToken& token() { return token_; }
  bool passed() const { return passed_; }

 private:
  void watch(std::chrono::milliseconds time, const CancelToken* outer) {
    constexpr auto kSlice = std::chrono::milliseconds(100);
    std::unique_lock lock(mutex_);
    for (std::chrono::milliseconds waited{0}; !done_; waited += kSlice) {
      const bool is_over = waited >= time;
      if (is_over || (outer != nullptr && outer->cancelled())) {
        passed_ = is_over;
        token_.cancel();
        return;
      }
      changed_.wait_for(lock, std::min(kSlice, time - waited));
    }
  }

  CancelToken token_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool done_ = false;
  std::atomic<bool> passed_{false};
  std::thread watcher_;
};

}  // namespace pgmint::service

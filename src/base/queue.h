// A queue of fixed capacity: push blocks, so memory is bounded by design.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <utility>

#include "base/error.h"

namespace pgmint {

/// Many producers, many consumers. close() lets consumers drain what is left; cancel() drops it and wakes everybody.
template <class T>
class BoundedQueue {
 public:
  /// @param backlog  pop_backlog() leaves so many items to pop()
  explicit BoundedQueue(std::size_t capacity, std::size_t backlog = 0) : capacity_(capacity), backlog_(backlog) { PGMINT_ASSERT(capacity > backlog); }

  /// Blocks while full. False when the queue was closed or cancelled: the item was not taken.
  bool push(T item) {
    std::unique_lock lock(mutex_);
    not_full_.wait(lock, [&] { return items_.size() < capacity_ || closed_; });
    if (closed_) return false;
    items_.push_back(std::move(item));
    not_empty_.notify_one();
    if (items_.size() > backlog_) lagging_.notify_one();
    return true;
  }

  /// Blocks while empty. nullopt when closed and drained, or cancelled.
  std::optional<T> pop() { return pop(not_empty_, 0); }

  /// As pop(), of what is more than the backlog; all of it when closed. For helpers that rest as long as the others keep up.
  std::optional<T> pop_backlog() { return pop(lagging_, backlog_); }

  void close() {
    std::lock_guard lock(mutex_);
    closed_ = true;
    wake_all();
  }

  void cancel() {
    std::lock_guard lock(mutex_);
    closed_ = true;
    items_.clear();
    wake_all();
  }

 private:
  std::optional<T> pop(std::condition_variable& enough, std::size_t left) {
    std::unique_lock lock(mutex_);
    enough.wait(lock, [&] { return items_.size() > left || closed_; });
    if (items_.empty()) return std::nullopt;
    std::optional<T> item(std::move(items_.front()));
    items_.pop_front();
    not_full_.notify_one();
    return item;
  }

  void wake_all() {
    not_empty_.notify_all();
    lagging_.notify_all();
    not_full_.notify_all();
  }

  const std::size_t capacity_, backlog_;
  std::mutex mutex_;
  std::condition_variable not_empty_, lagging_, not_full_;
  std::deque<T> items_;
  bool closed_ = false;
};

}  // namespace pgmint

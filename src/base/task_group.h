// Threads that succeed or fail together: the first failure cancels the rest and is what join() returns.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/cancel.h"
#include "base/guarded.h"

namespace pgmint {

/// Every worker gets the token to watch; `outer` (may be null) is an outside reason to stop, e.g. Ctrl-C, that workers
/// see through cancelled(). The destructor cancels and joins, so a group never outlives what its workers borrow.
class TaskGroup {
 public:
  explicit TaskGroup(const CancelToken* outer = nullptr) : outer_(outer) {}
  ~TaskGroup();
  TaskGroup(const TaskGroup&) = delete;
  TaskGroup& operator=(const TaskGroup&) = delete;

  /// Starts a thread. An exception escaping `work` becomes Errc::Internal.
  void spawn(std::function<Status()> work);
  /// Runs once when the first worker fails (from its thread): close or cancel queues here, so that nobody waits for ever.
  void on_failure(std::function<void()> action) { on_failure_ = std::move(action); }
  bool cancelled() const { return token_.cancelled() || (outer_ != nullptr && outer_->cancelled()); }
  /// @errors Cancelled
  Status check() const;
  void cancel() { token_.cancel(); }
  /// Waits for all; the first failure (a Cancelled only when nothing better is known).
  Status join();

 private:
  void fail(Error error);
  const CancelToken* outer_;
  CancelToken token_;
  std::function<void()> on_failure_;
  Guarded<std::optional<Error>> first_;
  std::vector<std::thread> threads_;
};

}  // namespace pgmint

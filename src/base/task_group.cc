#include "base/task_group.h"

#include <exception>

namespace pgmint {

TaskGroup::~TaskGroup() {
  token_.cancel();
  if (on_failure_ && !threads_.empty()) on_failure_();
  for (auto& t : threads_) t.join();
}

Status TaskGroup::check() const {
  if (cancelled()) return Error(Errc::Cancelled, "cancelled");
  return ok();
}

void TaskGroup::fail(Error error) {
  bool first = first_.with([&](std::optional<Error>& slot) {
    if (!slot) {
      slot = std::move(error);
      return true;
    }
    if (slot->code() == Errc::Cancelled && error.code() != Errc::Cancelled) slot = std::move(error);
    return false;
  });
  token_.cancel();
  if (first && on_failure_) on_failure_();
}

void TaskGroup::spawn(std::function<Status()> work) {
  threads_.emplace_back([this, work = std::move(work)] {
    try {
      if (auto status = work(); !status) fail(std::move(status).failure());
    } catch (const std::exception& e) {
      fail(Error(Errc::Internal, e.what()));
    }
  });
}

Status TaskGroup::join() {
  for (auto& t : threads_) t.join();
  threads_.clear();
  return first_.with([](std::optional<Error>& slot) -> Status {
    if (slot) return *std::exchange(slot, std::nullopt);
    return ok();
  });
}

}  // namespace pgmint

#include "backup/copy.h"

#include <algorithm>
#include <condition_variable>
#include <unordered_map>

#include "backup/copy_worker.h"

namespace pgmint::backup {
namespace {

using repository::FinishedPack;

constexpr std::chrono::milliseconds kTick{200};

/// Wakes the owner when the last thread has left.
class Attendance {
 public:
  explicit Attendance(unsigned present) : present_(present) {}
  void leave() {
    std::lock_guard lock(mutex_);
    if (--present_ == 0) empty_.notify_all();
  }
  bool wait_empty(std::chrono::milliseconds limit) {
    std::unique_lock lock(mutex_);
    return empty_.wait_for(lock, limit, [&] { return present_ == 0; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable empty_;
  unsigned present_;
};

/// Runs when a thread leaves its work, whichever way.
struct Leaving {
  std::function<void()> action;
  ~Leaving() { action(); }
};

/// The tasks of a plan, in its order.
class PlannedFeed final : public CopyFeed {
 public:
  PlannedFeed(const CopyInput& input, std::vector<CopiedFile>& files) : input_(input), files_(files) {
    for (std::size_t i = 0; i < input.plan.mapped.size(); ++i) {
      const auto index = input.plan.mapped[i];
      const auto& entry = input.scan.entries[index];
      mapped_.emplace(index, std::make_shared<MappedFile>(
                                 entry, plan_of(index),
                                 MappedFile::Shape{input.extent_size, entry.relation ? input.check.block_size : 0, input.plan.stretches[i]}));
    }
  }

  std::optional<CopyWork> next() override {
    const auto at = next_.fetch_add(1);
    if (at >= input_.plan.tasks.size()) return std::nullopt;
    const auto& task = input_.plan.tasks[at];
    CopyWork work{.mapped = nullptr, .files = {}, .first = task.first, .end = task.end, .bytes = task.bytes, .last = task.last};
    if (!task.is_bundle()) work.mapped = mapped_.at(task.at);
    for (const auto index : input_.plan.files_of(task)) work.files.push_back({&input_.scan.entries[index], &plan_of(index), &files_[index]});
    return work;
  }

 private:
  const FilePlan& plan_of(std::uint32_t index) const {
    static const FilePlan kWhole;
    return input_.parent != nullptr ? input_.parent->files[index] : kWhole;
  }

  const CopyInput& input_;
  std::vector<CopiedFile>& files_;
  std::unordered_map<std::uint32_t, std::shared_ptr<MappedFile>> mapped_;
  std::atomic<std::size_t> next_{0};
};

/// Files that are not opened.
void take_kept(const CopyInput& input, CopyOutcome& outcome) {
  if (input.parent == nullptr) return;
  for (std::size_t i = 0; i < outcome.files.size(); ++i) {
    const auto& plan = input.parent->files[i];
    if (plan.reading != Reading::Kept) continue;
    outcome.files[i] = kept(*plan.parent);
    for (const auto& page : input.parent->bad_pages)
      if (page.path == input.scan.entries[i].path) outcome.inherited_bad.push_back(page);
  }
}

}  // namespace

Status copy_fed(const CopyInput& input, CopyFeed& feed, const CopyProducer* producer, CopyOutcome& outcome, CopyCounters& counters,
                PageFindings& findings, const std::function<Status()>& tick) {
  BoundedQueue<FinishedPack> finished(input.queued_packs);
  Attendance attendance(input.workers + input.uploaders + (producer != nullptr ? 1 : 0));
  std::atomic<unsigned> workers_left{input.workers};
  Status ticked = ok();
  {
    TaskGroup group(input.cancel);
    const auto stop = [&] {
      finished.cancel();
      if (producer != nullptr) producer->stop();
    };
    group.on_failure(stop);
    CopyShared shared{input, counters, findings, group, finished, feed};
    input.maps.redirect([&](FinishedPack pack) { return shared.hand_on(std::move(pack)); });

    for (unsigned i = 0; i < input.workers; ++i)
      group.spawn([&]() -> Status {
        const Leaving leaving{[&] {
          if (workers_left.fetch_sub(1) == 1) finished.close();
          attendance.leave();
        }};
        return run_copy_worker(shared);
      });
    for (unsigned i = 0; i < input.uploaders; ++i)
      group.spawn([&]() -> Status {
        const Leaving leaving{[&] { attendance.leave(); }};
        while (auto pack = finished.pop()) TRY(input.upload(std::move(*pack)));
        return ok();
      });
    if (producer != nullptr)
      group.spawn([&]() -> Status {
        const Leaving leaving{[&] { attendance.leave(); }};
        return producer->run();
      });

    while (!attendance.wait_empty(kTick)) {
      if (ticked) ticked = tick();
      if (!ticked || group.cancelled()) {
        group.cancel();
        stop();
      }
    }
    auto joined = group.join();
    // Outlives this call: by value.
    input.maps.redirect([upload = input.upload](FinishedPack pack) { return upload(std::move(pack)); });
    if (!ticked) return std::move(ticked).failure();
    outcome.refuted = shared.refuted.with([](auto& reason) { return std::move(reason); });
    if (outcome.refuted) return ok();
    TRY(std::move(joined));
    shared.inherited_bad.with([&](auto& pages) {
      outcome.inherited_bad.insert(outcome.inherited_bad.end(), pages.begin(), pages.end());
    });
    shared.vanished.with([&](auto& lists) {
      outcome.vanished_noted = std::move(lists.noted);
      outcome.vanished_refused = std::move(lists.refused);
    });
  }
  if (input.cancel != nullptr) TRY(input.cancel->check());
  return ok();
}

Result<CopyOutcome> copy_files(const CopyInput& input, CopyCounters& counters, PageFindings& findings,
                               const std::function<Status()>& tick) {
  CopyOutcome outcome;
  outcome.files.resize(input.scan.entries.size());
  take_kept(input, outcome);
  PlannedFeed feed(input, outcome.files);
  TRY(copy_fed(input, feed, nullptr, outcome, counters, findings, tick));
  return outcome;
}

}  // namespace pgmint::backup

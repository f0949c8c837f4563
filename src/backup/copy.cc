#include "backup/copy.h"

#include <algorithm>
#include <condition_variable>

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

void prepare_mapped(CopyShared& shared) {
  const auto& plan = shared.input.plan;
  for (std::size_t i = 0; i < plan.mapped.size(); ++i) {
    const auto& entry = shared.input.scan.entries[plan.mapped[i]];
    shared.mapped.push_back(std::make_unique<MappedFile>(
        entry, shared.plan_of(plan.mapped[i]),
        MappedFile::Shape{shared.input.extent_size, entry.relation ? shared.input.check.block_size : 0, plan.stretches[i]}));
    shared.by_entry.emplace(plan.mapped[i], shared.mapped.back().get());
  }
}

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

Result<CopyOutcome> copy_files(const CopyInput& input, CopyCounters& counters, PageFindings& findings,
                               const std::function<Status()>& tick) {
  CopyOutcome outcome;
  outcome.files.resize(input.scan.entries.size());
  take_kept(input, outcome);
  BoundedQueue<FinishedPack> finished(input.queued_packs);
  Attendance attendance(input.workers + input.uploaders);
  std::atomic<unsigned> workers_left{input.workers};
  Status ticked = ok();
  {
    TaskGroup group(input.cancel);
    group.on_failure([&] { finished.cancel(); });
    CopyShared shared{input, counters, findings, group, finished, outcome.files};
    prepare_mapped(shared);
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

    while (!attendance.wait_empty(kTick)) {
      if (ticked) ticked = tick();
      if (!ticked || group.cancelled()) {
        group.cancel();
        finished.cancel();
      }
    }
    auto joined = group.join();
    // Outlives this call: by value.
    input.maps.redirect([upload = input.upload](FinishedPack pack) { return upload(std::move(pack)); });
    if (!ticked) return std::move(ticked).failure();
    outcome.refuted = shared.refuted.with([](auto& reason) { return std::move(reason); });
    if (outcome.refuted) return outcome;
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
  return outcome;
}

}  // namespace pgmint::backup

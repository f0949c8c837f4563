#include "repository/lock_batch.h"

#include <algorithm>
#include <atomic>
#include <vector>

#include "base/task_group.h"

namespace pgmint::repository {
namespace {

using storage::LockMode;
using storage::ObjectLock;
using storage::ObjectVersion;

/// Objects that are looked into together: names of hundreds of thousands need not be in memory.
constexpr std::size_t kTogether = 2048;

/// One object that the store is asked about, or told to lock.
struct Work {
  ObjectVersion version;
  TimePoint wanted{};
  std::optional<ObjectLock> lock;  ///< as known before, and after
  bool asked = false, extended = false;
};

/// What of a name is locked.
struct Name {
  std::string name;
  std::optional<ObjectVersion> first;  ///< that was written
  std::optional<ObjectVersion> read;   ///< under the name: the first behind the newest marker
  bool marker_seen = false;

  /// Newest first.
  void see(const ObjectVersion& version) {
    marker_seen = marker_seen || version.marker;
    if (version.marker) return;
    first = version;
    if (!marker_seen) read = version;
  }
};

class Batch {
 public:
  Batch(storage::ObjectVersions& versions, const LockBatch& how, LockMemory& memory, LockCounts& counts) : versions_(versions), how_(how), memory_(memory), counts_(counts) {}

  Status below(const std::string& prefix) {
    Name name;
    TRY(versions_.list(prefix, "", [&](const ObjectVersion& version) -> Status {
      if (how_.cancel != nullptr) TRY(how_.cancel->check());
      if (name.name != version.name) {
        TRY(take(name));
        name = {version.name, {}, {}, false};
      }
      name.see(version);
      return ok();
    }));
    TRY(take(name));
    return work_off();
  }

 private:
  Status take(const Name& name) {
    const auto wanted = name.first ? how_.wanted(name.name) : std::nullopt;
    if (!wanted) return ok();
    TRY(take(*name.first, *wanted));
    return name.read && name.read->id != name.first->id ? take(*name.read, *wanted) : ok();
  }

  Status take(const ObjectVersion& version, TimePoint wanted) {
    // Locks end at whole seconds.
    Work work{version, std::chrono::ceil<std::chrono::seconds>(wanted), {}};
    if (!how_.ask_all) work.lock = memory_.find(work.version);
    ++counts_.needed;
    if (work.lock && does(work)) {
      note(work);
      return ok();
    }
    waiting_.push_back(std::move(work));
    return waiting_.size() < kTogether ? ok() : work_off();
  }

  bool does(const Work& work) const {
    return work.lock && work.lock->until >= how_.enough(work.wanted);
  }

  Status work_off() {
    std::atomic<std::size_t> next{0};
    TaskGroup workers;
    for (std::size_t i = 0; i < std::min<std::size_t>(how_.at_once, waiting_.size()); ++i)
      workers.spawn([&]() -> Status {
        for (auto at = next++; at < waiting_.size() && !workers.cancelled(); at = next++) {
          if (how_.cancel != nullptr) TRY(how_.cancel->check());
          TRY(see_to(waiting_[at]));
        }
        return ok();
      });
    auto done = workers.join();
    for (const auto& work : waiting_)
      if (work.asked || work.extended) note(work);
    waiting_.clear();
    if (how_.progress) how_.progress(counts_);
    return done;
  }

  Status see_to(Work& work) {
    const bool known = work.lock.has_value();
    if (!known) TRY(ask(work));
    if (does(work)) return ok();
    auto extended = extend(work);
    if (extended || !known || extended.failure().code() != Errc::Key) return extended;
    // Another host may have extended it since, and what is shorter is refused.
    TRY(ask(work));
    return does(work) ? ok() : extend(work);
  }

  Status ask(Work& work) {
    work.lock = TRY(versions_.lock_of(work.version.name, work.version.id));
    work.asked = true;
    return ok();
  }

  Status extend(Work& work) {
    PGMINT_ASSERT(!work.lock || work.lock->until < work.wanted);  // what is shortened is refused, and `enough` is at most `wanted`
    ObjectLock to{how_.mode, work.wanted};
    if (work.lock) to.mode = work.lock->mode;  // changed only by who may bypass locks
    if (!how_.dry_run) {
      auto locked = versions_.lock(work.version.name, work.version.id, to);
      // Let go by another host, and removed, since it was listed.
      if (!locked && locked.failure().code() == Errc::NotFound) return ok();
      TRY(std::move(locked));
    }
    work.lock = to;
    work.extended = true;
    return ok();
  }

  void note(const Work& work) {
    counts_.asked += work.asked ? 1 : 0;
    counts_.extended += work.extended ? 1 : 0;
    if (!work.lock) return;
    counts_.first_end = std::min(counts_.first_end, work.lock->until);
    counts_.last_end = std::max(counts_.last_end, work.lock->until);
    if (how_.mode == LockMode::Compliance && work.lock->mode == LockMode::Governance) ++counts_.governance;
    if (!how_.dry_run) memory_.note(work.version, *work.lock);
  }

  storage::ObjectVersions& versions_;
  const LockBatch& how_;
  LockMemory& memory_;
  LockCounts& counts_;
  std::vector<Work> waiting_;
};

}  // namespace

Status extend_locks(storage::ObjectVersions& versions, std::span<const std::string> prefixes, const LockBatch& batch, LockMemory& memory, LockCounts& counts) {
  Batch run(versions, batch, memory, counts);
  for (const auto& prefix : prefixes) TRY(run.below(prefix).context("locks"));
  return ok();
}

}  // namespace pgmint::repository

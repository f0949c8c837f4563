// One worker of a copy: reads, checks, compares, compresses, seals and packs what its tasks say.
#pragma once

#include <mutex>

#include "backup/copy_feed.h"
#include "base/guarded.h"
#include "base/queue.h"
#include "base/task_group.h"

namespace pgmint::backup {

/// What the workers of one copy share.
struct CopyShared {
  const CopyInput& input;
  CopyCounters& counters;
  PageFindings& findings;
  TaskGroup& group;
  BoundedQueue<repository::FinishedPack>& finished;
  CopyFeed& feed;

  std::mutex maps_mutex{};
  struct Vanished {
    std::vector<std::string> noted, refused;
  };
  Guarded<Vanished> vanished{};
  Guarded<std::optional<std::string>> refuted{};
  Guarded<std::vector<repository::BadPage>> inherited_bad{};

  Status hand_on(repository::FinishedPack pack) {
    if (!finished.push(std::move(pack))) return Error(Errc::Cancelled, "cancelled");
    return ok();
  }
};

/// A file that stays what it is in the parent.
CopiedFile kept(const ParentFile& parent);

/// Takes work until there is none. @errors as copy_files()
Status run_copy_worker(CopyShared& shared);

}  // namespace pgmint::backup

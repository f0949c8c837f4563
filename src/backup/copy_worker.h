// One worker of a copy: reads, checks, compares, compresses, seals and packs what its tasks say.
#pragma once

#include <memory>
#include <mutex>
#include <unordered_map>

#include "backup/copy.h"
#include "backup/mapped_file.h"
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
  std::vector<CopiedFile>& files;

  std::atomic<std::size_t> next_task{0};
  std::vector<std::unique_ptr<MappedFile>> mapped{};
  std::unordered_map<std::uint32_t, MappedFile*> by_entry{};
  std::mutex maps_mutex{};
  struct Vanished {
    std::vector<std::string> noted, refused;
  };
  Guarded<Vanished> vanished{};
  Guarded<std::optional<std::string>> refuted{};
  Guarded<std::vector<repository::BadPage>> inherited_bad{};

  const FilePlan& plan_of(std::uint32_t index) const {
    static const FilePlan kWhole;
    return input.parent != nullptr ? input.parent->files[index] : kWhole;
  }

  Status hand_on(repository::FinishedPack pack) {
    if (!finished.push(std::move(pack))) return Error(Errc::Cancelled, "cancelled");
    return ok();
  }
};

/// A file that stays what it is in the parent.
CopiedFile kept(const ParentFile& parent);

/// Takes tasks until there are none. @errors as copy_files()
Status run_copy_worker(CopyShared& shared);

}  // namespace pgmint::backup

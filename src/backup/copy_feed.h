// What the workers of a copy take, one piece after the other: from a plan, or from a stream as it arrives.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "backup/copy.h"
#include "backup/mapped_file.h"

namespace pgmint::backup {

/// One piece of work for one worker. All that is pointed at outlives the copy.
struct CopyWork {
  struct File {
    const postgres::DirectoryEntry* entry = nullptr;
    const FilePlan* plan = nullptr;
    CopiedFile* copied = nullptr;  ///< gets what became of it
  };
  std::shared_ptr<MappedFile> mapped;  ///< null: the files of a bundle, whole
  std::vector<File> files;             ///< of a stretch: the one that it is of
  std::uint64_t first = 0, end = 0;    ///< the stretch, as of CopyTask
  std::uint64_t bytes = 0;             ///< how much of what is expected this is
  bool last = false;                   ///< the last stretch of its file
};

/// Thread-safe.
class CopyFeed {
 public:
  virtual ~CopyFeed() = default;
  /// Waits for it; nullopt: there is no more.
  virtual std::optional<CopyWork> next() = 0;
};

/// Brings what a feed gives, on a thread of its own; absent where all is there from the beginning.
struct CopyProducer {
  std::function<Status()> run;
  /// From any thread, at any time: run() and next() return soon.
  std::function<void()> stop;
};

/// As copy_files(), of what `feed` gives. Of the outcome only what workers found is filled in.
Status copy_fed(const CopyInput& input, CopyFeed& feed, const CopyProducer* producer, CopyOutcome& outcome, CopyCounters& counters,
                PageFindings& findings, const std::function<Status()>& tick);

}  // namespace pgmint::backup

// A file with a map of its own while several workers read stretches of it.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>

#include "backup/copy_plan.h"
#include "backup/source.h"
#include "repository/segment_map.h"

namespace pgmint::backup {

/// Opened by the first worker that needs it, described by the last one that leaves it. Thread-safe.
class MappedFile {
 public:
  MappedFile(const postgres::DirectoryEntry& entry, std::uint32_t extent_size, std::uint32_t page_size,
             std::uint32_t stretches)
      : entry_(entry), extent_size_(extent_size), page_size_(page_size), stretches_left_(stretches) {}

  const postgres::DirectoryEntry& entry() const { return entry_; }

  /// nullptr: the file is gone. Every caller gets the same answer. @errors Key, Io, Precondition
  Result<SourceFile*> open(Source& source);
  /// How many bytes are wanted. A relation's are those of the scan, since what it gained since is in the WAL; another
  /// file may have been replaced by a longer one, of which everything is wanted. After open().
  std::uint64_t wanted() const { return wanted_; }

  /// Each extent by one worker only. After open().
  void set(std::uint64_t extent, repository::MapExtent what) { extents_[extent] = std::move(what); }
  /// The file ended at `length`, before wanted(). Of several such sightings the lowest counts: a file that was
  /// truncated and grew again is described up to the cut, and replay brings the rest.
  void saw_end(std::uint64_t length);

  /// True for the last caller: it alone may call describe().
  bool leave_stretch() { return stretches_left_.fetch_sub(1) == 1; }
  /// The finished map; nullopt when the file was gone. Closes the file and frees the extents.
  std::optional<repository::SegmentMap> describe();

 private:
  const postgres::DirectoryEntry& entry_;
  const std::uint32_t extent_size_, page_size_;
  std::atomic<std::uint32_t> stretches_left_;
  std::mutex mutex_;
  bool opened_ = false;
  std::optional<Error> open_error_;
  std::unique_ptr<SourceFile> file_;
  std::uint64_t wanted_ = 0;
  std::uint64_t end_ = 0;
  std::vector<repository::MapExtent> extents_;
};

}  // namespace pgmint::backup

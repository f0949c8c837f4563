// A file with a map of its own while several workers read stretches of it.
#pragma once

#include <atomic>
#include <functional>
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
  struct Shape {
    std::uint32_t extent_size = 0, page_size = 0;  ///< page_size 0: not a file of pages
    std::uint32_t stretches = 0;
  };
  /// Borrows both.
  MappedFile(const postgres::DirectoryEntry& entry, const FilePlan& plan, Shape shape)
      : entry_(entry), plan_(plan), shape_(shape), stretches_left_(shape.stretches) {}

  const postgres::DirectoryEntry& entry() const { return entry_; }
  const FilePlan& plan() const { return plan_; }

  /// Reads the parent's map. @errors as read_record
  using ReadMap = std::function<Result<repository::SegmentMap>(const repository::RecordLocation&)>;
  /// nullptr: the file is gone. Every caller gets the same answer. @errors Key, Io, Precondition, as `read_map`
  Result<SourceFile*> open(Source& source, const ReadMap& read_map);
  /// How many bytes are wanted. A relation's are those of the scan, since what it gained since is in the WAL; another
  /// file may have been replaced by a longer one, of which everything is wanted. After open().
  std::uint64_t wanted() const { return wanted_; }
  std::uint32_t extent_length(std::uint64_t extent) const;

  // What the parent has. After open().

  /// nullptr: it has no map of this file.
  const repository::SegmentMap* parent_map() const { return parent_map_ ? &*parent_map_ : nullptr; }
  /// Whether the parent has an extent of the same place and length.
  bool parent_has(std::uint64_t extent) const;
  /// How many pages of [from, to), in blocks of the file, live in its deltas.
  std::size_t parent_delta_pages(std::uint64_t from, std::uint64_t to) const;
  /// Its deltas cost more than reading the file again does: what has some is to be written anew.
  bool deltas_are_dear() const { return deltas_are_dear_; }

  /// Each extent by one worker only. After open(). What is not set, and the parent has, stays the parent's.
  void set(std::uint64_t extent, repository::MapExtent what);
  void add_delta(repository::MapDelta delta);
  /// The file ended at `length`, before wanted(). Of several such sightings the lowest counts: a file that was
  /// truncated and grew again is described up to the cut, and replay brings the rest.
  void saw_end(std::uint64_t length);

  /// True for the last caller: it alone may call describe().
  bool leave_stretch() { return stretches_left_.fetch_sub(1) == 1; }
  struct Description {
    repository::SegmentMap map;
    bool is_parents = false;  ///< nothing differs from the parent's map
  };
  /// The finished map; nullopt when the file was gone. Closes the file and frees the extents.
  std::optional<Description> describe();
  /// Whether `block` of the file was stored anew. After describe().
  bool renewed(std::uint64_t block) const;
  /// Frees what the last caller has no more use for: a parent's map takes half a megabyte a GiB, and there are thousands of files.
  void release();

 private:
  Status take_parent(const ReadMap& read_map);
  std::vector<repository::MapDelta> remaining_deltas(std::uint64_t length) const;
  std::uint64_t pages_per_extent() const { return shape_.extent_size / shape_.page_size; }

  const postgres::DirectoryEntry& entry_;
  const FilePlan& plan_;
  const Shape shape_;
  std::atomic<std::uint32_t> stretches_left_;
  std::mutex mutex_;
  bool opened_ = false;
  std::optional<Error> open_error_;
  std::unique_ptr<SourceFile> file_;
  std::uint64_t wanted_ = 0;
  std::uint64_t end_ = 0;
  std::optional<repository::SegmentMap> parent_map_;
  std::vector<std::uint32_t> parent_delta_blocks_;  ///< live, ascending
  bool deltas_are_dear_ = false;
  std::vector<repository::MapExtent> extents_;
  std::vector<std::uint8_t> set_;  ///< per extent: written by set(); bytes, since workers write beside each other
  std::vector<repository::MapDelta> deltas_;
  std::vector<std::uint32_t> delta_blocks_;  ///< of deltas_; ascending after describe()
};

}  // namespace pgmint::backup

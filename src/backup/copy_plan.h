// Who reads what: the data directory cut into pieces of work, largest files first. Pure.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "backup/file_plan.h"
#include "postgres/data_directory.h"

namespace pgmint::backup {

/// One piece of work for one worker: a stretch of one file, or small files that share a bundle. Of 10 TB there are 650,000.
struct CopyTask {
  std::uint32_t at = 0;     ///< stretch: the file, in DirectoryScan::entries; bundle: its first file, in CopyPlan::bundled
  std::uint32_t count = 0;  ///< of files in the bundle; 0: a stretch
  std::uint64_t first = 0;  ///< stretch: bytes from here ...
  std::uint64_t end = 0;    ///< ... to before here, as scanned; the last stretch of a file reads on when it has grown
  std::uint64_t bytes = 0;  ///< how much of CopyPlan::total_bytes this is
  bool last = false;        ///< the last stretch of its file

  bool is_bundle() const { return count != 0; }
};

struct CopyPlan {
  std::vector<CopyTask> tasks;           ///< in the order in which workers take them
  std::vector<std::uint32_t> mapped;     ///< files with a map of their own, in task order
  std::vector<std::uint32_t> stretches;  ///< how many tasks each of `mapped` has
  std::vector<std::uint32_t> bundled;    ///< files of bundles, bundle by bundle
  std::uint64_t total_bytes = 0;         ///< that will be read, as far as can be told
  std::uint64_t files = 0;               ///< that will be opened

  /// Indexes into DirectoryScan::entries.
  std::span<const std::uint32_t> files_of(const CopyTask& task) const {
    return task.is_bundle() ? std::span(bundled).subspan(task.at, task.count) : std::span(&task.at, 1);
  }
};

struct CopyPlanOptions {
  std::uint64_t extent_size = 0;  ///< files of at least this size get a map, smaller ones a place in a bundle
  std::uint64_t stretch = 0;      ///< a multiple of extent_size
  std::uint64_t bundle_size = 0;  ///< scanned bytes at which a bundle is full
  std::uint32_t block_size = 8192;
};
/// Leaves out directories, links, pg_control (read last), relation files that were empty when scanned, and kept files.
/// @param files  one per entry, or empty: everything is read whole
CopyPlan plan_copy(const postgres::DirectoryScan& scan, const CopyPlanOptions& options,
                   const std::vector<FilePlan>& files = {});

}  // namespace pgmint::backup

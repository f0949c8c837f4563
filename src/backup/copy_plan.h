// Who reads what: the data directory cut into pieces of work, largest files first. Pure.
#pragma once

#include <cstdint>
#include <vector>

#include "backup/file_plan.h"
#include "postgres/data_directory.h"

namespace pgmint::backup {

/// One piece of work for one worker.
struct CopyTask {
  /// Indexes into DirectoryScan::entries. One file of which a stretch is read, or small files that share a bundle.
  std::vector<std::uint32_t> files;
  bool bundle = false;
  std::uint64_t first = 0;  ///< stretch: bytes from here ...
  std::uint64_t end = 0;    ///< ... to before here, as scanned; the last stretch of a file reads on when it has grown
  bool last = false;        ///< the last stretch of its file
  std::uint64_t bytes = 0;  ///< how much of CopyPlan::total_bytes this is
};

struct CopyPlan {
  std::vector<CopyTask> tasks;           ///< in the order in which workers take them
  std::vector<std::uint32_t> mapped;     ///< files with a map of their own, in task order
  std::vector<std::uint32_t> stretches;  ///< how many tasks each of `mapped` has
  std::uint64_t total_bytes = 0;         ///< that will be read, as far as can be told
  std::uint64_t files = 0;               ///< that will be opened
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

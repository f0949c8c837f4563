// The copy: manifest entries become files, read from packs in long runs, opened, checked, written once, made durable.
#pragma once

#include "restore/target_directory.h"

namespace pgmint::restore {

struct CopyCounters {
  std::uint64_t files = 0, bytes = 0, read_bytes = 0;
  std::uint64_t kept_bytes = 0;  ///< of `bytes`, what the target had
};

/// What the copy holds back, for finish() to write when everything else is durable.
struct HeldBack {
  Bytes control_file;
  mode_t control_mode = 0600;
  std::vector<std::string> configuration;  ///< absolute original paths of area 1, whose contents stand in `configuration_text`
  std::vector<std::string> configuration_text;
  std::vector<std::string> warnings;
};

struct CopyJob {
  repository::Cluster& cluster;
  const repository::ManifestRoot& root;
  const TargetPlan& target;
  unsigned workers = 0;
  std::optional<ByteCount> max_rate;
  const CancelToken* cancel = nullptr;
  std::function<void(const CopyCounters&)> progress;  ///< at most five times a second, from the calling thread
};

/// Creates directories, links and files below target.to and the tablespaces, fsyncs each file and directory. pg_control is
/// not written. With target.delta the directory is closed and swept first, and what is equal by fingerprint stays. @errors Corruption, Storage, Key, Io, Cancelled
Result<HeldBack> copy_files(const CopyJob& job, CopyCounters& counters);

/// Deletes what a failed copy left below target.new_roots (which were absent or empty before). Best effort; says what stayed.
std::vector<std::string> undo_copy(const TargetPlan& target);

}  // namespace pgmint::restore

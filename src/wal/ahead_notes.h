// What a run read of a segment that it stored ahead of its turn, so that the segment's own run need not read it again. Private to
// push.cc. Decision: docs/adr/0006-batch-ahead-and-prefetch.md, "Notes"
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>

#include "base/file.h"
#include "base/machine_time.h"
#include "crypto/hash.h"
#include "repository/repository.h"
#include "repository/wal_archive.h"

namespace pgmint::wal {

/// Whether the file lies on a local file system that stamps every change with this machine's clock.
bool stamps_changes(const Fd& file);

/// "This file, unchanged since, has this MAC." A note never says that anything is stored: that, the repository is asked, as
/// for every file.
///
/// A file counts as unchanged when device, inode, size, mtime and ctime are what they were right before and right after it was
/// read, to the nanosecond, on a file system that stamps_changes(); when its ctime was over by kSettled before it was read, so
/// that no later change can have got the same stamp; within the same boot, in which the clock was not set; and for kLife only. Where
/// any of that is not so, nothing is noted or nothing recalled, and the file is read.
///
/// Notes are authenticated under the cluster's MAC key with repository, cluster, identity and name. They are not fsynced: they do
/// not outlive the boot anyhow. Not thread-safe: one per worker; several may share a directory.
class AheadNotes {
 public:
  static constexpr std::chrono::seconds kSettled{2};
  static constexpr std::chrono::seconds kClockTolerance{1};  ///< below kSettled
  static constexpr std::chrono::minutes kLife{10};

  struct Surroundings {
    std::function<std::optional<MachineTime>()> time = machine_time;
    std::function<bool(const Fd&)> stamps = stamps_changes;
  };

  /// @param directory  empty: nothing is noted, nothing recalled
  AheadNotes(fs::path directory, const repository::Cluster& cluster, const repository::WalIdentity& identity,
             Surroundings surroundings);

  struct FileState {
    std::uint64_t device = 0, inode = 0, size = 0;
    std::int64_t mtime_s = 0, mtime_ns = 0, ctime_s = 0, ctime_ns = 0;
    bool operator==(const FileState&) const = default;
  };
  struct Watch {
    FileState file;
    MachineTime since;
  };
  /// Right before `file` is read. nullopt: nothing can be noted of it.
  std::optional<Watch> watch(const Fd& file) const;
  /// Right after it was read to its end and stored: notes `mac`, unless something changed meanwhile. A note that cannot be
  /// written is none.
  void note(const std::string& file_name, const Watch& watch, const Fd& file, const crypto::Digest& mac) const;
  /// The MAC of what is in `file`, which was opened for the segment's own run.
  std::optional<crypto::Digest> recall(const std::string& file_name, const Fd& file) const;
  void forget(const std::string& file_name) const;
  /// Removes what is older than kLife.
  void sweep() const;

 private:
  Bytes encode(const std::string& file_name, const Watch& watch, const crypto::Digest& mac) const;

  fs::path directory_;
  std::string scope_;
  crypto::Key256 key_;
  Surroundings surroundings_;
};

}  // namespace pgmint::wal

// Copies a repository into a mirror: the same objects, verbatim, by whoever can read one store and write the other. No key is needed.
// Format of what makes a mirror: docs/format/mirror.md. Decision: docs/adr/0030-mirrors.md
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "base/cancel.h"
#include "base/random.h"
#include "repository/mirror_mark.h"
#include "storage/throttle_store.h"

namespace pgmint::repository {

struct ReplicateProgress {
  std::string_view phase;  ///< "list", "copy", "log", "remove"
  std::uint64_t done = 0, total = 0;  ///< bytes; total 0: not known
  std::string detail;
};

/// All borrowed things may be null.
struct ReplicateOptions {
  std::string source_name;  ///< for the mark
  std::string made_by;      ///< user@host
  bool one_writer = false;  ///< the mirror's store has no create-if-absent
  bool dry_run = false;     ///< nothing is written; the report says what would be
  std::chrono::seconds keep_removed = std::chrono::hours(30 * 24);  ///< how long what vanished at the source stays
  bool remove_many = false;  ///< also more than half of what a cluster has here
  unsigned workers = 1;
  storage::RateLimiter* limiter = nullptr;  ///< of bytes that are copied
  const CancelToken* cancel = nullptr;
  std::function<void(const ReplicateProgress&)> progress = {};  ///< from any thread, one at a time
};

struct ObjectCount {
  std::uint64_t objects = 0, bytes = 0;
  void add(std::uint64_t size) { ++objects, bytes += size; }
  void add(const ObjectCount& other) { objects += other.objects, bytes += other.bytes; }
};

struct ReplicatedCluster {
  ClusterId id;
  std::uint64_t entries = 0;       ///< of its log that the mirror shows now
  ObjectCount copied, log;         ///< with dry_run: to be copied
  ObjectCount vanished;            ///< at the source, and still here
  ObjectCount removed;             ///< with dry_run: to be removed
  bool held_back = false;          ///< what is due is more than half of what is here: it stays
  std::optional<TimePoint> next_removal;  ///< when the oldest of what stays is due
  std::vector<std::string> conflicts;     ///< objects that differ from their source's, and stay as they are
  std::optional<Error> failure;    ///< why it was left as it was
};

struct ReplicateReport {
  RepositoryId repository;
  bool first = false;              ///< the mirror was begun by this run
  std::vector<ReplicatedCluster> clusters;
  ObjectCount keys;                ///< format and key slots that were copied
  std::vector<std::string> conflicts;  ///< among them
  std::optional<TimePoint> as_of;  ///< what the mirror shows now
  bool has_conflicts() const;
};

/// Whatever step it is cut off at, the mirror shows what it showed before, or the new moment; running it again goes on. Objects that
/// come or go at the source meanwhile are no failure. Nothing is overwritten. A cluster whose copy fails keeps no other from being
/// copied: its failure is in the report. Several may run at once.
/// @errors Precondition (no repository at the source; the mirror is of another one, holds something else, or was promoted), Corruption
/// (format differs), Storage, Key, Busy, Cancelled
Result<ReplicateReport> replicate(storage::BlobStore& source, storage::BlobStore& mirror, Clock& clock, RandomSource& random, const ReplicateOptions& options);

}  // namespace pgmint::repository

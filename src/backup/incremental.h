// What makes a run incremental: the parent, what changed since, and how each file is to be read; or why it is a full.
#pragma once

#include <string>

#include "backup/changes.h"
#include "backup/file_plan.h"
#include "backup/parent.h"
#include "backup/server.h"
#include "repository/segment_map.h"

namespace pgmint::backup {

/// Not thread-safe. Borrows the cluster. The steps in their order: choose, look, plan; give_up() at any time.
class Incremental {
 public:
  explicit Incremental(repository::Cluster& cluster) : cluster_(cluster) {}

  /// Looks for a parent, nothing is known of the server yet. @errors Storage, Key
  Status choose(const postgres::ControlFile& control);
  /// From here on it is a full backup.
  void give_up(std::string reason);
  /// Whether it gave up since the parent cannot be read.
  bool damage() const { return damage_; }
  bool active() const { return parent_.has_value(); }
  /// Why it is a full; empty: nobody asked for more, or it is none.
  const std::string& reason() const { return reason_; }
  const repository::ManifestRoot& parent() const { return *parent_; }

  /// After the start: does the parent lie in this server's past, what does the WAL say, what does the parent hold. Gives up
  /// for all that is the parent's or the WAL's fault. @param data_directory  empty: out of reach @param all_come  with a stream, whatever has changed @errors Storage, Key, Io, Cancelled
  Status look(const fs::path& data_directory, bool all_come, const postgres::ControlFile& control, const ServerStart& start,
              const CancelToken* cancel);
  /// WAL objects that are damaged: recovery of older backups will not get past them.
  const std::vector<std::string>& wal_damage() const { return wal_damage_; }
  /// Why files are compared instead of looked up in the change summaries; nullopt: they are looked up.
  const std::optional<std::string>& scan_reason() const { return changes_.void_reason; }
  const ParentFiles& files() const { return files_; }
  /// What the parent's tree refers to.
  const repository::PackUse& pack_use() const { return pack_use_; }
  /// And its account of that.
  repository::PackUse all_use() const;
  /// One of the parent's maps. @errors NotFound, Corruption, Storage, Key
  Result<repository::SegmentMap> read_map(const repository::RecordLocation& location);

  /// For a file whose bytes come in any case.
  FilePlan plan_streamed(const postgres::DirectoryEntry& entry) const;
  /// @param started  of this backup
  std::vector<FilePlan> plan(const postgres::DirectoryScan& scan, const postgres::ControlFile& control, TimePoint started) const;
  /// For people: "the blocks that the WAL from 0/3000028 to 0/5000028 names".
  std::string method() const;

 private:
  void give_up_damaged(const Error& error);
  Status read_account();

  repository::Cluster& cluster_;
  std::optional<repository::ManifestRoot> parent_;
  std::string reason_;
  bool damage_ = false;
  postgres::Lsn start_;
  postgres::ChangeSet changes_;
  std::vector<std::string> wal_damage_;
  ParentFiles files_;
  repository::PackUse pack_use_;
};

}  // namespace pgmint::backup

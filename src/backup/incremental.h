// What makes a run incremental: the parent, what changed since, and how each file is to be read; or why it is a full.
#pragma once

#include <string>

#include <functional>
#include <variant>

#include "backup/changes.h"
#include "backup/file_plan.h"
#include "backup/parent.h"
#include "backup/server.h"
#include "postgres/backup_manifest.h"
#include "postgres/incremental_file.h"
#include "repository/segment_map.h"

namespace pgmint::backup {

/// Not thread-safe. Borrows the cluster. The steps in their order: choose, (read_parent,) look, plan; give_up() at any time.
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

  /// What the parent holds; again it does nothing. Gives up where it cannot be read. @errors Storage, Key
  Status read_parent();
  /// For a server that is to send only what changed since the parent. After read_parent(). @param started  of this backup @errors those of `put`
  Status write_manifest(const postgres::BackupManifestWriter::Put& put, const postgres::ControlFile& control, TimePoint started) const;

  /// What changed between two positions of a history.
  using Changes = std::function<Result<postgres::ChangeSet>(const postgres::TimelineHistory& history, postgres::Lsn from, postgres::Lsn to)>;
  /// After the start: does the parent lie in this server's past, what does the WAL say, what does the parent hold. Gives up
  /// for all that is the parent's or the WAL's fault. @param data_directory  empty: out of reach @param sent  of a stream: tells what changed, in place of
  /// the WAL in the repository @errors Storage, Key, Io, Cancelled, those of `sent`
  Status look(const fs::path& data_directory, const postgres::ControlFile& control, const ServerStart& start, const CancelToken* cancel,
              const Changes& sent = {});
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

  /// After look(), before a stream comes. @param started  of this backup
  void begin_stream(const postgres::ControlFile& control, TimePoint started);
  /// For a file of a stream that comes whole.
  FilePlan plan_streamed(const postgres::DirectoryEntry& entry) const;
  /// For one of which only what changed comes: its plan, or why the list cannot be right.
  std::variant<FilePlan, std::string> plan_part(const postgres::DirectoryEntry& entry, postgres::IncrementalFile sent) const;
  /// @param started  of this backup
  std::vector<FilePlan> plan(const postgres::DirectoryScan& scan, const postgres::ControlFile& control, TimePoint started) const;
  /// For people: "the blocks that the WAL from 0/3000028 to 0/5000028 names".
  std::string method() const;

 private:
  IncrementalOptions options(const postgres::ControlFile& control, TimePoint started) const;
  void give_up_damaged(const Error& error);
  Status read_account();

  repository::Cluster& cluster_;
  std::optional<repository::ManifestRoot> parent_;
  std::string reason_;
  bool damage_ = false;
  postgres::Lsn start_;
  postgres::ChangeSet changes_;
  bool streamed_ = false;
  bool has_files_ = false;
  IncrementalOptions stream_options_;                ///< of plan_streamed() and plan_part()
  std::optional<postgres::ChangeIndex> index_;       ///< of changes_
  std::vector<std::string> wal_damage_;
  ParentFiles files_;
  repository::PackUse pack_use_;
};

}  // namespace pgmint::backup

// What a running command works with: its arguments, its answer, the configuration, the opened repository.
#pragma once

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/cancel.h"
#include "cli/arguments.h"
#include "cli/config.h"
#include "cli/output.h"
#include "repository/repository.h"
#include "storage/s3_store.h"
#include "wal/spool.h"

namespace pgmint::cli {

/// A store with everything else that a Repository borrows. Kept alive by whoever holds the repository.
struct RepositoryPlace {
  std::unique_ptr<storage::BlobStore> store;
  storage::S3Store* bucket = nullptr;  ///< inside `store`, when that is one
  storage::S3Store* log_bucket = nullptr;   ///< likewise, where the log has a bucket of its own
  storage::BlobStore* log_store = nullptr;  ///< that, behind what repeats requests
  repository::KeyCopies* key_copies = nullptr;  ///< likewise
  std::unique_ptr<repository::SeenMemory> seen;
  RepositorySettings settings;
  EncryptionSettings encryption;  ///< the repository's own, else the general one
  S3Settings s3;                  ///< likewise
};

class Context {
 public:
  Context(Arguments arguments, CancelToken& cancel);
  ~Context();

  const Arguments& arguments() const { return arguments_; }
  Output& output() { return output_; }
  CancelToken& cancel() { return cancel_; }
  bool yes() const { return arguments_.has("--yes"); }
  /// For a command that only reads, before it opens the repository: a signal ends it at its next request to the store.
  void stop_at_next_request() { stop_at_next_request_ = true; }

  /// For a command that is to find out what the store really holds, before it opens the repository: nothing is answered from copies on this host.
  void look_past_copies() { look_past_copies_ = true; }

  /// For a command that has a way out when the store is away, before it opens the repository: requests are not repeated for long.
  void give_up_early() { give_up_early_ = true; }

  /// Read at the first call. @errors Configuration
  Result<const Configuration*> configuration();
  /// At least one is configured. @errors Configuration
  Status need_repositories();
  /// The repository that is meant. @errors Configuration (also when several are configured, and none was named)
  Result<const RepositorySettings*> repository_settings();
  /// The repository's own, else the general one. @errors Configuration
  Result<EncryptionSettings> encryption();
  Result<fs::path> state_directory();
  /// @param create  make the directory of a new repository
  /// @errors Configuration, Storage, Key
  Result<RepositoryPlace*> place(bool create = false);
  /// What a Repository borrows. @errors as place()
  Result<repository::Environment> environment(bool create = false);
  /// Opened at the first call. @errors Precondition (no repository there yet: pgmint init), Key, Configuration, Storage
  Result<repository::Repository*> repository();
  /// How much WAL may wait on this host while the repository is away: 0 for none. @errors Configuration
  Result<ByteCount> spool_max();
  /// Where it waits. @errors as place()
  Result<const wal::Spool*> spool();
  /// The repository as this host knows it without the store: keys from copies, WAL into the spool. @errors Storage (there are no copies yet), Key, Configuration
  Result<repository::Repository*> repository_while_away();
  /// Null: not yet opened.
  repository::Repository* opened_repository() { return repository_.get(); }
  /// For the audit log: the command is about this cluster.
  void meet(const repository::ClusterId& cluster) { clusters_met_.insert(cluster); }
  const std::set<repository::ClusterId>& clusters_met() const { return clusters_met_; }
  /// Threads for the operation: --jobs, else configured, else the cores. @errors Usage
  Result<unsigned> jobs();

 private:
  Result<std::vector<repository::Unlock>> unlocks(const EncryptionSettings& encryption);

  Arguments arguments_;
  Output output_;
  CancelToken& cancel_;
  bool stop_at_next_request_ = false;
  bool look_past_copies_ = false;
  bool give_up_early_ = false;
  std::optional<Configuration> configuration_;
  std::set<repository::ClusterId> clusters_met_;
  std::unique_ptr<RepositoryPlace> place_;
  std::unique_ptr<wal::Spool> spool_;
  RepositoryPlace away_place_;
  std::unique_ptr<repository::Repository> repository_, away_;
};

/// "postgres@db1", for log entries.
std::string actor_label();
/// "db1", in messages to others.
std::string host_name();

}  // namespace pgmint::cli

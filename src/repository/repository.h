// Opening a repository: format, a slot that a secret opens, clusters with their keys and logs. What operations start from.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "repository/format_file.h"
#include "repository/key_copies.h"
#include "repository/key_objects.h"
#include "repository/keys.h"
#include "repository/log.h"
#include "repository/mirror_mark.h"

namespace pgmint::repository {

/// What every part of a repository needs from outside. All borrowed.
struct Environment {
  storage::BlobStore& store;
  Clock& clock;
  RandomSource& random;
  SeenMemory& seen;
  std::string actor_label;  ///< user@host
  std::string command;
  KeyCopies* key_copies = nullptr;  ///< part of `store`, where that answers for keys from copies
  unsigned reads_at_once = 1;  ///< above 1 the store is far away: what will be read is listed first, and asked for many at a time
  /// The log lives in a store of its own (`store` is then a split one, by log_apart_rule()), and this is its URL; empty: it does not. nullopt: `store` holds no log.
  std::optional<std::string> log_url = "";
};

class Repository;

/// A cluster that is there and of which nothing can be said.
struct UnreadableCluster {
  std::string id;
  Error error;
};

/// Logs that were read in this process and are not open now. Only where the store is far away.
using LogPositions = std::map<ClusterId, Log::Position>;

/// One cluster of an open repository. Borrows the repository. Not thread-safe; `keys()`, `context()` and `store()` may be
/// shared by workers.
class Cluster {
 public:
  ~Cluster();
  Cluster(const Cluster&) = delete;
  Cluster& operator=(const Cluster&) = delete;

  const ClusterId& id() const { return context_.cluster; }
  const RecordContext& context() const { return context_; }
  const ClusterKeys& keys() const { return keys_; }
  storage::BlobStore& store() const;
  /// As in Environment: how many requests the store is worth having in flight.
  unsigned reads_at_once() const { return reads_at_once_; }
  Log& log() { return *log_; }
  const LogState& state() const { return log_->state(); }
  /// Who signs: the newest key of this opener that is enrolled in the log as it was last read.
  Actor actor() const;
  Repository& repository() const { return repository_; }

 private:
  friend class Repository;
  Cluster(Repository& repository, RecordContext context, ClusterKeys keys);
  Repository& repository_;
  RecordContext context_;
  ClusterKeys keys_;
  std::unique_ptr<Log> log_;
  std::shared_ptr<LogPositions> positions_;
  unsigned reads_at_once_ = 1;
};

/// What one slot gave.
struct OpenedSlot {
  std::string name;
  RoleBundle bundle;
};

class Repository {
 public:
  /// Creates `format`, one root slot for each of `slots` (all open the same bundle), nothing else. Slots without a format and
  /// without clusters are what an interrupted creation left: they are no obstacle, and go.
  /// @errors Precondition (there is a repository, or one that lost its format), Storage, Key
  struct Slot { Unlock unlock; std::string note; };
  static Result<std::unique_ptr<Repository>> create(Environment environment, std::vector<Slot> slots,
                                                    crypto::ScryptCost cost = {});
  /// Tries `unlocks` on every slot they could fit; while a rotation of the root key is not finished several may be needed.
  /// @errors NotFound (no repository there; hint: pgmint init), Key (nothing fits; names the slots there are), Corruption, Storage
  /// Of a mirror only the moment that its mark says is seen, and nothing can be written: every attempt is Precondition and says so.
  static Result<std::unique_ptr<Repository>> open(Environment environment, std::vector<Unlock> unlocks);
  /// The same of a mirror that is about to be promoted (promote.h): what that writes is let through. @errors also Precondition: it is none
  static Result<std::unique_ptr<Repository>> open_to_promote(Environment environment, std::vector<Unlock> unlocks);

  /// Reads format and slots anew, past copies of them on this host. @errors as open()
  Status look_past_key_copies();

  const FormatFile& format() const { return format_; }
  /// What the newest mark of a mirror says; nullopt: this is none, and never was one.
  const std::optional<MirrorMark>& mirror_mark() const { return mark_; }
  /// Nothing can be written.
  bool is_mirror() const { return mark_ && mark_->state == MirrorState::Mirror; }
  const RoleBundle& bundle() const { return opened_.front().bundle; }
  const std::string& opened_slot() const { return opened_.front().name; }
  Environment& environment() { return environment_; }
  /// The newest key of this opener that is among `allowed`; nullptr when none is. A root knows those of its predecessors too.
  const crypto::SigningKey* signing_key_among(const std::set<crypto::PublicKey>& allowed) const;
  const crypto::SigningKey& signing_key() const { return *signing_keys_.front(); }

  /// Ids below c/, sorted; of those that this role may open, with `refresh`ed logs.
  Result<std::vector<std::unique_ptr<Cluster>>> clusters();
  /// The same for who looks after all of them: one that cannot be opened or read is named in `unreadable`, and hides no other.
  Result<std::vector<std::unique_ptr<Cluster>>> readable_clusters(std::vector<UnreadableCluster>& unreadable);
  /// The cluster with this name; with several of one name the one of `system_id`. Absence as a value.
  /// @errors Precondition (ambiguous), Corruption, Storage, Key
  Result<std::unique_ptr<Cluster>> find_cluster(const std::string& name, std::optional<std::uint64_t> system_id);
  /// The cluster whose current identity is `system_id`; nullptr when none.
  Result<std::unique_ptr<Cluster>> find_by_system_id(std::uint64_t system_id);
  /// As open_cluster(), with the log read, and keys that it vouches for; nullptr: nothing was ever written to it.
  Result<std::unique_ptr<Cluster>> read_cluster(const ClusterId& id);
  /// Creates key ring and genesis of a new cluster. Root role only.
  /// @errors Key, Precondition (a rotation of the root key is not finished), Busy (one began meanwhile), Storage
  Result<std::unique_ptr<Cluster>> create_cluster(const std::string& name, std::uint64_t system_id);
  /// Opens without reading the log (`wal push`, `--from-manifest`); far away it may be known as it was last read in this process.
  Result<std::unique_ptr<Cluster>> open_cluster(const ClusterId& id);

  Result<std::vector<SlotInfo>> slots();

  // key_changes.cc. Whatever point they are cut off at, every secret that opened the repository before opens it still.

  /// Adds a slot for `role`; a host or maintenance slot gets an actor of its own, enrolled in the log(s) that it may write.
  /// @errors Key (needs a root role), Precondition (a rotation of the root key is not finished), Busy (one began meanwhile)
  Result<std::string> add_slot(const Unlock& unlock, Role role, std::string note, const Cluster* host_cluster,
                               crypto::ScryptCost cost = {});
  /// Also ends a removal that was cut off. @errors NotFound, Precondition (the last root slot)
  Status remove_slot(const std::string& slot);
  /// One more data key for `cluster`; returns its epoch. @errors Key (root only), Busy (another change at the same time),
  /// Precondition (a rotation of the root key is not finished)
  Result<Epoch> rotate_data_key(Cluster& cluster);
  /// A new root key and root actor: every ring and every root slot that `unlocks` can open is written anew; root slots that it
  /// cannot open are named and refuse the rotation unless `drop_unopened`. @errors Key (nothing opens any), Precondition (no
  /// cluster yet, or unopened slots), Busy (another change at the same time; this one was undone)
  Status rotate_root(std::vector<Slot> unlocks, bool drop_unopened);

 private:
  friend class Cluster;
  class RootRotation;
  explicit Repository(Environment environment) : environment_(std::move(environment)) {}
  bool answered_from_copies() const;
  /// Format, the mark of a mirror, and what `unlocks_` open.
  /// @errors Configuration: the log is not where it is looked for
  Status check_log_place(const FormatFile& format) const;
  Status unlock();
  static Result<std::unique_ptr<Repository>> open_as(Environment environment, std::vector<Unlock> unlocks, bool promoting);
  /// What a cluster's log is limited to, and what it is remembered as.
  Log::Dependencies log_dependencies(const RecordContext& context, const ClusterKeys& keys);
  Result<std::unique_ptr<Cluster>> open_and_read(const ClusterId& id);
  Result<std::vector<ClusterId>> cluster_ids();
  /// Clusters that this host has seen in this repository and that are not among `ids`.
  std::vector<UnreadableCluster> vanished_of(const std::vector<ClusterId>& ids) const;
  void derive_signing_keys();
  std::vector<const RoleBundle*> bundles() const;
  /// Every root key that this opener knows.
  RingRecipients recipients() const;
  Status need_root(std::string_view what) const;
  /// @errors Precondition: root slots of another generation stand
  Status need_finished_rotation();

  // Of a mirror: what environment_ borrows in place of what it was given.
  std::unique_ptr<storage::BlobStore> read_only_;
  std::unique_ptr<SeenMemory> forgetful_;
  Environment environment_;
  std::vector<Unlock> unlocks_;
  std::vector<std::string> slot_names_;  ///< of the slots that stood there when unlocks_ were tried
  std::shared_ptr<LogPositions> positions_ = std::make_shared<LogPositions>();
  FormatFile format_;
  std::optional<MirrorMark> mark_;
  std::vector<OpenedSlot> opened_;  ///< newest root generation first; several only while a rotation is unfinished
  std::vector<std::unique_ptr<crypto::SigningKey>> signing_keys_;  ///< of opened_, then of earlier roots, newest first
};

/// What verify later looks for: each slot and ring that was made or removed is named in the log (docs/format/keys.md).
Status note_keys(Cluster& cluster, std::string_view event, std::string detail);

/// The entry that lets the actor of a slot write what its role may.
EnrolEntry enrolment(Role role, const crypto::PublicKey& actor, std::string label);

}  // namespace pgmint::repository

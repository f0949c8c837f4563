// Opening a repository: format, a slot that a secret opens, clusters with their keys and logs. What operations start from.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "repository/format_file.h"
#include "repository/keys.h"
#include "repository/log.h"

namespace pgmint::repository {

/// Events of AUDIT entries that name keys; the detail starts with the slot's name or the ring's epoch.
inline constexpr std::string_view kKeySlotAdded = "key slot added";
inline constexpr std::string_view kKeySlotRemoved = "key slot removed";
inline constexpr std::string_view kKeyRingMade = "key ring";

/// What every part of a repository needs from outside. All borrowed.
struct Environment {
  storage::BlobStore& store;
  Clock& clock;
  RandomSource& random;
  SeenMemory& seen;
  std::string actor_label;  ///< user@host
  std::string command;
};

class Repository;

/// One cluster of an open repository. Borrows the repository. Not thread-safe; `keys()`, `context()` and `store()` may be
/// shared by workers.
class Cluster {
 public:
  const ClusterId& id() const { return context_.cluster; }
  const RecordContext& context() const { return context_; }
  const ClusterKeys& keys() const { return keys_; }
  storage::BlobStore& store() const;
  Log& log() { return *log_; }
  const LogState& state() const { return log_->state(); }
  Actor actor() const;
  Repository& repository() const { return repository_; }

 private:
  friend class Repository;
  Cluster(Repository& repository, RecordContext context, ClusterKeys keys);
  Repository& repository_;
  RecordContext context_;
  ClusterKeys keys_;
  std::unique_ptr<Log> log_;
};

class Repository {
 public:
  /// Creates `format`, one root slot for each of `slots` (all open the same bundle), nothing else.
  /// @errors Precondition (there is a repository, or the place is not empty), Storage, Key
  struct Slot { Unlock unlock; std::string note; };
  static Result<std::unique_ptr<Repository>> create(Environment environment, std::vector<Slot> slots,
                                                    crypto::ScryptCost cost = {});
  /// Tries `unlocks` in order on every slot they could fit. @errors NotFound (no repository there; hint: pgmint init),
  /// Key (nothing fits; names the slots there are), Corruption, Storage
  static Result<std::unique_ptr<Repository>> open(Environment environment, std::vector<Unlock> unlocks);

  const FormatFile& format() const { return format_; }
  const RoleBundle& bundle() const { return bundle_; }
  const std::string& opened_slot() const { return opened_slot_; }
  Environment& environment() { return environment_; }
  const crypto::SigningKey& signing_key() const { return *signing_key_; }

  /// Ids below c/, sorted; of those that this role may open, with `refresh`ed logs.
  Result<std::vector<std::unique_ptr<Cluster>>> clusters();
  /// The cluster with this name; with several of one name the one of `system_id`. Absence as a value.
  /// @errors Precondition (ambiguous), Corruption, Storage, Key
  Result<std::unique_ptr<Cluster>> find_cluster(const std::string& name, std::optional<std::uint64_t> system_id);
  /// The cluster whose current identity is `system_id`; nullptr when none.
  Result<std::unique_ptr<Cluster>> find_by_system_id(std::uint64_t system_id);
  /// Creates key ring and genesis of a new cluster. Root role only. @errors Key, Storage
  Result<std::unique_ptr<Cluster>> create_cluster(const std::string& name, std::uint64_t system_id);
  /// Opens without reading the log (`wal push`, `--from-manifest`).
  Result<std::unique_ptr<Cluster>> open_cluster(const ClusterId& id);

  Result<std::vector<SlotInfo>> slots();
  /// Adds a slot for `role`; a host or maintenance slot gets an actor of its own, enrolled in the log(s) that it may write.
  /// @errors Key (needs a root role), Precondition
  Result<std::string> add_slot(const Unlock& unlock, Role role, std::string note, const Cluster* host_cluster,
                               crypto::ScryptCost cost = {});
  /// @errors NotFound, Precondition (the last root slot)
  Status remove_slot(const std::string& slot);
  /// One more data key for `cluster`; returns its epoch. @errors Key (root only), Storage
  Result<Epoch> rotate_data_key(Cluster& cluster);
  /// A new root key and root actor: every ring and every root slot that `unlocks` can open is written anew; root slots that it
  /// cannot open are named and refuse the rotation unless `drop_unopened`. @errors Key, Precondition
  Status rotate_root(std::vector<Slot> unlocks, bool drop_unopened);

 private:
  explicit Repository(Environment environment) : environment_(std::move(environment)) {}
  Environment environment_;
  FormatFile format_;
  RoleBundle bundle_;
  std::string opened_slot_;
  std::unique_ptr<crypto::SigningKey> signing_key_;
};

}  // namespace pgmint::repository

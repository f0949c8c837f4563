// Adding, removing and rotating keys: many objects, no transaction. Each change goes new before old, so that a cut at any point
// leaves every secret its way in. Protocol: docs/format/keys.md, "Changing keys".
#include <fmt/format.h>

#include <algorithm>

#include "repository/layout.h"
#include "repository/repository.h"

namespace pgmint::repository {
namespace {

constexpr int kRacesMax = 16;

Error rotation_unfinished() {
  return Error(Errc::Precondition, "a rotation of the root key is under way, or was cut off",
               Hint{"end it: pgmint key rotate --root"});
}

bool is_readable_root(const StoredSlot& slot) { return !slot.object.empty() && slot.info.role == Role::Root; }

}  // namespace

Status Repository::need_root(std::string_view what) const {
  if (bundle().role == Role::Root) return ok();
  return Error(Errc::Key, fmt::format("slot {} has the role {}, and only a root key slot may {}", opened_slot(), role_name(bundle().role), what),
               Hint{"open the repository with a root key; pgmint key list shows the slots"});
}

Status Repository::need_finished_rotation() {
  if (opened_.size() > 1) return rotation_unfinished();
  for (const auto& slot : TRY(read_slots(environment_.store, format_.repository)))
    if (is_readable_root(slot) && slot.info.actor != signing_key().public_key()) return rotation_unfinished();
  return ok();
}

Result<std::string> Repository::add_slot(const Unlock& unlock, Role role, std::string note, const Cluster* host_cluster,
                                         crypto::ScryptCost cost) {
  TRY(need_root("add slots"));
  TRY(check_features(format_, Operation::Write));
  TRY(need_finished_rotation());
  auto& e = environment_;
  RoleBundle made_for = bundle().clone();
  if (role != Role::Root) {
    made_for.role = role;
    made_for.root_key = {};
    made_for.root_generation = 0;
    made_for.past_actor_seeds.clear();
    made_for.actor_seed = crypto::Key256::generate(e.random);
  }
  if (role == Role::Host) {
    if (host_cluster == nullptr)
      return Error(Errc::Usage, "a host slot is for one cluster", Hint{"name it: pgmint key add ... --role host --cluster NAME"});
    made_for.maintenance_kek = {};
    made_for.host_cluster = host_cluster->id();
    made_for.cluster_kek = host_cluster->keys().cluster_kek.clone();
  }
  auto all = TRY(clusters());
  std::erase_if(all, [&](const auto& cluster) { return role == Role::Host && cluster->id() != host_cluster->id(); });
  auto made = TRY(make_slot(format_.repository, made_for, unlock, std::move(note), cost, e.clock.now(), e.random));
  // Enrol before the slot stands: a slot whose actor is unknown could write nothing.
  if (role != Role::Root) {
    const crypto::SigningKey actor(made_for.actor_seed.clone());
    for (auto& cluster : all) TRY(cluster->log().append(cluster->actor(), EntryContent(enrolment(role, actor.public_key(), made.name))));
  }
  if (!TRY(create_object(e.store, slot_name(made.name), made.object)))
    return Error(Errc::Busy, fmt::format("{} exists already", slot_name(made.name)), Hint{"run it again"});
  // A rotation that began meanwhile has written its slots before it looked at this one, or sees it (keys.md).
  if (auto still = need_finished_rotation(); !still) {
    if (still.failure().code() != Errc::Precondition) return std::move(still).failure();
    TRY(e.store.remove(slot_name(made.name)));
    return Error(Errc::Busy, "the root key was rotated meanwhile: no slot was added", Hint{"run it again"});
  }
  for (auto& cluster : all) TRY(note_keys(*cluster, kKeySlotAdded, fmt::format("{} role {}", made.name, role_name(role))));
  return made.name;
}

Status Repository::remove_slot(const std::string& slot) {
  TRY(need_root("remove slots"));
  TRY(check_features(format_, Operation::Delete));
  auto& e = environment_;
  const auto roots_beside = [&](const std::set<std::string>& going) -> Result<std::size_t> {
    const auto standing = TRY(read_slots(e.store, format_.repository));
    return static_cast<std::size_t>(std::count_if(standing.begin(), standing.end(), [&](const auto& other) {
      return is_readable_root(other) && other.info.name != slot && !going.contains(other.info.name);
    }));
  };
  const auto last_one = [&] {
    return Error(Errc::Precondition, fmt::format("{} is the last root slot: without it nobody could open the repository", slot),
                 Hint{"add another root slot first: pgmint key add --file F"});
  };
  const auto before = TRY(read_slots(e.store, format_.repository));
  const auto it = std::find_if(before.begin(), before.end(), [&](const auto& s) { return s.info.name == slot; });
  if (it == before.end()) return Error(Errc::NotFound, fmt::format("there is no key slot {}", slot), Hint{"pgmint key list shows the slots"});
  if (TRY(roots_beside({})) == 0) return last_one();

  // The note goes first: a slot that is gone without one would be missed for ever.
  auto all = TRY(clusters());
  for (auto& cluster : all) TRY(note_keys(*cluster, kKeySlotRemoved, slot));
  // Of two removals at once the log tells which one came later, and that one sees both.
  if (!all.empty() && TRY(roots_beside(TRY(noted_keys(all.front()->log())).removed_slots)) == 0) {
    for (auto& cluster : all) TRY(note_keys(*cluster, kKeySlotAdded, slot));
    return last_one();
  }
  // A root actor is shared by all root slots and stays.
  if (it->info.role != Role::Root && !it->object.empty()) {
    for (auto& cluster : all)
      if (cluster->state().actors().contains(it->info.actor))
        TRY(cluster->log().append(cluster->actor(), EntryContent(RevokeEntry{it->info.actor})));
  }
  return e.store.remove(slot_name(slot));
}

Result<Epoch> Repository::rotate_data_key(Cluster& cluster) {
  TRY(need_root("rotate keys"));
  TRY(check_features(format_, Operation::Write));
  TRY(need_finished_rotation());
  auto& e = environment_;
  const auto own = crypto::key_commitment(bundle().root_key);
  for (int race = 0; race < kRacesMax; ++race) {
    // Not the keys that `cluster` was opened with: somebody may have drawn one since.
    auto ring = TRY(open_newest_ring(e.store, format_.repository, cluster.id(), bundles()));
    if (!ring.newest || ring.roots != std::vector{own}) return rotation_unfinished();
    const Epoch next(ring.epoch.value() + 1);
    ring.keys.data_keys.emplace(next, crypto::Key256::generate(e.random));
    if (!TRY(create_object(e.store, keyring_name(cluster.id(), next),
                           make_keyring(format_.repository, cluster.id(), next, ring.keys, recipients(), e.random))))
      continue;
    TRY(note_keys(cluster, kKeyRingMade, fmt::format("{} data key rotated", next.value())));
    return next;
  }
  return Error(Errc::Busy, "the keys of this cluster are being changed by others all the time", Hint{"run it again"});
}

/// One `key rotate --root`.
class Repository::RootRotation {
 public:
  RootRotation(Repository& repository, const std::vector<Slot>& secrets, bool drop_unopened)
      : r_(repository), e_(repository.environment_), secrets_(secrets), drop_unopened_(drop_unopened) {}

  Status run() {
    TRY(read_old_slots());
    const auto ids = TRY(cluster_ids());
    if (ids.empty())
      return Error(Errc::Precondition, "the repository holds no cluster yet: there is nothing that its root key protects",
                   Hint{"other secrets for it: pgmint key add, pgmint key remove"});
    draw_keys();
    for (const auto& id : ids) TRY(bridge(id));
    TRY(write_slots());
    for (const auto& id : ids) TRY(note_slots(id));
    TRY(decide(ids.front()));
    TRY(convert_all());
    TRY(remove_old_slots());
    TRY(convert_all());
    for (const auto& id : TRY(cluster_ids())) TRY(revoke_others(id));
    r_.opened_.erase(r_.opened_.begin() + 1, r_.opened_.end());
    r_.derive_signing_keys();
    return expect_no_other_slot();
  }

  /// After a failure: a root that no slot holds is nobody's.
  void forget_unwritten() {
    if (!drawn_ || !new_slots_.empty()) return;
    r_.opened_.erase(r_.opened_.begin());
    r_.derive_signing_keys();
  }

 private:
  Result<std::vector<ClusterId>> cluster_ids() {
    std::vector<ClusterId> ids;
    for (const auto& part : TRY(e_.store.list_parts(std::string(kClustersPrefix))))
      if (auto id = ClusterId::parse(part)) ids.push_back(*id);
    return ids;
  }

  /// Which secret opens which root slot.
  Status read_old_slots() {
    std::string unopened;
    for (auto& slot : TRY(read_slots(e_.store, r_.format_.repository))) {
      if (!is_readable_root(slot)) continue;
      const auto fits = TRY(secret_of(slot));
      if (fits) {
        if (std::find(used_.begin(), used_.end(), *fits) == used_.end()) {
          used_.push_back(*fits);
          wrapped_as_.push_back(slot.info);
        }
      } else {
        unopened += fmt::format("{}{}", unopened.empty() ? "" : ", ", slot.info.name);
      }
      old_slots_.push_back(slot.info.name);
    }
    if (used_.empty())
      return Error(Errc::Key, "none of the secrets given opens a root slot, so that none could be written anew", Hint{"pgmint key list shows the slots"});
    if (!unopened.empty() && !drop_unopened_)
      return Error(Errc::Precondition, fmt::format("these root slots cannot be written anew without their secret: {}", unopened),
                   Hint{"give them with --file, --passphrase-file, --recovery-key-file, --kms, --vault, --pkcs11; or let those slots go with --yes"});
    return ok();
  }

  Result<std::optional<std::size_t>> secret_of(const StoredSlot& slot) {
    for (std::size_t i = 0; i < secrets_.size(); ++i)
      if (TRY(open_slot(slot.object, slot.info, secrets_[i].unlock))) return std::optional(i);
    return std::optional<std::size_t>();
  }

  /// The new root joins those that this opener knows, in front: what is bridged from here on is for it too.
  void draw_keys() {
    RoleBundle fresh = r_.bundle().clone();
    fresh.root_key = crypto::Key256::generate(e_.random);
    ++fresh.root_generation;
    for (const auto& slot : r_.opened_) fresh.root_generation = std::max(fresh.root_generation, slot.bundle.root_generation + 1);
    fresh.past_actor_seeds.clear();
    for (auto key = r_.signing_keys_.rbegin(); key != r_.signing_keys_.rend(); ++key) fresh.past_actor_seeds.push_back((*key)->seed().clone());
    auto& past = fresh.past_actor_seeds;
    if (past.size() > kPastActorsMax)  // more would not be read again; the first signs GENESIS
      past.erase(past.begin() + 1, past.begin() + 1 + static_cast<std::ptrdiff_t>(past.size() - kPastActorsMax));
    fresh.actor_seed = crypto::Key256::generate(e_.random);
    r_.opened_.insert(r_.opened_.begin(), {"", std::move(fresh)});
    drawn_ = true;
    r_.derive_signing_keys();
  }

  /// A ring that old and new root keys open, and the new actor in the log. A ring without a log is a cluster that is being
  /// created: its creator goes on with the old actor, whose seed the new root knows.
  Status bridge(const ClusterId& id) {
    for (int race = 0; race < kRacesMax; ++race) {
      auto ring = TRY(open_newest_ring(e_.store, r_.format_.repository, id, r_.bundles()));
      if (!ring.newest)
        return Error(Errc::Key, fmt::format("cluster {} has a key ring for a newer root key than the secrets given open", id.hex()),
                     Hint{"open the repository with a slot of the newest rotation; pgmint key list shows the slots"});
      const Epoch next(ring.epoch.value() + 1);
      if (!TRY(create_object(e_.store, keyring_name(id, next),
                             make_keyring(r_.format_.repository, id, next, ring.keys, r_.recipients(), e_.random))))
        continue;
      bridges_.insert_or_assign(id, Bridge{next, std::move(ring.keys)});
      auto cluster = TRY(open_with_log(id));
      if (cluster && !cluster->state().actors().contains(r_.signing_key().public_key()))
        TRY(cluster->log().append(cluster->actor(), EntryContent(enrolment(Role::Root, r_.signing_key().public_key(), "root"))));
      return ok();
    }
    return busy();
  }

  Status write_slots() {
    for (std::size_t i = 0; i < used_.size(); ++i) {
      const auto& secret = secrets_[used_[i]];
      auto made = TRY(make_slot(r_.format_.repository, r_.bundle(), secret.unlock, secret.note.empty() ? wrapped_as_[i].note : secret.note,
                                wrapped_as_[i].scrypt, e_.clock.now(), e_.random));
      if (!TRY(create_object(e_.store, slot_name(made.name), made.object))) return busy();
      new_slots_.push_back(made.name);
    }
    r_.opened_.front().name = new_slots_.front();
    return ok();
  }

  Status note_slots(const ClusterId& id) {
    auto cluster = TRY(open_with_log(id));
    if (!cluster) return ok();
    for (const auto& name : new_slots_) TRY(note_keys(*cluster, kKeySlotAdded, name + " role root"));
    return ok();
  }

  /// The ring above the bridge, for the new root key alone. False: another change has taken its place.
  Result<bool> finish(const ClusterId& id) {
    auto& bridge = bridges_.at(id);
    const Epoch next(bridge.epoch.value() + 1);
    ClusterKeys keys = bridge.keys.clone();
    keys.data_keys.emplace(next, crypto::Key256::generate(e_.random));
    const auto slots = TRY(read_slots(e_.store, r_.format_.repository));
    if (std::none_of(slots.begin(), slots.end(), [](const auto& slot) { return slot.object.empty() || slot.info.role == Role::Host; }))
      keys.cluster_kek = crypto::Key256::generate(e_.random);
    const RingRecipients fresh_alone{{&r_.bundle().root_key}, r_.bundle().maintenance_kek, r_.bundle().repository_mac_key};
    if (!TRY(create_object(e_.store, keyring_name(id, next), make_keyring(r_.format_.repository, id, next, keys, fresh_alone, e_.random))))
      return false;
    if (auto cluster = TRY(open_with_log(id))) {
      TRY(note_keys(*cluster, kKeyRingMade, fmt::format("{} root key rotated: for the old and the new one", bridge.epoch.value())));
      TRY(note_keys(*cluster, kKeyRingMade, fmt::format("{} root key rotated", next.value())));
    }
    return true;
  }

  /// Of two rotations at once only one gets both rings of the first cluster in a row; the other one takes its slots back.
  Status decide(const ClusterId& first) {
    if (TRY(finish(first))) return ok();
    for (const auto& id : TRY(cluster_ids()))
      if (auto cluster = TRY(open_with_log(id)))
        for (const auto& name : new_slots_) TRY(note_keys(*cluster, kKeySlotRemoved, name));
    for (const auto& name : new_slots_) TRY(e_.store.remove(slot_name(name)));
    new_slots_.clear();
    return busy();
  }

  /// Every cluster that an old root key still opens in full.
  Status convert_all() {
    const auto fresh = crypto::key_commitment(r_.bundle().root_key);
    for (const auto& id : TRY(cluster_ids())) {
      for (int race = 0;; ++race) {
        const auto ring = TRY(open_newest_ring(e_.store, r_.format_.repository, id, r_.bundles()));
        if (ring.newest && ring.roots == std::vector{fresh}) break;
        if (race == kRacesMax) return busy();
        const auto bridged = bridges_.find(id);
        if (race > 0 || bridged == bridges_.end() || bridged->second.epoch != ring.epoch) {
          TRY(bridge(id));
          TRY(note_slots(id));
        }
        TRY(finish(id));
      }
    }
    return ok();
  }

  Status remove_old_slots() {
    for (const auto& id : TRY(cluster_ids()))
      if (auto cluster = TRY(open_with_log(id)))
        for (const auto& name : old_slots_) TRY(note_keys(*cluster, kKeySlotRemoved, name));
    for (const auto& name : old_slots_) TRY(e_.store.remove(slot_name(name)));
    return ok();
  }

  /// A slot that came to be after the old ones were read: late, from a rotation that was cut off, or added by somebody.
  Status expect_no_other_slot() {
    for (const auto& slot : TRY(read_slots(e_.store, r_.format_.repository))) {
      if (!is_readable_root(slot) || slot.info.actor == r_.signing_key().public_key()) continue;
      if (!TRY(secret_of(slot)))
        return Error(Errc::Busy, fmt::format("the root key was rotated, but slot {} was added meanwhile and does not know it", slot.info.name),
                     Hint{"rotate again, with its secret too; or remove it and add it again"});
      // Its secret has a new slot already.
      for (const auto& id : TRY(cluster_ids()))
        if (auto cluster = TRY(open_with_log(id))) TRY(note_keys(*cluster, kKeySlotRemoved, slot.info.name));
      TRY(e_.store.remove(slot_name(slot.info.name)));
    }
    return ok();
  }

  Status revoke_others(const ClusterId& id) {
    auto cluster = TRY(open_with_log(id));
    if (!cluster || !cluster->state().actors().contains(r_.signing_key().public_key())) return ok();
    for (const auto& root : cluster->state().roots())
      if (root != r_.signing_key().public_key()) TRY(cluster->log().append(cluster->actor(), EntryContent(RevokeEntry{root})));
    return ok();
  }

  /// nullptr: its log has not begun.
  Result<std::unique_ptr<Cluster>> open_with_log(const ClusterId& id) {
    auto cluster = TRY(r_.open_cluster(id));
    TRY(cluster->log().refresh());
    if (!cluster->state().has_genesis()) cluster.reset();
    return cluster;
  }

  static Error busy() { return Error(Errc::Busy, "keys are being changed by somebody else at the same time", Hint{"look at `pgmint key list`, then run it again"}); }

  struct Bridge {
    Epoch epoch;
    ClusterKeys keys;
  };

  Repository& r_;
  Environment& e_;
  const std::vector<Slot>& secrets_;
  bool drop_unopened_;
  std::vector<std::size_t> used_;      ///< indices of secrets_ that open a root slot
  std::vector<SlotInfo> wrapped_as_;   ///< of each, the slot that it opens
  std::vector<std::string> old_slots_, new_slots_;
  std::map<ClusterId, Bridge> bridges_;
  bool drawn_ = false;
};

Status Repository::rotate_root(std::vector<Slot> unlocks, bool drop_unopened) {
  TRY(need_root("rotate keys"));
  TRY(check_features(format_, Operation::Write));
  TRY(check_features(format_, Operation::Delete));
  RootRotation rotation(*this, unlocks, drop_unopened);
  auto rotated = rotation.run();
  if (!rotated) rotation.forget_unwritten();
  return rotated;
}

}  // namespace pgmint::repository

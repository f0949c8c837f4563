#include "repository/repository.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "repository/layout.h"

namespace pgmint::repository {
namespace {

constexpr std::size_t kSmallObjectMax = 64 << 10;
constexpr std::size_t kRingMax = 1 << 20;

/// Creates an object that nobody else can be creating (its name is random or was just found unused): existing means trouble.
Status create_new(storage::BlobStore& store, const std::string& name, ByteView data) {
  auto created = store.create(name, data);
  if (!created && is_transient(created.failure().code())) {
    // Unknown outcome: what stands there now decides.
    auto there = TRY(store.read(name, data.size() + 1));
    if (there && std::equal(there->begin(), there->end(), data.begin(), data.end())) return ok();
    return std::move(created).failure();
  }
  if (TRY(std::move(created)) == storage::Created::AlreadyExists)
    return Error(Errc::Precondition, fmt::format("{} exists already in {}", name, store.describe()));
  return ok();
}

std::optional<Epoch> parse_epoch(std::string_view text) {
  std::uint32_t value = 0;
  auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  if (text.size() != 8 || ec != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return Epoch(value);
}

Result<std::vector<Epoch>> ring_epochs(storage::BlobStore& store, const ClusterId& cluster) {
  std::vector<Epoch> epochs;
  for (const auto& part : TRY(store.list_parts(cluster_prefix(cluster) + "keyring/")))
    if (auto epoch = parse_epoch(part)) epochs.push_back(*epoch);
  std::sort(epochs.rbegin(), epochs.rend());
  return epochs;
}

/// The highest ring that `bundle` can open.
Result<ClusterKeys> load_keys(storage::BlobStore& store, const RepositoryId& repository, const ClusterId& cluster, const RoleBundle& bundle) {
  std::optional<Error> last;
  for (auto epoch : TRY(ring_epochs(store, cluster))) {
    auto object = TRY(store.read(keyring_name(cluster, epoch), kRingMax));
    if (!object) continue;
    auto keys = open_keyring(*object, repository, cluster, epoch, bundle);
    if (keys) return keys;
    // A ring made for a newer root key is not for this slot: an older one may be. Damage is damage.
    if (keys.failure().code() != Errc::Key) return keys;
    if (!last) last = std::move(keys).failure();
  }
  if (last) return *std::move(last);
  return Error(Errc::Corruption, fmt::format("cluster {} has no key ring", cluster.hex()),
               Hint{"restore the objects below c/<cluster>/keyring/ from a copy of the repository"});
}

/// What an actor of a role may write.
std::uint64_t kinds_of(Role role) {
  auto bit = [](EntryKind kind) { return std::uint64_t{1} << static_cast<unsigned>(kind); };
  const std::uint64_t common = bit(EntryKind::Begin) | bit(EntryKind::Renew) | bit(EntryKind::End) | bit(EntryKind::Abort) |
                               bit(EntryKind::Purge) | bit(EntryKind::Audit);
  switch (role) {
    case Role::Root: return ~std::uint64_t{0};
    case Role::Host:
      return common | bit(EntryKind::Snap) | bit(EntryKind::Forget) | bit(EntryKind::Hold) | bit(EntryKind::Release) | bit(EntryKind::Floor);
    case Role::Maintenance: return common;
  }
  return 0;
}

/// What verify later looks for: each slot and ring that was made or removed is named in the log (docs/format/keys.md).
Status note_keys(Cluster& cluster, std::string_view event, std::string detail) {
  TRY(cluster.log().append(cluster.actor(), EntryContent(AuditEntry{std::string(event), std::move(detail)})));
  return ok();
}

struct StoredSlot {
  SlotInfo info;
  Bytes object;
};

Result<std::vector<StoredSlot>> read_slots(storage::BlobStore& store, const RepositoryId& repository) {
  std::vector<StoredSlot> slots;
  for (const auto& blob : TRY(storage::list_all(store, std::string(kKeysPrefix)))) {
    auto object = TRY(store.read(blob.name, kSmallObjectMax));
    if (!object) continue;
    auto info = parse_slot(*object, std::string_view(blob.name).substr(kKeysPrefix.size()), repository);
    if (!info) {
      // One slot that is damaged, or that a newer pgmint made, must not keep the others from opening the repository.
      if (info.failure().code() != Errc::Corruption && info.failure().code() != Errc::Precondition) return std::move(info).failure();
      SlotInfo damaged;
      damaged.name = blob.name.substr(kKeysPrefix.size());
      damaged.note = (info.failure().code() == Errc::Corruption ? "damaged: " : "not usable: ") + info.failure().describe();
      slots.push_back({std::move(damaged), {}});
      continue;
    }
    slots.push_back({std::move(*info), std::move(*object)});
  }
  return slots;
}

}  // namespace

Cluster::Cluster(Repository& repository, RecordContext context, ClusterKeys keys)
    : repository_(repository), context_(context), keys_(std::move(keys)) {
  auto& e = repository.environment();
  log_ = std::make_unique<Log>(Log::Dependencies{e.store, context_, keys_.maintenance_key, repository.format().root, e.clock, e.random, e.seen});
}

storage::BlobStore& Cluster::store() const { return repository_.environment().store; }

Actor Cluster::actor() const {
  return {&repository_.signing_key(), repository_.environment().actor_label, repository_.environment().command};
}

Result<std::unique_ptr<Repository>> Repository::create(Environment environment, std::vector<Slot> slots, crypto::ScryptCost cost) {
  PGMINT_ASSERT(!slots.empty());
  std::unique_ptr<Repository> repository(new Repository(environment));
  auto& e = repository->environment_;
  if (TRY(e.store.stat(std::string(kFormatName))))
    return Error(Errc::Precondition, fmt::format("{} is a pgmint repository already", e.store.describe()),
                 Hint{"`pgmint list` shows what it holds"});
  for (const auto& prefix : {kKeysPrefix, kClustersPrefix})
    if (!TRY(e.store.list_parts(std::string(prefix))).empty())
      return Error(Errc::Precondition, fmt::format("{} has objects below {} but no format file: this is damage, not an empty place", e.store.describe(), prefix),
                   Hint{"bring the object `format` back from a copy, or name another, empty place"});

  auto& bundle = repository->bundle_;
  bundle.role = Role::Root;
  bundle.repository_mac_key = crypto::Key256::generate(e.random);
  bundle.root_key = crypto::Key256::generate(e.random);
  bundle.actor_seed = crypto::Key256::generate(e.random);
  bundle.maintenance_kek = crypto::Key256::generate(e.random);
  repository->signing_key_ = std::make_unique<crypto::SigningKey>(bundle.actor_seed.clone());

  auto& format = repository->format_;
  format.repository = e.random.id<RepositoryId>();
  format.created = e.clock.now();
  format.root = repository->signing_key_->public_key();
  format.created_by = "pgmint " PGMINT_VERSION;

  // Slots first: a repository whose format stands but which nobody can open would be worse than leftovers.
  std::vector<std::string> written;
  for (auto& slot : slots) {
    auto made = TRY(make_slot(format.repository, bundle, slot.unlock, slot.note, cost, e.clock.now(), e.random));
    TRY(create_new(e.store, slot_name(made.name), made.object));
    written.push_back(made.name);
  }
  if (auto created = create_new(e.store, std::string(kFormatName), encode_format(format, bundle.repository_mac_key)); !created) {
    for (const auto& name : written) {
      if (auto removed = e.store.remove(slot_name(name)); !removed) break;  // somebody else's repository; leftovers do not fit any key of it
    }
    return std::move(created).failure();
  }
  repository->opened_slot_ = written.front();
  return repository;
}

Result<std::unique_ptr<Repository>> Repository::open(Environment environment, std::vector<Unlock> unlocks) {
  std::unique_ptr<Repository> repository(new Repository(environment));
  auto& e = repository->environment_;
  auto object = TRY(e.store.read(std::string(kFormatName), kSmallObjectMax));
  if (!object)
    return Error(Errc::NotFound, fmt::format("{} is not a pgmint repository", e.store.describe()), Hint{"pgmint init creates one"});
  const auto id = TRY(peek_repository_id(*object).context("format"));
  const auto slots = TRY(read_slots(e.store, id));
  std::string names;
  for (const auto& slot : slots) {
    names += fmt::format("{}{} ({})", names.empty() ? "" : ", ", slot.info.name, role_name(slot.info.role));
    for (const auto& unlock : unlocks) {
      if (slot.object.empty()) continue;
      auto opened = TRY(open_slot(slot.object, slot.info, unlock));
      if (!opened) continue;
      repository->bundle_ = std::move(*opened);
      repository->opened_slot_ = slot.info.name;
      repository->format_ = TRY(parse_format(*object, repository->bundle_.repository_mac_key));
      TRY(check_features(repository->format_, Operation::Read));
      repository->signing_key_ = std::make_unique<crypto::SigningKey>(repository->bundle_.actor_seed.clone());
      return repository;
    }
  }
  return Error(Errc::Key, fmt::format("no key given opens {}; its slots: {}", e.store.describe(), names.empty() ? "none" : names),
               Hint{"check key_file in the configuration, or use the recovery key: pgmint key check"});
}

Result<std::unique_ptr<Cluster>> Repository::open_cluster(const ClusterId& id) {
  if (bundle_.role == Role::Host && bundle_.host_cluster != id)
    return Error(Errc::Key, fmt::format("this key slot is for cluster {}, not {}", bundle_.host_cluster.hex(), id.hex()));
  auto keys = TRY(load_keys(environment_.store, format_.repository, id, bundle_));
  return std::unique_ptr<Cluster>(new Cluster(*this, {format_.repository, id}, std::move(keys)));
}

Result<std::vector<std::unique_ptr<Cluster>>> Repository::clusters() {
  std::vector<std::unique_ptr<Cluster>> found;
  for (const auto& part : TRY(environment_.store.list_parts(std::string(kClustersPrefix)))) {
    auto id = ClusterId::parse(part);
    if (!id || (bundle_.role == Role::Host && *id != bundle_.host_cluster)) continue;
    auto epochs = TRY(ring_epochs(environment_.store, *id));
    // A ring without a log is a creation that was cut off before its genesis: it holds nothing.
    auto cluster = TRY(open_cluster(*id).context(fmt::format("cluster {}", part)));
    TRY(cluster->log().refresh().context(fmt::format("cluster {}", part)));
    if (!cluster->state().has_genesis()) continue;
    found.push_back(std::move(cluster));
  }
  return found;
}

Result<std::unique_ptr<Cluster>> Repository::find_cluster(const std::string& name, std::optional<std::uint64_t> system_id) {
  std::vector<std::unique_ptr<Cluster>> named;
  for (auto& cluster : TRY(clusters()))
    if (cluster->state().cluster_name() == name) named.push_back(std::move(cluster));
  if (system_id && named.size() > 1)
    std::erase_if(named, [&](const auto& cluster) { return cluster->state().system_id() != *system_id; });
  if (named.empty()) return std::unique_ptr<Cluster>();
  if (named.size() == 1) return std::move(named.front());
  std::string ids;
  for (const auto& cluster : named) ids += fmt::format("{}{}", ids.empty() ? "" : ", ", cluster->state().system_id());
  return Error(Errc::Precondition, fmt::format("the repository holds {} clusters named {} (system identifiers {})", named.size(), name, ids),
               Hint{"set data_directory in [cluster." + name + "], so that the system identifier tells which one is meant"});
}

Result<std::unique_ptr<Cluster>> Repository::find_by_system_id(std::uint64_t system_id) {
  for (auto& cluster : TRY(clusters()))
    if (cluster->state().system_id() == system_id) return std::move(cluster);
  return std::unique_ptr<Cluster>();
}

Result<std::unique_ptr<Cluster>> Repository::create_cluster(const std::string& name, std::uint64_t system_id) {
  if (bundle_.role != Role::Root)
    return Error(Errc::Key, fmt::format("cluster {} is not in the repository yet, and only a root key slot may add it", name),
                 Hint{"run `pgmint init` or a first backup with the root key"});
  TRY(check_features(format_, Operation::Write));
  auto& e = environment_;
  ClusterKeys keys;
  keys.cluster_kek = crypto::Key256::generate(e.random);
  keys.map_key = crypto::Key256::generate(e.random);
  keys.maintenance_key = crypto::Key256::generate(e.random);
  keys.mac_key = crypto::Key256::generate(e.random);
  keys.data_keys.emplace(Epoch(1), crypto::Key256::generate(e.random));
  const auto id = e.random.id<ClusterId>();
  TRY(create_new(e.store, keyring_name(id, Epoch(1)), make_keyring(format_.repository, id, Epoch(1), keys, bundle_, e.random)));
  std::unique_ptr<Cluster> cluster(new Cluster(*this, {format_.repository, id}, std::move(keys)));
  GenesisEntry genesis;
  genesis.cluster_name = name;
  genesis.system_id = system_id;
  genesis.root_key = signing_key_->public_key();
  TRY(cluster->log().create(cluster->actor(), std::move(genesis)));
  for (const auto& slot : TRY(slots())) TRY(note_keys(*cluster, kKeySlotAdded, slot.name));
  TRY(note_keys(*cluster, kKeyRingMade, "1"));
  return cluster;
}

Result<std::vector<SlotInfo>> Repository::slots() {
  std::vector<SlotInfo> infos;
  for (auto& slot : TRY(read_slots(environment_.store, format_.repository))) infos.push_back(std::move(slot.info));
  return infos;
}

Result<std::string> Repository::add_slot(const Unlock& unlock, Role role, std::string note, const Cluster* host_cluster,
                                         crypto::ScryptCost cost) {
  if (bundle_.role != Role::Root)
    return Error(Errc::Key, "only a root key slot may add slots", Hint{"open the repository with a root key"});
  TRY(check_features(format_, Operation::Write));
  auto& e = environment_;
  RoleBundle bundle = bundle_.clone();
  std::vector<std::unique_ptr<Cluster>> to_enrol;
  if (role != Role::Root) {
    bundle.role = role;
    bundle.root_key = {};
    bundle.actor_seed = crypto::Key256::generate(e.random);
    if (role == Role::Host) {
      if (host_cluster == nullptr)
        return Error(Errc::Usage, "a host slot is for one cluster", Hint{"name it: pgmint key add ... --role host --cluster NAME"});
      bundle.maintenance_kek = {};
      bundle.host_cluster = host_cluster->id();
      bundle.cluster_kek = host_cluster->keys().cluster_kek.clone();
    }
    for (auto& cluster : TRY(clusters()))
      if (role == Role::Maintenance || cluster->id() == host_cluster->id()) to_enrol.push_back(std::move(cluster));
  }
  auto made = TRY(make_slot(format_.repository, bundle, unlock, note, cost, e.clock.now(), e.random));
  // Enrol before the slot stands: a slot whose actor is unknown would write void entries.
  for (auto& cluster : to_enrol) {
    EnrolEntry enrol;
    enrol.key = crypto::SigningKey(bundle.actor_seed.clone()).public_key();
    enrol.kinds = kinds_of(role);
    enrol.role = role;
    enrol.label = made.name;
    TRY(cluster->log().append(cluster->actor(), EntryContent(enrol)));
  }
  TRY(create_new(e.store, slot_name(made.name), made.object));
  for (auto& cluster : TRY(clusters())) {
    if (role == Role::Host && cluster->id() != host_cluster->id()) continue;
    TRY(note_keys(*cluster, kKeySlotAdded, fmt::format("{} role {}", made.name, role_name(role))));
  }
  return made.name;
}

Status Repository::remove_slot(const std::string& slot) {
  if (bundle_.role != Role::Root)
    return Error(Errc::Key, "only a root key slot may remove slots", Hint{"open the repository with a root key"});
  TRY(check_features(format_, Operation::Delete));
  const auto all = TRY(read_slots(environment_.store, format_.repository));
  const auto it = std::find_if(all.begin(), all.end(), [&](const auto& s) { return s.info.name == slot; });
  if (it == all.end()) return Error(Errc::NotFound, fmt::format("there is no key slot {}", slot), Hint{"pgmint key list shows the slots"});
  const auto usable_roots = std::count_if(all.begin(), all.end(), [&](const auto& s) {
    return !s.object.empty() && s.info.role == Role::Root && s.info.name != slot;
  });
  if (usable_roots == 0)
    return Error(Errc::Precondition, fmt::format("{} is the last root slot: without it nobody could open the repository", slot),
                 Hint{"add another root slot first: pgmint key add --file F"});
  // The actor goes before the slot does; a root actor is shared by all root slots and stays.
  if (it->info.role != Role::Root && !it->object.empty()) {
    for (auto& cluster : TRY(clusters()))
      if (cluster->state().actors().contains(it->info.actor))
        TRY(cluster->log().append(cluster->actor(), EntryContent(RevokeEntry{it->info.actor})));
  }
  TRY(environment_.store.remove(slot_name(slot)));
  for (auto& cluster : TRY(clusters())) TRY(note_keys(*cluster, kKeySlotRemoved, slot));
  return ok();
}

Result<Epoch> Repository::rotate_data_key(Cluster& cluster) {
  if (bundle_.role != Role::Root) return Error(Errc::Key, "only a root key slot may rotate keys", Hint{"open the repository with a root key"});
  TRY(check_features(format_, Operation::Write));
  auto& e = environment_;
  const auto epochs = TRY(ring_epochs(e.store, cluster.id()));
  const Epoch next(epochs.front().value() + 1);
  ClusterKeys keys = cluster.keys().clone();
  keys.data_keys.emplace(next, crypto::Key256::generate(e.random));
  TRY(create_new(e.store, keyring_name(cluster.id(), next), make_keyring(format_.repository, cluster.id(), next, keys, bundle_, e.random)));
  TRY(note_keys(cluster, kKeyRingMade, fmt::format("{} data key rotated", next.value())));
  return next;
}

Status Repository::rotate_root(std::vector<Slot> unlocks, bool drop_unopened) {
  if (bundle_.role != Role::Root) return Error(Errc::Key, "only a root key slot may rotate keys", Hint{"open the repository with a root key"});
  TRY(check_features(format_, Operation::Write));
  auto& e = environment_;
  const auto old_slots = TRY(read_slots(e.store, format_.repository));
  std::vector<std::pair<const StoredSlot*, const Slot*>> rewrap;
  std::string unopened;
  for (const auto& slot : old_slots) {
    if (slot.object.empty() || slot.info.role != Role::Root) continue;
    const Slot* fits = nullptr;
    for (const auto& candidate : unlocks)
      if (TRY(open_slot(slot.object, slot.info, candidate.unlock))) fits = &candidate;
    if (fits == nullptr) unopened += fmt::format("{}{}", unopened.empty() ? "" : ", ", slot.info.name);
    rewrap.emplace_back(&slot, fits);
  }
  if (!unopened.empty() && !drop_unopened)
    return Error(Errc::Precondition, fmt::format("these root slots cannot be written anew without their secret: {}", unopened),
                 Hint{"give their secrets too, remove them with `pgmint key remove`, or drop them with --yes"});

  RoleBundle fresh = bundle_.clone();
  fresh.root_key = crypto::Key256::generate(e.random);
  fresh.actor_seed = crypto::Key256::generate(e.random);
  const crypto::SigningKey fresh_actor(fresh.actor_seed.clone());

  // New before old, at every step: whoever stops in between can still open everything with the old slots.
  std::vector<std::string> made_names;
  for (const auto& [slot, unlock] : rewrap) {
    if (unlock == nullptr) continue;
    auto made = TRY(make_slot(format_.repository, fresh, unlock->unlock, slot->info.note, slot->info.scrypt, e.clock.now(), e.random));
    TRY(create_new(e.store, slot_name(made.name), made.object));
    made_names.push_back(made.name);
  }
  auto all_clusters = TRY(clusters());
  for (auto& cluster : all_clusters) {
    EnrolEntry enrol;
    enrol.key = fresh_actor.public_key();
    enrol.kinds = kinds_of(Role::Root);
    enrol.role = Role::Root;
    enrol.label = "root";
    TRY(cluster->log().append(cluster->actor(), EntryContent(enrol)));
    const auto epochs = TRY(ring_epochs(e.store, cluster->id()));
    const Epoch next(epochs.front().value() + 1);
    ClusterKeys keys = cluster->keys().clone();
    keys.data_keys.emplace(next, crypto::Key256::generate(e.random));
    TRY(create_new(e.store, keyring_name(cluster->id(), next), make_keyring(format_.repository, cluster->id(), next, keys, fresh, e.random)));
  }
  const auto old_actor = signing_key_->public_key();
  bundle_ = std::move(fresh);
  signing_key_ = std::make_unique<crypto::SigningKey>(bundle_.actor_seed.clone());
  for (auto& cluster : all_clusters) {
    const auto newest = TRY(ring_epochs(e.store, cluster->id())).front();
    TRY(note_keys(*cluster, kKeyRingMade, fmt::format("{} root key rotated", newest.value())));
    for (const auto& name : made_names) TRY(note_keys(*cluster, kKeySlotAdded, name + " role root"));
    for (const auto& [slot, unlock] : rewrap) TRY(note_keys(*cluster, kKeySlotRemoved, slot->info.name));
    TRY(cluster->log().append(cluster->actor(), EntryContent(RevokeEntry{old_actor})));
  }
  for (const auto& [slot, unlock] : rewrap) TRY(e.store.remove(slot_name(slot->info.name)));
  if (!made_names.empty()) opened_slot_ = made_names.front();
  return ok();
}

}  // namespace pgmint::repository

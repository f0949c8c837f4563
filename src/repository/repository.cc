#include "repository/repository.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/log.h"
#include "repository/layout.h"
#include "storage/read_only_store.h"

namespace pgmint::repository {
namespace {

constexpr std::size_t kFormatMax = 64 << 10;

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

/// Nothing was ever begun in it.
Result<bool> is_unused(Cluster& cluster) {
  const auto& state = cluster.state();
  if (!state.open_sessions().empty() || !state.closed_sessions().empty()) return false;
  return TRY(cluster.store().list_parts(cluster_prefix(cluster.id()) + "wal/")).empty();
}

/// Of several clusters of one name and system identifier, drops those that a creation left whose outcome was not known: their
/// first entry came to be after the creator had given up and begun anew.
Status drop_abandoned(std::vector<std::unique_ptr<Cluster>>& clusters) {
  for (std::size_t i = clusters.size(); i-- > 0;) {
    const auto& state = clusters[i]->state();
    const auto twins = std::ranges::count_if(clusters, [&](const auto& other) {
      return other->state().cluster_name() == state.cluster_name() && other->state().system_id() == state.system_id();
    });
    if (twins > 1 && TRY(is_unused(*clusters[i]))) clusters.erase(clusters.begin() + static_cast<std::ptrdiff_t>(i));
  }
  return ok();
}

/// What a slot that did not open is for, and what it needs.
std::string of_slot(const StoredSlot& slot) {
  if (slot.object.empty()) return slot.info.note;
  std::string text(role_name(slot.info.role));
  if (!slot.info.service_key.empty()) text += fmt::format(", {}", slot.info.service_key);
  return text;
}

/// How a slot of a service is opened.
std::string_view example_of(KeyProvider service) {
  switch (service) {
    case KeyProvider::Vault: return "vault = \"vault:///transit/KEY\"";
    case KeyProvider::Pkcs11: return "pkcs11 = \"pkcs11:token=TOKEN;object=KEY\"";
    default: return "kms = \"awskms:///KEY\"";
  }
}

}  // namespace

Cluster::Cluster(Repository& repository, RecordContext context, ClusterKeys keys)
    : repository_(repository), context_(context), keys_(std::move(keys)), positions_(repository.positions_), reads_at_once_(repository.environment().reads_at_once) {
  log_ = std::make_unique<Log>(repository.log_dependencies(context_, keys_));
  if (auto known = positions_->extract(context_.cluster)) log_->resume(std::move(known.mapped()));
}

Cluster::~Cluster() {
  if (reads_at_once_ <= 1) return;
  if (auto position = log_->take_position()) positions_->insert_or_assign(context_.cluster, std::move(*position));
}

Log::Dependencies Repository::log_dependencies(const RecordContext& context, const ClusterKeys& keys) {
  auto& e = environment_;
  Log::Dependencies dependencies{e.store, context, keys.maintenance_key, format_.root, e.clock, e.random, e.seen, e.reads_at_once, {}, {}};
  if (mark_) dependencies.bounds = mark_->bounds_of(context.cluster).value_or(LogBounds{});
  // It lags behind a source that this host may know as well, and that is no reason to take it for one that went back in time.
  if (is_mirror()) dependencies.seen_as = RepositoryId{mark_->mirror.bytes};
  return dependencies;
}

storage::BlobStore& Cluster::store() const { return repository_.environment().store; }

Actor Cluster::actor() const {
  std::set<crypto::PublicKey> enrolled;
  for (const auto& [key, enrolment] : state().actors()) enrolled.insert(key);
  const auto* key = repository_.signing_key_among(enrolled);
  return {key != nullptr ? key : &repository_.signing_key(), repository_.environment().actor_label, repository_.environment().command};
}

Status note_keys(Cluster& cluster, std::string_view event, std::string detail) {
  TRY(cluster.log().append(cluster.actor(), EntryContent(AuditEntry{std::string(event), std::move(detail)})));
  return ok();
}

EnrolEntry enrolment(Role role, const crypto::PublicKey& actor, std::string label) {
  EnrolEntry entry;
  entry.key = actor;
  entry.kinds = kinds_of(role);
  entry.role = role;
  entry.label = std::move(label);
  return entry;
}

void Repository::derive_signing_keys() {
  signing_keys_.clear();
  std::set<crypto::PublicKey> known;
  const auto add = [&](const crypto::Key256& seed) {
    auto key = std::make_unique<crypto::SigningKey>(seed.clone());
    if (known.insert(key->public_key()).second) signing_keys_.push_back(std::move(key));
  };
  for (const auto& slot : opened_) add(slot.bundle.actor_seed);
  for (const auto& slot : opened_) {
    const auto& past = slot.bundle.past_actor_seeds;
    for (auto seed = past.rbegin(); seed != past.rend(); ++seed) add(*seed);
  }
}

const crypto::SigningKey* Repository::signing_key_among(const std::set<crypto::PublicKey>& allowed) const {
  const auto found = std::find_if(signing_keys_.begin(), signing_keys_.end(),
                                  [&](const auto& key) { return allowed.contains(key->public_key()); });
  return found == signing_keys_.end() ? nullptr : found->get();
}

std::vector<const RoleBundle*> Repository::bundles() const {
  std::vector<const RoleBundle*> all;
  for (const auto& slot : opened_) all.push_back(&slot.bundle);
  return all;
}

RingRecipients Repository::recipients() const {
  RingRecipients recipients{{}, bundle().maintenance_kek, bundle().repository_mac_key};
  for (const auto& slot : opened_) recipients.root_keys.push_back(&slot.bundle.root_key);
  return recipients;
}

Result<std::unique_ptr<Repository>> Repository::create(Environment environment, std::vector<Slot> slots, crypto::ScryptCost cost) {
  PGMINT_ASSERT(!slots.empty());
  std::unique_ptr<Repository> repository(new Repository(environment));
  auto& e = repository->environment_;
  if (TRY(e.store.stat(std::string(kFormatName))))
    return Error(Errc::Precondition, fmt::format("{} is a pgmint repository already", e.store.describe()),
                 Hint{"`pgmint list` shows what it holds"});
  if (!TRY(e.store.list_parts(std::string(kClustersPrefix))).empty())
    return Error(Errc::Precondition, fmt::format("{} has objects below {} but no format file: this is damage, not an empty place", e.store.describe(), kClustersPrefix),
                 Hint{"bring the object `format` back from a copy, or name another, empty place"});
  if (!TRY(e.store.list_parts("mirror/")).empty())
    return Error(Errc::Precondition, fmt::format("{} is a mirror that was begun", e.store.describe()), Hint{"name another, empty place"});

  RoleBundle bundle;
  bundle.role = Role::Root;
  bundle.repository_mac_key = crypto::Key256::generate(e.random);
  bundle.root_key = crypto::Key256::generate(e.random);
  bundle.root_generation = 1;
  bundle.actor_seed = crypto::Key256::generate(e.random);
  bundle.maintenance_kek = crypto::Key256::generate(e.random);

  auto& format = repository->format_;
  format.repository = e.random.id<RepositoryId>();
  format.created = e.clock.now();
  format.root = crypto::SigningKey(bundle.actor_seed.clone()).public_key();
  format.created_by = "pgmint " PGMINT_VERSION;
  format.log_url = e.log_url.value_or("");
  if (!format.log_url.empty()) format.read_flags |= kLogApart;

  // Slots first: a repository whose format stands but which nobody can open would be worse than leftovers.
  std::vector<std::string> written;
  for (auto& slot : slots) {
    auto made = TRY(make_slot(format.repository, bundle, slot.unlock, slot.note, cost, e.clock.now(), e.random));
    if (!TRY(create_object(e.store, slot_name(made.name), made.object)))
      return Error(Errc::Busy, fmt::format("{} exists already in {}", slot_name(made.name), e.store.describe()), Hint{"run it again"});
    written.push_back(made.name);
  }
  auto created = create_object(e.store, std::string(kFormatName), encode_format(format, bundle.repository_mac_key));
  if (!created || !*created) {
    // Unknown is not "no": slots of what may be the repository of this place stay.
    if (!created) return std::move(created).failure();
    for (const auto& name : written)
      if (auto removed = e.store.remove(slot_name(name)); !removed) break;  // they open nothing, and are passed over
    return Error(Errc::Precondition, fmt::format("somebody else has just created a repository in {}", e.store.describe()),
                 Hint{"`pgmint list` shows what it holds"});
  }
  // From here on this is the repository of this place, and what others began never will be.
  // The repository stands: a failure here must not keep the caller from telling its recovery key.
  std::vector<std::string> foreign;
  if (auto listed = read_slots(e.store, format.repository, &foreign); !listed)
    log_warning("slots of an init that was cut off may be left: {}", listed.failure().describe());
  for (const auto& name : foreign)
    if (auto removed = e.store.remove(name); !removed) log_warning("{} is left over from an init that was cut off: {}", name, removed.failure().describe());
  repository->opened_.push_back({written.front(), std::move(bundle)});
  repository->derive_signing_keys();
  return repository;
}

Result<std::unique_ptr<Repository>> Repository::open(Environment environment, std::vector<Unlock> unlocks) {
  return open_as(std::move(environment), std::move(unlocks), false);
}

Result<std::unique_ptr<Repository>> Repository::open_to_promote(Environment environment, std::vector<Unlock> unlocks) {
  return open_as(std::move(environment), std::move(unlocks), true);
}

/// A mirror is known by its mark, before any key: what is borrowed hangs on it. A store that tells nothing but keys (what is away) has none.
Result<std::unique_ptr<Repository>> Repository::open_as(Environment environment, std::vector<Unlock> unlocks, bool promoting) {
  auto& e = environment;
  std::optional<StoredMark> stored;
  const auto format = TRY(e.store.read(std::string(kFormatName), kFormatMax));
  if (!format) return Error(Errc::NotFound, fmt::format("{} is not a pgmint repository", e.store.describe()), Hint{"pgmint init creates one"});
  const bool is_far = e.reads_at_once > 1;
  if (!(is_far && e.key_copies != nullptr && e.key_copies->knows_no_mark())) {
    stored = TRY(newest_mark(e.store, TRY(peek_repository_id(*format).context("format"))));
    if (e.key_copies != nullptr) e.key_copies->note_no_mark(!stored);
  }
  const bool is_mirror = stored && stored->mark.state == MirrorState::Mirror;
  if (promoting && !stored)
    return Error(Errc::Precondition, fmt::format("{} is no mirror: it is a repository of its own", e.store.describe()), Hint{"pgmint replicate copies it to a mirror"});
  std::unique_ptr<storage::BlobStore> read_only;
  std::unique_ptr<SeenMemory> forgetful;
  // A promotion reads the mirror's moment and writes behind it: neither is to be remembered before all of it has ended.
  if (is_mirror && promoting) forgetful = make_no_memory();
  if (is_mirror && !promoting)
    read_only = storage::make_read_only_store(e.store, [mark = stored->mark, place = e.store.describe()] { return mirror_refusal(mark, place); });
  std::unique_ptr<Repository> repository(new Repository(Environment{read_only ? *read_only : e.store, e.clock, e.random, forgetful ? *forgetful : e.seen, e.actor_label,
                                                                    e.command, e.key_copies, e.reads_at_once, e.log_url}));
  repository->read_only_ = std::move(read_only);
  repository->forgetful_ = std::move(forgetful);
  if (stored) repository->mark_ = stored->mark;
  repository->unlocks_ = std::move(unlocks);
  auto unlocked = repository->unlock();
  if (!unlocked && repository->answered_from_copies()) unlocked = repository->look_past_key_copies();
  TRY(std::move(unlocked));
  if (stored && !is_mirror && !mark_is_authentic(*stored, repository->bundle().repository_mac_key))
    return Error(Errc::Corruption, fmt::format("{} says that this mirror was promoted, and is not authentic: somebody without the key wrote it, or it is damaged", mirror_mark_name(stored->mark.number)),
                 Hint{"remove that object, then promote the mirror: pgmint replicate promote"});
  return repository;
}

bool Repository::answered_from_copies() const { return environment_.key_copies != nullptr && environment_.key_copies->answered(); }

Status Repository::look_past_key_copies() {
  if (environment_.key_copies == nullptr) return ok();
  environment_.key_copies->distrust();
  return unlock();
}

/// Where no entry of the log is seen, a cluster would be begun anew, and everything that the log keeps from being removed would look unneeded.
Status Repository::check_log_place(const FormatFile& format) const {
  if (!environment_.log_url) return ok();
  // A mirror is one store that holds both parts, and stays so when it is promoted.
  const bool apart = (format.read_flags & kLogApart) != 0 && !mark_;
  const auto& configured = *environment_.log_url;
  const auto place = environment_.store.describe();
  if (apart && configured.empty())
    return Error(Errc::Configuration, fmt::format("the log of {} is kept in a place of its own, and no log_url names it", place), Hint{fmt::format("beside the repository's URL: log_url = \"{}\", which it was when the repository was made", format.log_url)});
  if (!apart && !configured.empty())
    return Error(Errc::Configuration, fmt::format("log_url names {}, and the log of {} is not kept apart", configured, place), Hint{"remove log_url: where a log lives is decided when a repository is made"});
  return ok();
}

Status Repository::unlock() {
  auto& e = environment_;
  auto object = TRY(e.store.read(std::string(kFormatName), kFormatMax));
  if (!object)
    return Error(Errc::NotFound, fmt::format("{} is not a pgmint repository", e.store.describe()), Hint{"pgmint init creates one"});
  const auto id = TRY(peek_repository_id(*object).context("format"));
  std::string names;
  std::optional<KeyProvider> not_asked;  ///< a service whose slots stand here, and of which no key was given
  std::optional<Error> damaged;
  std::set<crypto::PublicKey> roots;
  std::vector<OpenedSlot> opened;
  slot_names_.clear();
  for (const auto& slot : TRY(read_slots(e.store, id))) {
    slot_names_.push_back(slot.info.name);
    names += fmt::format("{}{} ({})", names.empty() ? "" : ", ", slot.info.name, of_slot(slot));
    if (!not_asked && needs_service(slot.info.provider) &&
        std::ranges::none_of(unlocks_, [&](const auto& unlock) { return unlock.provider == slot.info.provider; }))
      not_asked = slot.info.provider;
    if (slot.object.empty()) continue;
    // One slot is enough, but root slots of two generations stand until a rotation has ended.
    if (!opened.empty() && (opened.front().bundle.role != Role::Root || slot.info.role != Role::Root || roots.contains(slot.info.actor)))
      continue;
    for (const auto& unlock : unlocks_) {
      auto bundle = open_slot(slot.object, slot.info, unlock);
      if (!bundle) {
        if (!damaged) damaged = std::move(bundle).failure();
        continue;
      }
      if (!*bundle) continue;
      roots.insert(slot.info.actor);
      opened.push_back({slot.info.name, std::move(**bundle)});
      break;
    }
  }
  if (opened.empty() && damaged) return *std::move(damaged);
  if (opened.empty())
    return Error(Errc::Key, fmt::format("no key given opens {}; its slots: {}", e.store.describe(), names.empty() ? "none" : names),
                 Hint{not_asked ? fmt::format("check key_file in the configuration, or name the key of a {} slot: {} in [encryption]", provider_name(*not_asked), example_of(*not_asked))
                                : "check key_file in the configuration, or use the recovery key: pgmint key check"});
  if (damaged) log_warning("{}", damaged->describe());
  auto format = TRY(parse_format(*object, opened.front().bundle.repository_mac_key));
  TRY(check_features(format, Operation::Read));
  TRY(check_log_place(format));
  format_ = std::move(format);
  opened_ = std::move(opened);
  derive_signing_keys();
  return ok();
}

Result<std::unique_ptr<Cluster>> Repository::open_cluster(const ClusterId& id) {
  if (bundle().role == Role::Host && bundle().host_cluster != id)
    return Error(Errc::Key, fmt::format("this key slot is for cluster {}, not {}", bundle().host_cluster.hex(), id.hex()));
  auto ring = TRY(open_newest_ring(environment_.store, format_.repository, id, bundles()));
  return std::unique_ptr<Cluster>(new Cluster(*this, {format_.repository, id}, std::move(ring.keys)));
}

Result<std::vector<ClusterId>> Repository::cluster_ids() {
  std::vector<ClusterId> ids;
  for (const auto& part : TRY(environment_.store.list_parts(std::string(kClustersPrefix))))
    if (auto id = ClusterId::parse(part); id && (bundle().role != Role::Host || *id == bundle().host_cluster) && (!mark_ || mark_->bounds_of(*id))) ids.push_back(*id);
  return ids;
}

Result<std::unique_ptr<Cluster>> Repository::read_cluster(const ClusterId& id) {
  auto* copies = environment_.key_copies;
  const auto confirmed = [&](const Result<std::unique_ptr<Cluster>>& cluster) {
    if (!cluster || !*cluster) return false;
    const auto& state = (*cluster)->state();
    // The log says that a slot goes before it goes: what was read in between is not to be kept.
    if (std::ranges::any_of(slot_names_, [&](const auto& slot) { return state.says_removed(slot); })) return false;
    return copies->confirm(id, {state.generation(), state.keys_changed_before()});
  };
  auto cluster = open_and_read(id);
  if (copies != nullptr && copies->answered() && !mark_ && cluster && *cluster && (*cluster)->log().shows_mirror()) {
    copies->forget();
    return Error(Errc::Precondition, fmt::format("{} is a mirror now, and was none when this host last looked", environment_.store.describe()), Hint{"run the command again"});
  }
  if (copies == nullptr || confirmed(cluster) || !copies->answered()) return cluster;
  TRY(look_past_key_copies());
  cluster = open_and_read(id);
  confirmed(cluster);
  return cluster;
}

Result<std::unique_ptr<Cluster>> Repository::open_and_read(const ClusterId& id) {
  auto cluster = TRY(open_cluster(id).context(fmt::format("cluster {}", id.hex())));
  TRY(cluster->log().refresh().context(fmt::format("cluster {}", id.hex())));
  // A ring without a log is a creation that was cut off before its genesis: it holds nothing.
  if (!cluster->state().has_genesis()) return std::unique_ptr<Cluster>();
  return cluster;
}

std::vector<UnreadableCluster> Repository::vanished_of(const std::vector<ClusterId>& ids) const {
  std::vector<UnreadableCluster> gone;
  const auto seen = environment_.seen.clusters(format_.repository);
  if (!seen) {
    log_warning("whether all clusters that were seen here before are still there cannot be told: {}", seen.failure().describe());
    return gone;
  }
  for (const auto& id : *seen) {
    const bool is_ours = (bundle().role != Role::Host || id == bundle().host_cluster) && (!mark_ || mark_->bounds_of(id));
    if (!is_ours || std::ranges::find(ids, id) != ids.end()) continue;
    gone.push_back({id.hex(), Error(Errc::Corruption, fmt::format("cluster {} was seen here before, and nothing of it is in {} any more: it was deleted", id.hex(), environment_.store.describe()),
                                    Hint{fmt::format("write nothing there until it is back: from a mirror, or from versions that the store keeps; if it was deleted on purpose, remove seen-{}-{} from the state directory",
                                                     format_.repository.hex(), id.hex())})});
  }
  return gone;
}

Result<std::vector<std::unique_ptr<Cluster>>> Repository::clusters() {
  std::vector<std::unique_ptr<Cluster>> found;
  const auto ids = TRY(cluster_ids());
  // An emptied store must not be taken for a new one: the next backup would begin anew beside what can still be brought back.
  if (auto gone = vanished_of(ids); !gone.empty()) return std::move(gone.front().error);
  for (const auto& id : ids)
    if (auto cluster = TRY(read_cluster(id))) found.push_back(std::move(cluster));
  TRY(drop_abandoned(found));
  return found;
}

Result<std::vector<std::unique_ptr<Cluster>>> Repository::readable_clusters(std::vector<UnreadableCluster>& unreadable) {
  std::vector<std::unique_ptr<Cluster>> found;
  const auto ids = TRY(cluster_ids());
  for (auto& gone : vanished_of(ids)) unreadable.push_back(std::move(gone));
  for (const auto& id : ids) {
    auto cluster = read_cluster(id);
    if (!cluster && cluster.error().code() == Errc::Cancelled) return std::move(cluster.error());
    if (!cluster) unreadable.push_back({id.hex(), std::move(cluster.error())});
    else if (*cluster) found.push_back(std::move(*cluster));
  }
  TRY(drop_abandoned(found));
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
  if (bundle().role != Role::Root)
    return Error(Errc::Key, fmt::format("cluster {} is not in the repository yet, and only a root key slot may add it", name),
                 Hint{"run `pgmint init` or a first backup with the root key"});
  TRY(look_past_key_copies());  // no log vouches for them
  TRY(check_features(format_, Operation::Write));
  TRY(need_finished_rotation());
  auto& e = environment_;
  ClusterKeys keys;
  keys.cluster_kek = crypto::Key256::generate(e.random);
  keys.map_key = crypto::Key256::generate(e.random);
  keys.maintenance_key = crypto::Key256::generate(e.random);
  keys.mac_key = crypto::Key256::generate(e.random);
  keys.data_keys.emplace(Epoch(1), crypto::Key256::generate(e.random));
  const auto id = e.random.id<ClusterId>();
  const auto ring = keyring_name(id, Epoch(1));
  if (!TRY(create_object(e.store, ring, make_keyring(format_.repository, id, Epoch(1), keys, recipients(), e.random))))
    return Error(Errc::Busy, fmt::format("{} exists already", ring), Hint{"run it again"});
  // A rotation of the root key that deleted the slot before the ring stood has not seen this cluster.
  if (!TRY(e.store.stat(slot_name(opened_slot())))) {
    TRY(e.store.remove(ring));
    return Error(Errc::Busy, fmt::format("key slot {} has just been removed", opened_slot()), Hint{"run it again"});
  }

  std::unique_ptr<Cluster> cluster(new Cluster(*this, {format_.repository, id}, std::move(keys)));
  const auto* first = signing_key_among({format_.root});
  if (first == nullptr)
    return Error(Errc::Corruption, fmt::format("key slot {} does not know the root that `format` names", opened_slot()));
  Actor first_root = cluster->actor();
  first_root.key = first;
  GenesisEntry genesis;
  genesis.cluster_name = name;
  genesis.system_id = system_id;
  genesis.root_key = format_.root;
  TRY(cluster->log().create(first_root, std::move(genesis)));
  if (const auto& root = signing_key().public_key(); root != format_.root) {
    TRY(cluster->log().append(first_root, EntryContent(enrolment(Role::Root, root, "root"))));
    TRY(cluster->log().append(cluster->actor(), EntryContent(RevokeEntry{format_.root})));
  }
  for (const auto& slot : TRY(slots())) {
    if (slot.role == Role::Maintenance)
      TRY(cluster->log().append(cluster->actor(), EntryContent(enrolment(slot.role, slot.actor, slot.name))));
    if (slot.role == Role::Root || slot.role == Role::Maintenance) TRY(note_keys(*cluster, kKeySlotAdded, slot.name));
  }
  TRY(note_keys(*cluster, kKeyRingMade, "1"));
  return cluster;
}

Result<std::vector<SlotInfo>> Repository::slots() {
  std::vector<SlotInfo> infos;
  for (auto& slot : TRY(read_slots(environment_.store, format_.repository))) infos.push_back(std::move(slot.info));
  return infos;
}

}  // namespace pgmint::repository

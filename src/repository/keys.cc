// Key slots and key rings. Format: docs/format/keys.md.
#include "repository/keys.h"

#include <fmt/format.h>

#include <algorithm>

#include "crypto/aead.h"
#include "repository/field_list.h"
#include "repository/key_service.h"
#include "repository/layout.h"
#include "repository/object_header.h"

namespace pgmint::repository {
namespace {

constexpr std::size_t kBundleMax = 16 << 10;
constexpr std::size_t kMacSize = 32;

/// Slots and rings end in an HMAC under the repository MAC key, so that every role can tell a damaged one, also where its own
/// secret does not fit.
void append_mac(Bytes& object, const crypto::Key256& repository_mac_key) {
  pgmint::append(object, crypto::hmac_sha256(repository_mac_key, object));
}

bool mac_fits(ByteView object, const crypto::Key256& repository_mac_key) {
  if (object.size() < kMacSize) return false;
  return crypto::equal_constant_time(crypto::hmac_sha256(repository_mac_key, object.first(object.size() - kMacSize)), object.last(kMacSize));
}

constexpr std::string_view kKekLabel = "pgmint slot kek v1";

/// nullopt: the secret is not that of this slot.
Result<std::optional<crypto::Key256>> slot_kek(const Unlock& unlock, const SlotInfo& info, const RepositoryId& repository) {
  if (info.provider == KeyProvider::Passphrase) return std::optional(TRY(crypto::scrypt(unlock.passphrase, info.salt, info.scrypt)));
  if (!needs_service(info.provider)) return std::optional(crypto::derive_key(unlock.key, kKekLabel));
  if (!unlock.service) return std::optional<crypto::Key256>();
  const auto unwrapped = TRY(unlock.service->unwrap(info.service_key, info.wrapped_key, repository));
  if (!unwrapped) return std::optional<crypto::Key256>();
  return std::optional(crypto::derive_key(*unwrapped, kKekLabel));
}

/// A new slot's KEK, with what its owner needs to have it again in `parameters`: empty where the secret alone is enough.
Result<crypto::Key256> new_slot_kek(const Unlock& unlock, crypto::ScryptCost cost, const RepositoryId& repository, RandomSource& random, Bytes& parameters) {
  FieldWriter fields;
  if (unlock.provider == KeyProvider::Passphrase) {
    ByteArray<32> salt{};
    random.fill(salt);
    codec::BinaryWriter numbers;
    for (auto n : {cost.log2_n, cost.r, cost.p}) numbers.u8(static_cast<std::uint8_t>(n));
    fields.add(1, numbers.view());
    fields.add(3, salt);
    parameters = fields.take();
    return crypto::scrypt(unlock.passphrase, salt, cost);
  }
  if (!needs_service(unlock.provider)) return crypto::derive_key(unlock.key, kKekLabel);
  PGMINT_ASSERT(unlock.service != nullptr && unlock.service->provider() == unlock.provider);
  const auto made = TRY(unlock.service->make_key(repository));
  if (made.name.empty() || made.name.size() > kServiceKeyNameMax || made.wrapped.empty() || made.wrapped.size() > kWrappedKeyMax)
    return Error(Errc::Key, fmt::format("the key service {} gives a key that no slot could hold", provider_name(unlock.provider)));
  fields.text(1, made.name);
  fields.add(3, made.wrapped);
  parameters = fields.take();
  return crypto::derive_key(made.key, kKekLabel);
}

Bytes encode_bundle(const RoleBundle& bundle) {
  FieldWriter out;
  out.u8(1, static_cast<std::uint8_t>(bundle.role));
  out.add(3, bundle.repository_mac_key.bytes());
  if (bundle.role == Role::Root) out.add(5, bundle.root_key.bytes());
  out.add(7, bundle.actor_seed.bytes());
  if (bundle.role != Role::Host) out.add(9, bundle.maintenance_kek.bytes());
  if (bundle.role == Role::Host) {
    out.add(11, bundle.host_cluster.bytes);
    out.add(13, bundle.cluster_kek.bytes());
  }
  if (bundle.role == Role::Root) {
    for (const auto& seed : bundle.past_actor_seeds) out.add(15, seed.bytes());
    out.u32(17, bundle.root_generation);
  }
  return out.take();
}

Result<crypto::Key256> get_key(const FieldReader& in, std::uint64_t tag) { return crypto::Key256::from_bytes(TRY(in.value(tag))); }

Result<RoleBundle> parse_bundle(ByteView raw) {
  codec::BinaryReader in(raw, "key bundle");
  auto f = TRY(FieldReader::parse(in, "key bundle", {1, 3, 5, 7, 9, 11, 13, 15, 17}));
  TRY(in.expect_end());
  RoleBundle bundle;
  const auto role = TRY(f.u8(1));
  if (role < 1 || role > 3) return in.corrupt("unknown role");
  bundle.role = static_cast<Role>(role);
  bundle.repository_mac_key = TRY(get_key(f, 3));
  if (bundle.role == Role::Root) bundle.root_key = TRY(get_key(f, 5));
  bundle.actor_seed = TRY(get_key(f, 7));
  if (bundle.role != Role::Host) bundle.maintenance_kek = TRY(get_key(f, 9));
  if (bundle.role == Role::Host) {
    bundle.host_cluster.bytes = TRY(f.array<16>(11));
    bundle.cluster_kek = TRY(get_key(f, 13));
  }
  if (bundle.role == Role::Root) {
    bundle.root_generation = TRY(f.u32(17));
    const auto seeds = f.all(15);
    if (seeds.size() > kPastActorsMax) return in.corrupt("too many root actors");
    for (auto seed : seeds) bundle.past_actor_seeds.push_back(TRY(crypto::Key256::from_bytes(seed)));
  }
  return bundle;
}

/// Clear part of a slot (header and field list A) and where W starts.
struct ParsedSlot {
  SlotInfo info;
  std::size_t clear_size = 0;
  ByteView wrapped;
};

Result<ParsedSlot> parse_slot_parts(ByteView object, std::string_view slot, const RepositoryId& repository) {
  ParsedSlot parsed;
  TRY(expect_header(object, ObjectKind::KeySlot, repository, {}));
  const auto body = object.subspan(kHeaderSize);
  codec::BinaryReader in(body, "key slot");
  auto f = TRY(FieldReader::parse(in, "key slot", {1, 2, 3, 4, 5, 6, 7, 8}));
  parsed.clear_size = kHeaderSize + in.position();
  parsed.wrapped = TRY(in.bytes(kBundleMax));
  TRY(in.raw(kMacSize));
  TRY(in.expect_end());
  auto& info = parsed.info;
  info.name = std::string(slot);
  const auto provider = TRY(f.u8(1));
  const auto role = TRY(f.u8(3));
  if (role < 1 || role > 3) return in.corrupt("unknown role");
  if (provider < 1 || provider > 6)
    return Error(Errc::Precondition, fmt::format("key provider {} is not one that this pgmint knows", provider),
                 Hint{"a newer pgmint wrote this; use that release or a newer one"});
  info.provider = static_cast<KeyProvider>(provider);
  info.role = static_cast<Role>(role);
  if (f.has(2)) info.created = TimePoint(std::chrono::microseconds(static_cast<std::int64_t>(TRY(f.u64(2)))));
  info.note = TRY(f.optional_text(4));
  if (f.has(6)) info.actor = TRY(f.array<32>(6));
  info.commitment = TRY(f.array<32>(5));
  if (f.has(8)) info.root_generation = TRY(f.u32(8));
  if (info.provider == KeyProvider::Passphrase) {
    codec::BinaryReader parameters_in(TRY(f.value(7)), "passphrase parameters");
    auto parameters = TRY(FieldReader::parse(parameters_in, "passphrase parameters", {1, 3}));
    codec::BinaryReader cost(TRY(parameters.value(1)), "scrypt cost");
    info.scrypt.log2_n = TRY(cost.u8());
    info.scrypt.r = TRY(cost.u8());
    info.scrypt.p = TRY(cost.u8());
    info.salt = to_bytes(TRY(parameters.array<32>(3)));
  }
  if (needs_service(info.provider)) {
    codec::BinaryReader parameters_in(TRY(f.value(7)), "key service parameters");
    auto parameters = TRY(FieldReader::parse(parameters_in, "key service parameters", {1, 3}));
    info.service_key = TRY(parameters.text(1, kServiceKeyNameMax));
    info.wrapped_key = to_bytes(TRY(parameters.value(3)));
    if (!std::ranges::all_of(info.service_key, [](char c) { return c > ' ' && c <= '~'; })) return in.corrupt("a wrapping key of no possible name");
    if (info.wrapped_key.empty() || info.wrapped_key.size() > kWrappedKeyMax) return in.corrupt("a wrapped key of no possible size");
  }
  return parsed;
}

void add_recipient(FieldWriter& out, const std::string& name, Role recipient, const crypto::Key256& wrapping, Bytes fields,
                   RandomSource& random) {
  codec::BinaryWriter value;
  value.u8(static_cast<std::uint8_t>(recipient));
  value.raw(crypto::key_commitment(wrapping));
  Bytes aad = to_bytes(as_bytes(name));
  aad.push_back(static_cast<std::byte>(recipient));
  crypto::Aead aead(wrapping);
  value.raw(aead.seal_with_random_nonce(random, aad, fields));
  crypto::wipe(fields);
  out.add(1, value.view());
}

Bytes encode_ring(const ClusterKeys& keys, bool with_kek) {
  FieldWriter out;
  if (with_kek) out.add(1, keys.cluster_kek.bytes());
  out.add(3, keys.map_key.bytes());
  out.add(5, keys.maintenance_key.bytes());
  out.add(7, keys.mac_key.bytes());
  for (const auto& [epoch, key] : keys.data_keys) {
    codec::BinaryWriter value;
    value.u32(epoch.value());
    value.raw(key.bytes());
    out.add(9, value.view());
  }
  return out.take();
}

Result<ClusterKeys> parse_ring(ByteView raw, Role recipient) {
  codec::BinaryReader in(raw, "key ring");
  auto f = TRY(FieldReader::parse(in, "key ring", {1, 3, 5, 7, 9}));
  TRY(in.expect_end());
  ClusterKeys keys;
  keys.maintenance_key = TRY(get_key(f, 5));
  if (recipient == Role::Maintenance) return keys;
  if (recipient == Role::Root) keys.cluster_kek = TRY(get_key(f, 1));
  keys.map_key = TRY(get_key(f, 3));
  keys.mac_key = TRY(get_key(f, 7));
  for (auto value : f.all(9)) {
    codec::BinaryReader v(value, "data key");
    const auto epoch = TRY(v.u32());
    keys.data_keys.emplace(Epoch(epoch), TRY(crypto::Key256::from_bytes(TRY(v.raw(crypto::Key256::kSize)))));
  }
  return keys;
}

}  // namespace

std::string_view provider_name(KeyProvider provider) {
  switch (provider) {
    case KeyProvider::KeyFile: return "file";
    case KeyProvider::Passphrase: return "passphrase";
    case KeyProvider::Recovery: return "recovery";
    case KeyProvider::AwsKms: return "kms";
    case KeyProvider::Vault: return "vault";
    case KeyProvider::Pkcs11: return "pkcs11";
  }
  return "unknown";
}

Result<NewSlot> make_slot(const RepositoryId& repository, const RoleBundle& bundle, const Unlock& unlock, std::string note,
                          crypto::ScryptCost cost, TimePoint now, RandomSource& random) {
  Bytes parameters;
  const auto kek = TRY(new_slot_kek(unlock, cost, repository, random, parameters));
  FieldWriter clear;
  clear.u8(1, static_cast<std::uint8_t>(unlock.provider));
  clear.u64(2, static_cast<std::uint64_t>(now.time_since_epoch().count()));
  clear.u8(3, static_cast<std::uint8_t>(bundle.role));
  if (!note.empty()) clear.text(4, note);
  clear.add(5, crypto::key_commitment(kek));
  clear.add(6, crypto::SigningKey(bundle.actor_seed.clone()).public_key());
  if (!parameters.empty()) clear.add(7, parameters);
  if (bundle.role == Role::Root) clear.u32(8, bundle.root_generation);
  NewSlot slot;
  slot.object = to_bytes(encode_header({ObjectKind::KeySlot, Epoch(0), repository, {}, {}}));
  append(slot.object, clear.take());
  Bytes plain = encode_bundle(bundle);
  crypto::Aead aead(kek);
  codec::BinaryWriter wrapped;
  wrapped.bytes(aead.seal_with_random_nonce(random, slot.object, plain));
  crypto::wipe(plain);
  append(slot.object, wrapped.view());
  append_mac(slot.object, bundle.repository_mac_key);
  ByteArray<4> suffix;
  random.fill(suffix);
  slot.name = fmt::format("{}-{}", provider_name(unlock.provider), to_hex(suffix));
  return slot;
}

bool slot_is_authentic(ByteView object, const crypto::Key256& repository_mac_key) { return mac_fits(object, repository_mac_key); }

Result<SlotInfo> parse_slot(ByteView object, std::string_view slot, const RepositoryId& repository) {
  return TRY(parse_slot_parts(object, slot, repository)).info;
}

Result<std::optional<RoleBundle>> open_slot(ByteView object, const SlotInfo& info, const Unlock& unlock) {
  if (unlock.provider != info.provider) return std::optional<RoleBundle>();
  codec::BinaryReader id_in(object.subspan(16, 16), "key slot");
  RepositoryId repository{TRY(id_in.array<16>())};
  const auto parsed = TRY(parse_slot_parts(object, info.name, repository));
  const auto kek = TRY(slot_kek(unlock, info, repository));
  if (!kek || !crypto::equal_constant_time(crypto::key_commitment(*kek), info.commitment)) return std::optional<RoleBundle>();
  crypto::Aead aead(*kek);
  auto plain = aead.open_with_nonce(object.first(parsed.clear_size), parsed.wrapped);
  if (!plain)
    return Error(Errc::Corruption, fmt::format("key slot {} is damaged: its key fits, its contents do not", info.name),
                 Hint{"open the repository with another slot (`pgmint key list`), then remove this one"});
  auto bundle = parse_bundle(*plain);
  crypto::wipe(*plain);
  auto opened = TRY(std::move(bundle));
  if (!mac_fits(object, opened.repository_mac_key)) return Error(Errc::Corruption, fmt::format("key slot {} is damaged", info.name));
  if (opened.role != info.role || opened.root_generation != info.root_generation)
    return Error(Errc::Corruption, fmt::format("key slot {} opens something else than it says", info.name));
  return std::optional<RoleBundle>(std::move(opened));
}

Bytes make_keyring(const RepositoryId& repository, const ClusterId& cluster, Epoch epoch, const ClusterKeys& keys,
                   const RingRecipients& recipients, RandomSource& random) {
  PGMINT_ASSERT(!recipients.root_keys.empty());
  const auto name = keyring_name(cluster, epoch);
  FieldWriter list;
  for (const auto* root_key : recipients.root_keys) add_recipient(list, name, Role::Root, *root_key, encode_ring(keys, true), random);
  add_recipient(list, name, Role::Host, keys.cluster_kek, encode_ring(keys, false), random);
  FieldWriter maintenance;
  maintenance.add(5, keys.maintenance_key.bytes());
  add_recipient(list, name, Role::Maintenance, recipients.maintenance_kek, maintenance.take(), random);
  Bytes object = to_bytes(encode_header({ObjectKind::KeyRing, epoch, repository, cluster, {}}));
  append(object, list.take());
  append_mac(object, recipients.repository_mac_key);
  return object;
}

namespace {

/// The authenticated field list of a ring.
Result<FieldReader> read_ring(ByteView object, const RepositoryId& repository, const ClusterId& cluster, Epoch epoch,
                              const crypto::Key256& repository_mac_key) {
  const auto name = keyring_name(cluster, epoch);
  const auto header = TRY(expect_header(object, ObjectKind::KeyRing, repository, cluster));
  if (object.size() < kHeaderSize + kMacSize || !mac_fits(object, repository_mac_key))
    return Error(Errc::Corruption, fmt::format("{} is damaged", name));
  if (header.epoch != epoch) return Error(Errc::Corruption, fmt::format("{}: another key ring stands under this name", name));
  codec::BinaryReader in(object.subspan(kHeaderSize, object.size() - kHeaderSize - kMacSize), "key ring");
  auto recipients = TRY(FieldReader::parse(in, "key ring", {1}));
  TRY(in.expect_end());
  return recipients;
}

}  // namespace

Result<std::vector<crypto::Digest>> ring_roots(ByteView object, const RepositoryId& repository, const ClusterId& cluster,
                                               Epoch epoch, const crypto::Key256& repository_mac_key) {
  const auto recipients = TRY(read_ring(object, repository, cluster, epoch, repository_mac_key));
  std::vector<crypto::Digest> roots;
  for (auto value : recipients.all(1)) {
    codec::BinaryReader v(value, "key ring recipient");
    const auto recipient = TRY(v.u8());
    if (recipient == static_cast<std::uint8_t>(Role::Root)) roots.push_back(TRY(v.array<32>()));
  }
  return roots;
}

Result<ClusterKeys> open_keyring(ByteView object, const RepositoryId& repository, const ClusterId& cluster, Epoch epoch,
                                 const RoleBundle& bundle) {
  const auto name = keyring_name(cluster, epoch);
  const auto recipients = TRY(read_ring(object, repository, cluster, epoch, bundle.repository_mac_key));
  const crypto::Key256& wrapping = bundle.role == Role::Root   ? bundle.root_key
                                   : bundle.role == Role::Host ? bundle.cluster_kek
                                                               : bundle.maintenance_kek;
  const auto commitment = crypto::key_commitment(wrapping);
  for (auto value : recipients.all(1)) {
    codec::BinaryReader v(value, "key ring recipient");
    const auto recipient = TRY(v.u8());
    const auto committed = TRY(v.array<32>());
    if (recipient != static_cast<std::uint8_t>(bundle.role) || !crypto::equal_constant_time(committed, commitment)) continue;
    Bytes aad = to_bytes(as_bytes(name));
    aad.push_back(static_cast<std::byte>(recipient));
    crypto::Aead aead(wrapping);
    auto plain = aead.open_with_nonce(aad, TRY(v.raw(v.remaining())));
    if (!plain) return Error(Errc::Corruption, fmt::format("{} is damaged", name));
    auto keys = parse_ring(*plain, bundle.role);
    crypto::wipe(*plain);
    auto opened = TRY(std::move(keys));
    if (bundle.role == Role::Host) opened.cluster_kek = bundle.cluster_kek.clone();
    return opened;
  }
  return Error(Errc::Key, fmt::format("{} is not for this key slot", name), Hint{"`pgmint key list` shows which slots there are"});
}

}  // namespace pgmint::repository

#include "repository/key_objects.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <tuple>

#include "repository/layout.h"
#include "repository/object_header.h"

namespace pgmint::repository {
namespace {

constexpr std::size_t kRingMax = 1 << 20;

std::optional<Epoch> parse_epoch(std::string_view text) {
  std::uint32_t value = 0;
  auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  if (text.size() != 8 || ec != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return Epoch(value);
}

}  // namespace

Result<std::vector<StoredSlot>> read_slots(storage::BlobStore& store, const RepositoryId& repository,
                                           std::vector<std::string>* foreign) {
  std::vector<StoredSlot> slots;
  for (const auto& blob : TRY(storage::list_all(store, std::string(kKeysPrefix)))) {
    auto object = store.read(blob.name, kSlotMax);
    if (!object && object.failure().code() != Errc::ResourceLimit) return std::move(object).failure();
    if (object && !*object) continue;
    const auto name = std::string_view(blob.name).substr(kKeysPrefix.size());
    if (object) {
      if (const auto header = parse_header(**object, ObjectKind::KeySlot); header && header->repository != repository) {
        if (foreign != nullptr) foreign->push_back(blob.name);
        continue;
      }
    }
    auto info = object ? parse_slot(**object, name, repository) : Result<SlotInfo>(std::move(object).failure());
    if (!info) {
      // Whatever is the matter with this one, another slot may open the repository.
      SlotInfo damaged;
      damaged.name = name;
      damaged.note = "cannot be read: " + info.failure().describe();
      slots.push_back({std::move(damaged), {}});
      continue;
    }
    slots.push_back({std::move(*info), std::move(**object)});
  }
  std::sort(slots.begin(), slots.end(), [](const StoredSlot& a, const StoredSlot& b) {
    // A secret of this host's own first: a service may be away.
    return std::tuple(b.info.root_generation, needs_service(a.info.provider), std::string_view(a.info.name)) <
           std::tuple(a.info.root_generation, needs_service(b.info.provider), std::string_view(b.info.name));
  });
  return slots;
}

Result<std::vector<Epoch>> ring_epochs(storage::BlobStore& store, const ClusterId& cluster) {
  std::vector<Epoch> epochs;
  for (const auto& part : TRY(store.list_parts(cluster_prefix(cluster) + "keyring/")))
    if (auto epoch = parse_epoch(part)) epochs.push_back(*epoch);
  std::sort(epochs.rbegin(), epochs.rend());
  return epochs;
}

Result<OpenedRing> open_newest_ring(storage::BlobStore& store, const RepositoryId& repository, const ClusterId& cluster,
                                    const std::vector<const RoleBundle*>& bundles) {
  PGMINT_ASSERT(!bundles.empty());
  std::optional<Error> not_ours;
  for (auto epoch : TRY(ring_epochs(store, cluster))) {
    const auto object = TRY(store.read(keyring_name(cluster, epoch), kRingMax));
    if (!object) continue;
    const bool newest = !not_ours;
    for (const auto* bundle : bundles) {
      auto keys = open_keyring(*object, repository, cluster, epoch, *bundle);
      if (keys)
        return OpenedRing{epoch, std::move(*keys), TRY(ring_roots(*object, repository, cluster, epoch, bundle->repository_mac_key)), newest};
      // A ring made for a newer root key is not for this slot: an older one may be. Damage is damage.
      if (keys.failure().code() != Errc::Key) return std::move(keys).failure();
      if (!not_ours) not_ours = std::move(keys).failure();
    }
  }
  if (not_ours) return *std::move(not_ours);
  return Error(Errc::Corruption, fmt::format("cluster {} has no key ring", cluster.hex()),
               Hint{"restore the objects below c/<cluster>/keyring/ from a copy of the repository"});
}

Result<bool> create_object(storage::BlobStore& store, const std::string& name, ByteView data) {
  auto created = store.create(name, data);
  if (!created && is_transient(created.failure().code())) {
    // Unknown outcome: what stands there now decides.
    if (auto there = TRY(store.read(name, data.size() + 1)))
      return std::equal(there->begin(), there->end(), data.begin(), data.end());
    return std::move(created).failure();
  }
  return TRY(std::move(created)) == storage::Created::Yes;
}

Result<NotedKeys> noted_keys(Log& log) {
  NotedKeys noted;
  TRY(log.for_each([&](std::uint64_t, const Result<LogEntry>& entry) -> Status {
    const auto* audit = entry ? std::get_if<AuditEntry>(&entry->content) : nullptr;
    if (audit == nullptr) return ok();
    const auto name = audit->detail.substr(0, audit->detail.find(' '));
    if (audit->event == kKeySlotAdded) {
      noted.slots.insert(name);
      noted.removed_slots.erase(name);
    } else if (audit->event == kKeySlotRemoved) {
      noted.slots.erase(name);
      noted.removed_slots.insert(name);
    } else if (audit->event == kKeyRingMade) {
      std::uint32_t epoch = 0;
      std::from_chars(name.data(), name.data() + name.size(), epoch);
      noted.rings.insert(epoch);
    }
    return ok();
  }));
  return noted;
}

}  // namespace pgmint::repository

// Key slots and key rings as they stand in a store. Format: docs/format/keys.md.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "repository/keys.h"
#include "repository/log.h"

namespace pgmint::repository {

/// Events of AUDIT entries that name keys; the detail starts with the slot's name or the ring's epoch.
inline constexpr std::string_view kKeySlotAdded = "key slot added";
inline constexpr std::string_view kKeySlotRemoved = "key slot removed";
inline constexpr std::string_view kKeyRingMade = "key ring";

inline constexpr std::size_t kSlotMax = 64 << 10;

struct StoredSlot {
  SlotInfo info;
  Bytes object;  ///< empty: it cannot be read, which `info.note` explains
};

/// The slots of `repository`, those of newer root generations first; then those that need a service last; then by name. What an interrupted init of another
/// repository left is passed over; `foreign` gets its name. @errors Storage
Result<std::vector<StoredSlot>> read_slots(storage::BlobStore& store, const RepositoryId& repository,
                                           std::vector<std::string>* foreign = nullptr);

/// Epochs of a cluster's rings, newest first.
Result<std::vector<Epoch>> ring_epochs(storage::BlobStore& store, const ClusterId& cluster);

/// A ring that was opened.
struct OpenedRing {
  Epoch epoch;
  ClusterKeys keys;
  std::vector<crypto::Digest> roots;  ///< commitments of the root keys that it is for
  bool newest = false;                ///< no ring above it that is for others
};
/// The highest ring that one of `bundles` (of one repository and not empty) opens.
/// @errors Key (none is for them), Corruption (a ring is damaged, or there is none), Storage
Result<OpenedRing> open_newest_ring(storage::BlobStore& store, const RepositoryId& repository, const ClusterId& cluster,
                                    const std::vector<const RoleBundle*>& bundles);

/// Creates an object whose name is random, or was just found to be free. False: somebody else's stands there.
/// An unknown outcome is read back. @errors Storage, Unknown, Key
Result<bool> create_object(storage::BlobStore& store, const std::string& name, ByteView data);

/// What a cluster's log says of keys.
struct NotedKeys {
  std::set<std::string> slots;          ///< made and not removed
  std::set<std::string> removed_slots;  ///< to be removed; the objects may still stand when that was cut off
  std::set<std::uint32_t> rings;
};
/// Reads the whole log. @errors as Log::for_each
Result<NotedKeys> noted_keys(Log& log);

}  // namespace pgmint::repository

// Slots, role bundles, key rings and key texts. Format: docs/format/keys.md.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "crypto/hash.h"
#include "repository/key_material.h"
#include "storage/blob_store.h"

namespace pgmint::repository {

class KeyService;

enum class KeyProvider : std::uint8_t { KeyFile = 1, Passphrase = 2, Recovery = 3, AwsKms = 4, Vault = 5, Pkcs11 = 6 };
std::string_view provider_name(KeyProvider provider);  ///< "file", "passphrase", "recovery", "kms", "vault", "pkcs11"
/// Whether its key is with a service that has to be asked.
constexpr bool needs_service(KeyProvider provider) { return provider >= KeyProvider::AwsKms; }

/// A secret that may open a slot. Which slots it is tried on follows from the provider.
struct Unlock {
  KeyProvider provider = KeyProvider::KeyFile;
  crypto::Key256 key;      ///< KeyFile, Recovery: the 32 bytes
  std::string passphrase;  ///< Passphrase
  std::shared_ptr<KeyService> service{};  ///< AwsKms, Vault, Pkcs11 (key_service.h)
};

/// The clear part of a slot.
struct SlotInfo {
  std::string name;
  KeyProvider provider{};
  Role role{};
  TimePoint created{};
  std::string note;
  std::uint32_t root_generation = 0;  ///< 0 where the role is not root
  crypto::PublicKey actor{};
  crypto::ScryptCost scrypt{};
  Bytes salt;
  std::string service_key{};  ///< of a service: the wrapping key, as the service names it
  Bytes wrapped_key{};        ///< of a service: for KeyService::unwrap()
  crypto::Digest commitment{};
  /// Damaged, or a newer pgmint's: only name and note (the reason) are set.
  bool unreadable() const { return role == Role{}; }
};

/// "PGMINT-KEY-1:XXXXXXX-..." and "PGMINT-RECOVERY-1:...": the text of a key file's line and of a printed recovery key.
std::string encode_key_text(KeyProvider provider, const crypto::Key256& key);
/// "PGMINT-SHARE-1:XXXXXXXX-...": a recovery key in parts, `needed` of which are as good as it; fewer tell nothing.
std::vector<std::string> encode_recovery_shares(const crypto::Key256& key, unsigned needed, unsigned count, RandomSource& random);
/// The contents of a key file; or a recovery key, or as many lines of its shares as are needed, as typed. @errors Key: not that format, a typing mistake
/// (checksum); too few shares, or such as do not belong together
Result<crypto::Key256> parse_key_text(KeyProvider provider, std::string_view text);

/// Seals `bundle` for `unlock` under a fresh slot name "<provider>-<8 hex digits>". Returns name and object.
/// @errors as KeyService::make_key
struct NewSlot { std::string name; Bytes object; };
Result<NewSlot> make_slot(const RepositoryId& repository, const RoleBundle& bundle, const Unlock& unlock, std::string note,
                          crypto::ScryptCost cost, TimePoint now, RandomSource& random);
/// Whether anybody without the repository MAC key changed it; needs no secret of the slot's own.
bool slot_is_authentic(ByteView object, const crypto::Key256& repository_mac_key);
/// The clear part; not authenticated. @errors Corruption, Precondition
Result<SlotInfo> parse_slot(ByteView object, std::string_view slot, const RepositoryId& repository);
/// nullopt: the secret does not fit this slot. @errors Corruption (fits, but the bundle is damaged), as KeyService::unwrap
Result<std::optional<RoleBundle>> open_slot(ByteView object, const SlotInfo& info, const Unlock& unlock);

/// The object keyring/<epoch>: `keys` for root (under each of `root_keys`), host (under keys.cluster_kek) and maintenance (under
/// `maintenance_kek`), authenticated for every role by `repository_mac_key`.
struct RingRecipients {
  std::vector<const crypto::Key256*> root_keys;
  const crypto::Key256& maintenance_kek;
  const crypto::Key256& repository_mac_key;
};
Bytes make_keyring(const RepositoryId& repository, const ClusterId& cluster, Epoch epoch, const ClusterKeys& keys,
                   const RingRecipients& recipients, RandomSource& random);
/// What `bundle` may know. @errors Key (no recipient for it), Corruption
Result<ClusterKeys> open_keyring(ByteView object, const RepositoryId& repository, const ClusterId& cluster, Epoch epoch,
                                 const RoleBundle& bundle);
/// Commitments of the root keys that a ring is for. @errors Corruption (also when it is not authentic)
Result<std::vector<crypto::Digest>> ring_roots(ByteView object, const RepositoryId& repository, const ClusterId& cluster,
                                               Epoch epoch, const crypto::Key256& repository_mac_key);

}  // namespace pgmint::repository

// What the keys of docs/format/keys.md look like in memory.
#pragma once

#include <map>
#include <optional>
#include <vector>

#include "crypto/secret.h"
#include "crypto/signature.h"
#include "repository/ids.h"

namespace pgmint::repository {

enum class Role : std::uint8_t { Root = 1, Host = 2, Maintenance = 3 };
std::string_view role_name(Role role);
/// @errors Usage
Result<Role> parse_role(std::string_view text);

/// Earlier root actors that a bundle remembers; a reader refuses more.
inline constexpr std::size_t kPastActorsMax = 256;

/// What one slot opens.
struct RoleBundle {
  Role role = Role::Root;
  crypto::Key256 repository_mac_key;
  crypto::Key256 root_key;          ///< root only, else zero
  std::uint32_t root_generation = 0;  ///< root only, from 1: one more with each rotation
  crypto::Key256 actor_seed;
  /// Root only: of the root actors before this one, oldest first.
  std::vector<crypto::Key256> past_actor_seeds;
  crypto::Key256 maintenance_kek;   ///< root and maintenance, else zero
  ClusterId host_cluster{};         ///< host only
  crypto::Key256 cluster_kek;       ///< host only, else zero

  RoleBundle clone() const;
};

/// The keys of one cluster, as far as the role may know them: absent ones are zero.
struct ClusterKeys {
  crypto::Key256 cluster_kek;       ///< root and host
  crypto::Key256 map_key;
  crypto::Key256 maintenance_key;
  crypto::Key256 mac_key;
  std::map<Epoch, crypto::Key256> data_keys;

  bool can_read_data() const { return !data_keys.empty(); }
  Epoch newest_epoch() const { return data_keys.empty() ? Epoch(0) : data_keys.rbegin()->first; }
  /// @errors Key (the role has no data keys, or the epoch is newer than the ring that was read)
  Result<const crypto::Key256*> data_key(Epoch epoch) const;
  ClusterKeys clone() const;
};

}  // namespace pgmint::repository

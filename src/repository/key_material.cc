#include "repository/key_material.h"

#include <fmt/format.h>

namespace pgmint::repository {

std::string_view role_name(Role role) {
  switch (role) {
    case Role::Root: return "root";
    case Role::Host: return "host";
    case Role::Maintenance: return "maintenance";
  }
  return "unknown";
}

Result<Role> parse_role(std::string_view text) {
  for (auto role : {Role::Root, Role::Host, Role::Maintenance})
    if (text == role_name(role)) return role;
  return Error(Errc::Usage, fmt::format("'{}' is not a role", text), Hint{"roles are root, host and maintenance"});
}

RoleBundle RoleBundle::clone() const {
  RoleBundle copy;
  copy.role = role;
  copy.repository_mac_key = repository_mac_key.clone();
  copy.root_key = root_key.clone();
  copy.root_generation = root_generation;
  copy.actor_seed = actor_seed.clone();
  for (const auto& seed : past_actor_seeds) copy.past_actor_seeds.push_back(seed.clone());
  copy.maintenance_kek = maintenance_kek.clone();
  copy.host_cluster = host_cluster;
  copy.cluster_kek = cluster_kek.clone();
  return copy;
}

Result<const crypto::Key256*> ClusterKeys::data_key(Epoch epoch) const {
  if (data_keys.empty())
    return Error(Errc::Key, "this key slot may not read data",
                 Hint{"use a slot with the role root or host; `pgmint key list` shows the roles"});
  auto it = data_keys.find(epoch);
  if (it == data_keys.end()) return Error(Errc::Corruption, fmt::format("there is no data key of epoch {}", epoch.value()));
  return &it->second;
}

ClusterKeys ClusterKeys::clone() const {
  ClusterKeys copy;
  copy.cluster_kek = cluster_kek.clone();
  copy.map_key = map_key.clone();
  copy.maintenance_key = maintenance_key.clone();
  copy.mac_key = mac_key.clone();
  for (const auto& [epoch, key] : data_keys) copy.data_keys.emplace(epoch, key.clone());
  return copy;
}

}  // namespace pgmint::repository

// Keys for tests: one cluster's, complete, from a seeded generator.
#pragma once

#include "repository/key_material.h"
#include "repository/record.h"

namespace pgmint::repository::testing {

inline ClusterKeys make_cluster_keys(RandomSource& random, std::uint32_t epochs = 1) {
  ClusterKeys keys;
  keys.cluster_kek = crypto::Key256::generate(random);
  keys.map_key = crypto::Key256::generate(random);
  keys.maintenance_key = crypto::Key256::generate(random);
  keys.mac_key = crypto::Key256::generate(random);
  for (std::uint32_t e = 1; e <= epochs; ++e) keys.data_keys.emplace(Epoch(e), crypto::Key256::generate(random));
  return keys;
}

inline RoleBundle make_root_bundle(RandomSource& random) {
  RoleBundle bundle;
  bundle.repository_mac_key = crypto::Key256::generate(random);
  bundle.root_key = crypto::Key256::generate(random);
  bundle.root_generation = 1;
  bundle.actor_seed = crypto::Key256::generate(random);
  bundle.maintenance_kek = crypto::Key256::generate(random);
  return bundle;
}

inline RecordContext make_context(RandomSource& random) { return {random.id<RepositoryId>(), random.id<ClusterId>()}; }

/// Half compressible, half not.
inline Bytes make_plain(SeededRandom& random, std::size_t size) {
  Bytes plain(size);
  random.fill(MutableByteView(plain).first(size / 2));
  return plain;
}

}  // namespace pgmint::repository::testing

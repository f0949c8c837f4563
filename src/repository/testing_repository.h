// A repository with one cluster over any store, for tests.
#pragma once

#include <memory>

#include "repository/repository.h"
#include "storage/memory_store.h"

namespace pgmint::repository::testing {

/// Opens once; everything is deterministic from the seed, and the clock stands still unless it is moved.
struct TestRepository {
  static constexpr std::uint64_t kSystemId = 0x6a1b2c3d4e5f6071;

  explicit TestRepository(storage::BlobStore& use, std::uint64_t seed = 1)
      : store(use), random(seed), seen(make_no_memory()) {
    std::vector<Repository::Slot> slots(1);
    key = crypto::Key256::generate(random);
    slots[0].unlock.key = key.clone();
    auto made = Repository::create(environment(), std::move(slots));
    PGMINT_ASSERT(made.has_value());
    repository = std::move(*made);
    cluster = add_cluster("main", kSystemId);
  }

  Environment environment() { return {store, clock, random, *seen, "tester@host", "test"}; }
  std::unique_ptr<Cluster> add_cluster(const std::string& name, std::uint64_t system_id) {
    auto made = repository->create_cluster(name, system_id);
    PGMINT_ASSERT(made.has_value());
    return std::move(*made);
  }

  storage::BlobStore& store;
  ManualClock clock{TimePoint{std::chrono::sys_days{std::chrono::year(2026) / 11 / 22}}};
  SeededRandom random;
  std::unique_ptr<SeenMemory> seen;
  crypto::Key256 key;
  std::unique_ptr<Repository> repository;
  std::unique_ptr<Cluster> cluster;
};

}  // namespace pgmint::repository::testing

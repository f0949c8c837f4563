// The repository's own code in a simulated world: what its tests share.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <set>

#include "policy/retention.h"
#include "repository/collect.h"
#include "repository/manifest.h"
#include "repository/pack.h"
#include "repository/repository.h"
#include "repository/session.h"
#include "repository/verify.h"
#include "sim/scenario.h"
#include "storage/borrowed_store.h"
#include "storage/retry_store.h"

namespace pgmint::sim {

using namespace repository;
using storage::BlobStore;

inline constexpr std::uint64_t kSystemId = 7123456789012345678ull;

/// One process: what a Repository borrows. What the simulation gives is repeated as the program does.
struct Process {
  Process(SimWorld& world, BlobStore& raw)
      : store(storage::make_retry_store(std::make_unique<storage::BorrowedStore>(raw), {}, world.clock(), world.random())),
        environment{*store, world.clock(), world.random(), *seen, "sim@host", "sim"} {}
  std::unique_ptr<BlobStore> store;
  std::unique_ptr<SeenMemory> seen = make_no_memory();
  Environment environment;
};

// ---------------------------------------------------------------- secrets

enum class Secret : std::uint8_t { File = 1, Recovery, Added };

inline Unlock unlock(Secret secret) {
  Bytes raw(32, static_cast<std::byte>(secret));
  Unlock result;
  result.provider = secret == Secret::Recovery ? KeyProvider::Recovery : KeyProvider::KeyFile;
  result.key = *crypto::Key256::from_bytes(raw);
  return result;
}
inline std::vector<Repository::Slot> slots_for(std::initializer_list<Secret> secrets) {
  std::vector<Repository::Slot> slots;
  for (auto secret : secrets) slots.push_back({unlock(secret), ""});
  return slots;
}
inline Result<std::unique_ptr<Repository>> open_with(Process& process, Secret secret) {
  std::vector<Unlock> unlocks;
  unlocks.push_back(unlock(secret));
  return Repository::open(process.environment, std::move(unlocks));
}

/// What goes by the rule that the newest `stay` backups do not.
inline std::set<SessionId> but_the_newest(std::uint32_t stay, const LogState& state, TimePoint now) {
  std::vector<policy::BackupFact> facts;
  std::vector<SessionId> ids;
  for (const auto& [id, snapshot] : state.snapshots()) {
    policy::BackupFact fact;
    fact.name = snapshot.snap.name;
    fact.time = snapshot.committed;
    fact.order = snapshot.seq;
    facts.push_back(fact);
    ids.push_back(id);
  }
  std::set<SessionId> going;
  const auto verdicts = policy::decide(facts, {{}, {}, {}, {}, {}, stay, 1}, now, TimeZone::utc());
  for (std::size_t i = 0; i < ids.size(); ++i)
    if (!verdicts[i].keep) going.insert(ids[i]);
  return going;
}

inline constexpr std::uint64_t kWalSegment = 1 << 20;

/// A backup of one bundled file; its name has to be new each time. @param segment  0: without WAL; else that it starts and ends
/// in, and `during` happens after it has begun
inline Status back_up(Cluster& cluster, const std::string& name, ByteView content, std::uint64_t segment = 0, const std::function<Status()>& during = {}) {
  auto session = TRY(WriteSession::begin(cluster, std::nullopt));
  if (during) TRY(during());
  auto& environment = cluster.repository().environment();
  RecordSealer sealer(cluster.context(), cluster.keys(), {codec::CodecId::Zstd, 1}, environment.random);
  PackWriter data(cluster.context(), session->next_pack(), PackKind::Base, cluster.keys().newest_epoch(), sealer, cluster.keys().maintenance_key, environment.random);
  PackWriter maps(cluster.context(), session->next_pack(), PackKind::Map, cluster.keys().newest_epoch(), sealer, cluster.keys().maintenance_key, environment.random);
  const auto bundle = TRY(data.append(RecordType::Bundle, content));
  FileEntry entry;
  entry.path = "PG_VERSION";
  entry.kind = FileKind::Bundled;
  entry.mode = 0600;
  entry.size = content.size();
  entry.content = BundleMember{bundle, 0, sealer.fingerprint(bundle_member_nonce(bundle.nonce, 0), content)};
  ManifestTreeWriter tree([&](ByteView node) { return maps.append(RecordType::ManifestNode, node); });
  TRY(tree.add(std::move(entry)));
  const auto finished = TRY(std::move(tree).finish());
  TRY(session->upload(std::move(data).finish()));
  TRY(session->upload(std::move(maps).finish()));
  ManifestRoot root;
  root.session = session->id();
  root.name = name;
  root.system_id = cluster.state().system_id();
  root.incarnation = Incarnation(1);
  root.timeline = 1;
  if (segment != 0) {
    root.start_lsn = segment * kWalSegment + 40;
    root.stop_lsn = root.start_lsn + 500;
  }
  root.pg_major = 15;
  root.block_size = 8192;
  root.blocks_per_segment = 131072;
  root.wal_segment_size = kWalSegment;
  root.extent_size = 8192;
  root.tree = finished.root;
  root.tree_depth = finished.depth;
  return session->commit(root, {});
}

/// Every listed backup has all its bytes, and they open.
inline Status listed_backups_are_whole(Repository& opened) {
  for (const auto& cluster : TRY(opened.clusters())) {
    VerifyOptions options;
    options.depth = repository::VerifyDepth::Decompress;
    options.workers = 1;
    const auto report = TRY(verify(*cluster, options));
    if (report.damaged()) return Error(Errc::Corruption, report.findings.front().object + ": " + report.findings.front().problem);
  }
  return ok();
}

inline Status listed_backups_are_whole(Process& process) {
  auto repository = TRY(open_with(process, Secret::File));
  return listed_backups_are_whole(*repository);
}

/// Long after: leases have ended, so that what was cut off may go.
inline Scenario::Process collection() {
  return [](SimWorld& world, BlobStore& raw) -> Status {
    Process process(world, raw);
    auto repository = TRY(open_with(process, Secret::File));
    auto cluster = TRY(repository->find_cluster("main", kSystemId));
    TRY(collect(*cluster));
    return ok();
  };
}
/// Of the cuts each run takes every stride-th, beginning with a random one; PGMINT_TEST_STRIDE is the most for all (nightly: 3).
inline void expect_survives_cuts(const Scenario& scenario, std::uint64_t stride) {
  if (const char* asked = std::getenv("PGMINT_TEST_STRIDE"))
    stride = std::min<std::uint64_t>(stride, std::strtoull(asked, nullptr, 10));
  for (auto seed : test_seeds(1)) {
    const auto counts = cut_power_everywhere(scenario, seed, stride);
    ASSERT_TRUE(counts) << counts.failure().describe();
    ::testing::Test::RecordProperty("runs", std::to_string(counts->runs));
    EXPECT_GT(counts->runs, 10U);
  }
}
inline void expect_survives_days(const Scenario& scenario, std::size_t seeds) {
  const auto counts = survive_bad_days(scenario, test_seeds(seeds), SimFaults::rough());
  ASSERT_TRUE(counts) << counts.failure().describe();
  EXPECT_GT(counts->finished, 0U);
}

}  // namespace pgmint::sim

// How costs grow with a cluster and its history: small sisters of bench/scale_bench.cc, with bounds that a cost by size would break.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <thread>

#include "backup/testing_heap.h"
#include "backup/testing_scale.h"
#include "base/test_seed.h"
#include "repository/pack_account.h"
#include "repository/testing_repository.h"
#include "storage/memory_store.h"

namespace pgmint::backup {
namespace {

using testing::counts_heap;
using testing::heap_growth_during;
using testing::ScaledCluster;
using testing::ScaleShape;
using testing::Spread;

constexpr std::uint64_t kMiB = 1 << 20;
constexpr ByteCount kPackMemory{16 * kMiB};

struct Scale : ::testing::Test {
  std::uint64_t seed = test_seed();
  ::testing::ScopedTrace trace{__FILE__, __LINE__, fmt::format("PGMINT_TEST_SEED={}", seed)};

  struct Cost {
    std::uint64_t nothing_stored = 0;           ///< by a backup when nothing has changed
    std::uint64_t uniform_maps = 0;             ///< beside the pages, when some of every file have
    std::uint64_t uniform_memory = 0;
  };
  /// Pieces of the full's account may stand in packs of which nothing else is in use.
  void expect_whole_account(repository::Cluster& cluster, const BackupReport& report) {
    const auto root = repository::read_root(cluster.store(), cluster.context(), report.session, cluster.keys()).value();
    const auto packs = cluster.state().packs_of(cluster.state().snapshots().at(report.session));
    for (const auto& piece : root.account.value()) EXPECT_TRUE(packs.contains(piece.pack)) << "a piece would be collected";
    repository::RecordOpener opener(cluster.context(), cluster.keys());
    EXPECT_EQ(repository::read_pack_account(cluster.store(), cluster.context(), opener, root).value().value(),
              repository::measure_pack_use(cluster.store(), cluster.context(), opener, root).value());
  }
  /// Of `files` GiB.
  Cost cost_of(std::uint64_t files) {
    Cost cost;
    // Hardly compressed: many packs, so that the account of them has several pieces.
    ScaledCluster cluster({.files = files, .ratio = 0.9}, seed, TimePoint(std::chrono::hours(24 * 20'000)));
    auto opened = cluster.open(false);
    const auto made = cluster.make_full(opened);
    EXPECT_TRUE(made) << made.failure().describe();
    const auto take = [&](double change) {
      cluster.let_time_pass(1);
      const auto changed = cluster.archive_changes(opened, change, Spread::Uniform);
      EXPECT_TRUE(changed);
      Result<BackupReport> report = Error(Errc::Internal, "not run");
      cost.uniform_memory = heap_growth_during([&] { report = cluster.take(opened, kPackMemory); });
      EXPECT_TRUE(report) << report.failure().describe();
      if (!report) return BackupReport{};
      EXPECT_EQ(report->type, repository::BackupType::Incremental);
      EXPECT_EQ(report->changed_pages, *changed);
      return *report;
    };
    // Each backup has a pack of its own, which by its random name falls into one of the account's pieces, and these are of any length.
    cost.nothing_stored = ~std::uint64_t{0};
    for (int i = 0; i < 4; ++i) cost.nothing_stored = std::min(cost.nothing_stored, take(0).stored_bytes);
    const auto some = take(0.0005);
    cost.uniform_maps = some.stored_bytes - some.changed_pages * testing::kBlock;
    expect_whole_account(*opened.cluster, some);
    return cost;
  }
};

// The bounds below would hold for a counter that counts nothing.
TEST(CountedHeap, IsTheMostThatAllThreadsHeldAtOnce) {
  if (!counts_heap()) GTEST_SKIP() << "sanitizers bring an allocator of their own, which nobody counts";
  const auto grown = heap_growth_during([] {
    for (int i = 0; i < 3; ++i) Bytes(2 * kMiB);
    const Bytes kept(kMiB);
    std::jthread([] { Bytes(4 * kMiB); }).join();
  });
  EXPECT_GE(grown, 5 * kMiB);
  EXPECT_LE(grown, 5 * kMiB + (64U << 10));
}

TEST_F(Scale, WhatABackupCostsBesideThePagesGrowsWithTheFilesItTouches) {
  constexpr std::uint64_t kSmall = 12, kLarge = 132;
  const auto small = cost_of(kSmall), large = cost_of(kLarge);
  // The leaf of the tree that pg_control stands in, a piece of the account, the root.
  EXPECT_LE(small.nothing_stored, 48U << 10);
  EXPECT_LE(large.nothing_stored, 48U << 10) << "nothing changed: a cluster eleven times as large stores no more";
  // A map of 1 GiB takes 190 kB, each delta of it 100 bytes with its seal.
  EXPECT_LE(large.uniform_maps, kLarge * (210U << 10));
  EXPECT_LE(large.uniform_maps, 11.5 * static_cast<double>(small.uniform_maps));
  if (!counts_heap()) return;
  RecordProperty("memory", fmt::format("{} {}", small.uniform_memory, large.uniform_memory));  // --gtest_output=xml:FILE
  // A file's map, kept, would be 190 kB, 23 MB of all that there are more.
  EXPECT_LE(large.uniform_memory, small.uniform_memory + kMiB) << "120 GiB more";
}

TEST_F(Scale, ASmallFileCostsFewBytesOfMemory) {
  if (!counts_heap()) GTEST_SKIP() << "sanitizers bring an allocator of their own, which nobody counts";
  const auto growth_of = [&](std::uint64_t files) {
    ScaledCluster cluster({.files = files, .file_size = testing::kBlock, .files_per_relation = 1}, seed, TimePoint(std::chrono::hours(24 * 20'000)));
    auto opened = cluster.open(false);
    const auto made = cluster.make_full(opened);
    EXPECT_TRUE(made) << made.failure().describe();
    cluster.let_time_pass(1);
    EXPECT_TRUE(cluster.archive_changes(opened, 0, Spread::Uniform));
    return heap_growth_during([&] {
      const auto report = cluster.take(opened, kPackMemory);
      ASSERT_TRUE(report) << report.failure().describe();
      EXPECT_EQ(report->type, repository::BackupType::Incremental);
    });
  };
  constexpr std::uint64_t kFew = 4'000, kMany = 44'000;
  const auto few = growth_of(kFew), many = growth_of(kMany);
  RecordProperty("memory", fmt::format("{} {}", few, many));
  // 359 bytes a file: a million of them in less than 400 MB. A FileEntry alone, kept for each file of the parent, takes 230.
  EXPECT_LE(many - std::min(many, few), (kMany - kFew) * 380);
}

TEST_F(Scale, ALongLogIsFoldedInTheMemoryOfWhatChanged) {
  if (!counts_heap()) GTEST_SKIP() << "sanitizers bring an allocator of their own, which nobody counts";
  storage::MemoryStore store;
  repository::testing::TestRepository made(store, seed);
  auto& cluster = *made.cluster;
  // A full of 20,000 packs, whose set of packs alone takes more than a megabyte.
  const auto full = made.random.id<repository::SessionId>();
  ASSERT_TRUE(cluster.log().append(cluster.actor(), repository::BeginEntry{full, repository::SessionPurpose::Write, {}, made.clock.now()}));
  std::vector<repository::PackSummary> packs;
  for (std::uint32_t i = 0; i < 20'000; ++i) packs.push_back({{full, i}, 32 * kMiB, {}});
  repository::ManifestRoot root;
  root.session = full;
  root.name = "full";
  root.system_id = made.kSystemId;
  root.incarnation = repository::Incarnation(1);
  root.timeline = 1;
  root.tree.type = repository::RecordType::ManifestNode;
  root.tree.stored_length = 40;
  ASSERT_TRUE(repository::testing::publish(cluster, root, std::move(packs), {}, made.random));
  repository::testing::History history(cluster, made.random, made.clock, [](const repository::PackId&, std::uint64_t) {});
  ASSERT_TRUE(history.write({.backups = 200, .kept = 10, .replaced = 5, .emptied = 8}));

  std::unique_ptr<repository::Cluster> again;
  std::unique_ptr<repository::Repository> repository;
  const auto folded = heap_growth_during([&] {
    std::vector<repository::Unlock> unlocks(1);
    unlocks[0].key = made.key.clone();
    repository = repository::Repository::open(made.environment(), std::move(unlocks)).value();
    again = repository->find_cluster("main", std::nullopt).value();
  });
  EXPECT_EQ(again->state().snapshots().size(), 201U);
  for (const auto& [id, snapshot] : again->state().snapshots()) {
    EXPECT_GE(again->state().packs_of(snapshot).size(), 20'000U);
    EXPECT_EQ(snapshot.snap.added.capacity() + snapshot.snap.removed.capacity(), 0U) << "what the entry said of packs is kept beside their set";
  }
  // 20,000 packs for each of 200 backups are 4 million: 64 bytes each would be 256 MB.
  EXPECT_LE(folded, 10 * kMiB);
}

}  // namespace
}  // namespace pgmint::backup

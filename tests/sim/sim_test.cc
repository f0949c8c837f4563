// The simulation tested on a small protocol: packs first, then an entry in a log. The right one survives; each of the
// mistakes is found.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "sim/interleaver.h"
#include "sim/scenario.h"
#include "storage/blob_store_conformance.h"
#include "storage/retry_store.h"

namespace pgmint::sim {
namespace {

using storage::BlobInfo;
using storage::BlobStore;
using storage::Created;


storage::StoreUnderTest quiet() {
  auto world = std::make_shared<SimWorld>(1);
  return {{world}, world->connect()};
}
using storage::BlobStoreConformance;
INSTANTIATE_TEST_SUITE_P(Simulation, BlobStoreConformance,
                         testing::Values(storage::StoreFactory{"Quiet", quiet}), storage::factory_name);

// ---------------------------------------------------------------- the protocol

struct Mistakes {
  bool entry_before_packs = false;
  bool unknown_is_failure = false;  ///< goes on to the next slot without looking whether it has this one
};

constexpr int kPacks = 3;
std::string slot_name(std::uint64_t slot) { return fmt::format("log/{:04}", slot); }
std::string pack_name(const std::string& session, int n) { return fmt::format("p/{}-{}", session, n); }
Bytes pack_data(const std::string& session, int n) { return to_bytes(as_bytes(fmt::format("pack {} of {}", n, session))); }

Result<std::uint64_t> next_slot(BlobStore& store) {
  std::uint64_t n = 0;
  while (TRY(store.stat(slot_name(n)))) ++n;
  return n;
}

Status append_entry(BlobStore& store, const std::string& session, const Mistakes& mistakes) {
  auto slot = TRY(next_slot(store));
  for (int attempt = 0; attempt < 20; ++attempt) {
    auto created = store.create(slot_name(slot), as_bytes(session));
    if (created && *created == Created::Yes) return ok();
    if (!created && mistakes.unknown_is_failure) {
      ++slot;
      continue;
    }
    auto entry = TRY(store.read(slot_name(slot), 100));
    if (!entry) continue;  // not there, or not yet
    if (as_text(*entry) == session) return ok();
    ++slot;
  }
  return Error(Errc::Busy, "no slot to be had");
}

Status put_packs(SimWorld& world, BlobStore& store, const std::string& session) {
  for (int n = 0; n < kPacks; ++n) {
    const auto data = pack_data(session, n);
    for (int attempt = 0;; ++attempt) {
      auto created = store.create(pack_name(session, n), data);
      if (created && *created == Created::Yes) break;
      // A name of ours that exists is ours, but only bytes that can be read are known to be there.
      if (auto found = store.read(pack_name(session, n), 100); found && *found && **found == data) break;
      if (attempt == 8) return Error(Errc::Storage, "pack not stored");
      world.clock().sleep(std::chrono::seconds(1));
    }
  }
  return ok();
}

Scenario::Process writer(Mistakes mistakes = {}) {
  return [mistakes](SimWorld& world, BlobStore& store) -> Status {
    ByteArray<8> id;
    world.random().fill(id);
    const auto session = to_hex(id);
    if (mistakes.entry_before_packs) {
      TRY(append_entry(store, session, mistakes));
      return put_packs(world, store, session);
    }
    TRY(put_packs(world, store, session));
    return append_entry(store, session, mistakes);
  };
}

/// Deletes packs that no entry names, as if nobody could be about to name them.
Status careless_collector(SimWorld&, BlobStore& store) {
  std::vector<std::string> packs;
  TRY(store.list("p/", "", [&](const BlobInfo& info) {
    packs.push_back(info.name);
    return ok();
  }));
  std::set<std::string> live;
  TRY(store.list("log/", "", [&](const BlobInfo& info) -> Status {
    auto entry = TRY(store.read(info.name, 100));
    if (entry)
      for (int n = 0; n < kPacks; ++n) live.insert(pack_name(std::string(as_text(*entry)), n));
    return ok();
  }));
  for (const auto& pack : packs)
    if (!live.contains(pack)) TRY(store.remove(pack));
  return ok();
}

Status check_log(SimWorld&, BlobStore& store, const Aftermath& after) {
  // One look: what is on its way may land behind it between two.
  const auto entries = TRY(list_all(store, "log/"));
  std::set<std::string> sessions;
  for (std::uint64_t slot = 0; slot < entries.size(); ++slot) {
    if (entries[slot].name != slot_name(slot)) return Error(Errc::Corruption, "a gap in the log");
    const auto session = std::string(as_text(*TRY(store.read(slot_name(slot), 100))));
    if (!sessions.insert(session).second) return Error(Errc::Corruption, "committed twice: " + session);
    for (int n = 0; n < kPacks; ++n)
      if (TRY(store.read(pack_name(session, n), 100)) != pack_data(session, n))
        return Error(Errc::Corruption, fmt::format("entry {} without its pack {}", slot, n));
  }
  if (sessions.size() < static_cast<std::size_t>(std::count(after.finished.begin(), after.finished.end(), true)))
    return Error(Errc::Corruption, "a success that is not in the log");
  return ok();
}

Scenario scenario(std::string name, std::vector<Scenario::Process> actors) {
  return {std::move(name), writer(), std::move(actors), check_log};
}

// ---------------------------------------------------------------- what the simulation must find, and must not

TEST(Simulation, TheRightProtocolSurvivesEveryPowerCut) {
  auto counts = cut_power_everywhere(scenario("one writer", {writer()}), test_seeds(1)[0]);
  ASSERT_TRUE(counts) << counts.failure().describe();
  EXPECT_GT(counts->runs, 15u);
  auto two = cut_power_everywhere(scenario("two writers", {writer(), writer()}), test_seeds(1)[0]);
  ASSERT_TRUE(two) << two.failure().describe();
}

TEST(Simulation, TheRightProtocolSurvivesBadDays) {
  auto counts = survive_bad_days(scenario("three writers", {writer(), writer(), writer()}), test_seeds(400), SimFaults::rough());
  ASSERT_TRUE(counts) << counts.failure().describe();
  EXPECT_GT(counts->finished, counts->runs / 4) << "faults so dense that nothing is tested";
}

TEST(Simulation, PowerCutsFindAnEntryWrittenBeforeItsPacks) {
  auto counts = cut_power_everywhere(scenario("entry first", {writer({.entry_before_packs = true})}), 7);
  ASSERT_FALSE(counts);
  EXPECT_NE(counts.failure().message().find("without its pack"), std::string::npos) << counts.failure().message();
  EXPECT_NE(counts.failure().message().find("PGMINT_TEST_SEED=7"), std::string::npos);
}

TEST(Simulation, BadDaysFindAnUnknownTakenForAFailure) {
  std::vector<std::uint64_t> seeds(200);
  for (std::size_t i = 0; i < seeds.size(); ++i) seeds[i] = i;
  auto counts = survive_bad_days(scenario("no read back", {writer({.unknown_is_failure = true})}), seeds, SimFaults::rough());
  ASSERT_FALSE(counts);
  EXPECT_EQ(counts.failure().code(), Errc::Corruption) << counts.failure().message();
}

TEST(Simulation, InterleavingFindsACollectorThatIgnoresSessions) {
  std::vector<std::uint64_t> seeds(200);
  for (std::size_t i = 0; i < seeds.size(); ++i) seeds[i] = i;
  auto counts = survive_bad_days(scenario("collector", {writer(), careless_collector}), seeds, {});
  ASSERT_FALSE(counts);
  EXPECT_NE(counts.failure().message().find("without its pack"), std::string::npos) << counts.failure().message();
}

TEST(Simulation, ASeedRepeatsItself) {
  auto transcript = [](std::uint64_t seed) {
    SimWorld world(seed, SimFaults::rough());
    for (int round = 0; round < 5; ++round) {
      auto a = world.connect("a"), b = world.connect("b");
      Interleaver(seed).run({[&] { (void)writer()(world, *a); }, [&] { (void)writer()(world, *b); }});
    }
    return world.recent_operations();
  };
  EXPECT_EQ(transcript(11), transcript(11));
  EXPECT_NE(transcript(11), transcript(12));
}

// ---------------------------------------------------------------- the parts

TEST(SimStore, AfterThePowerCutNothingWorksAndTheWorldRemains) {
  for (auto side : kCutSides) {
    SimWorld world(3);
    auto store = world.connect();
    store->cut_power_at(1, side);
    ASSERT_TRUE(store->create("a", as_bytes("x")));
    EXPECT_FALSE(store->crashed());
    auto cut = store->create("b", as_bytes("x"));
    ASSERT_FALSE(cut);
    EXPECT_EQ(cut.failure().code(), Errc::Storage);
    EXPECT_TRUE(store->crashed());
    EXPECT_FALSE(store->read("a", 10));
    EXPECT_FALSE(store->create("c", {}));

    auto rebooted = world.connect();
    EXPECT_TRUE(rebooted->stat("a").value());
    EXPECT_EQ(rebooted->stat("b").value().has_value(), side == CutSide::After);
    EXPECT_FALSE(rebooted->stat("c").value());
    world.settle();
    EXPECT_EQ(rebooted->stat("b").value().has_value(), side != CutSide::Before);
  }
}

TEST(SimStore, ALatePutLandsAfterOthersHaveGoneOnAndNeverOverwrites) {
  SimFaults late;
  late.create_late = 1000;
  SimWorld world(5, late);
  auto store = world.connect();
  EXPECT_FALSE(store->create("a", as_bytes("late")));
  EXPECT_FALSE(store->create("b", as_bytes("late")));
  world.set_faults({});
  ASSERT_TRUE(store->create("b", as_bytes("other")));
  for (int i = 0; i < 60; ++i) ASSERT_TRUE(store->stat("x"));
  EXPECT_TRUE(store->stat("a").value());
  EXPECT_EQ(as_text(*store->read("b", 10).value()), "other");
}

TEST(SimStore, ADuplicatedPutComesBackAfterItsRemoval) {
  SimFaults duplicated;
  duplicated.create_duplicated = 1000;
  SimWorld world(5, duplicated);
  auto store = world.connect();
  EXPECT_EQ(store->create("a", as_bytes("x")).value(), Created::Yes);
  ASSERT_TRUE(store->remove("a"));
  world.settle();
  EXPECT_TRUE(store->stat("a").value()) << "which is why closed sessions are swept again";
}

TEST(SimStore, TheRetryStoreCopesWithIt) {
  for (auto seed : test_seeds(300)) {
    SCOPED_TRACE(fmt::format("PGMINT_TEST_SEED={}", seed));
    auto faults = SimFaults::rough();
    faults.exists_early = 0;
    SimWorld world(seed, faults);
    auto store = storage::make_retry_store(world.connect(), {}, world.clock(), world.random());
    for (int i = 0; i < 20; ++i) {
      const auto name = fmt::format("p/{}", i), text = fmt::format("object {}", i);
      auto created = store->create(name, as_bytes(text));
      ASSERT_TRUE(created) << created.failure().describe() << world.recent_operations();
      ASSERT_EQ(*created, Created::Yes) << name << "\n" << world.recent_operations();
      ASSERT_EQ(as_text(*store->read(name, 100).value()), text);
    }
    ASSERT_EQ(list_all(*store, "p/").value().size(), 20u);
    for (int i = 0; i < 20; i += 2) ASSERT_TRUE(store->remove(fmt::format("p/{}", i)));
  }
}

TEST(Interleaver, RunsOneActorAtATimeInAnOrderFromTheSeed) {
  auto order = [](std::uint64_t seed) {
    std::string text;  // unguarded: only one actor runs at a time
    auto actor = [&text](char c) {
      return [&text, c] {
        for (int i = 0; i < 8; ++i) {
          Interleaver::yield();
          text += c;
        }
      };
    };
    Interleaver(seed).run({actor('a'), actor('b'), actor('c')});
    return text;
  };
  EXPECT_EQ(order(1), order(1));
  EXPECT_NE(order(1), order(2));
  EXPECT_EQ(order(3).size(), 24u);
}

}  // namespace
}  // namespace pgmint::sim

// What vanishes at the source: it stays in the mirror for its time, goes then, and never because somebody emptied the source.
#include "repository/mirror_fixture.h"
#include "storage/forwarding_store.h"

namespace pgmint::repository {
namespace {

using namespace std::chrono_literals;

class VanishedTest : public MirrorTest {};

TEST_F(VanishedTest, WhatVanishedAtTheSourceStaysForItsTimeAndGoesThen) {
  const auto one = back_up("one");
  for (const auto* name : {"two", "three", "four"}) back_up(name);
  must_run();
  const auto before = packs_in_mirror();
  forget_and_collect(one);
  auto report = must_run();
  EXPECT_EQ(report.clusters[0].vanished.objects, 4U);  // three packs and the root
  EXPECT_EQ(report.clusters[0].next_removal, f.clock.now() + 30 * 24h);
  EXPECT_EQ(packs_in_mirror(), before);
  expect_sound({"four", "three", "two"});
  f.clock.sleep(29 * 24h);
  EXPECT_EQ(must_run().clusters[0].removed.objects, 0U);
  f.clock.sleep(25h);
  options.dry_run = true;
  const auto planned = run();
  EXPECT_EQ(planned->clusters[0].removed.objects, 4U);
  EXPECT_EQ(packs_in_mirror(), before);
  options.dry_run = false;
  EXPECT_EQ(must_run().clusters[0].removed.objects, 4U);
  EXPECT_EQ(packs_in_mirror(), before - 3);
  EXPECT_TRUE(storage::list_all(mirror, "mirror/absent/")->empty());
  expect_sound({"four", "three", "two"});
}

/// A mirror whose store has locked some objects.
class LockedMirror final : public storage::ForwardingStore {
 public:
  LockedMirror(storage::BlobStore& to, std::set<std::string>& locked) : ForwardingStore(std::make_unique<Shared>(to)), locked_(locked) {}
  Result<std::vector<std::string>> remove_unlocked(std::span<const std::string> names) override {
    std::vector<std::string> left;
    for (const auto& name : names) {
      if (locked_.contains(name)) left.push_back(name);
      else TRY(inner().remove(name));
    }
    return left;
  }

 private:
  std::set<std::string>& locked_;
};

TEST_F(VanishedTest, WhatIsLockedInTheMirrorGoesOnceItsLockHasPassed) {
  const auto one = back_up("one");
  for (const auto* name : {"two", "three", "four"}) back_up(name);
  must_run();
  forget_and_collect(one);
  must_run();
  f.clock.sleep(31 * 24h);
  std::set<std::string> locked{manifest_name(f.cluster->id(), one)};
  LockedMirror store(mirror, locked);
  const auto run_locked = [&] {
    auto report = replicate(*f.store, store, f.clock, f.random, options);
    EXPECT_TRUE(report) << report.failure().describe();
    return report ? report->clusters.at(0).removed.objects : 99;
  };
  EXPECT_EQ(run_locked(), 3U);
  EXPECT_TRUE(mirror.stat(manifest_name(f.cluster->id(), one))->has_value());
  EXPECT_FALSE(storage::list_all(mirror, "mirror/absent/")->empty()) << "it is remembered since when it is not needed";
  locked.clear();
  EXPECT_EQ(run_locked(), 1U);
  EXPECT_FALSE(mirror.stat(manifest_name(f.cluster->id(), one))->has_value());
  EXPECT_TRUE(storage::list_all(mirror, "mirror/absent/")->empty());
  expect_sound({"four", "three", "two"});
}

TEST_F(VanishedTest, RemovalsThatAreCutOffGoOn) {
  const auto one = back_up("one"), two = back_up("two");
  for (const auto* name : {"three", "four", "five", "six"}) back_up(name);
  must_run();
  forget_and_collect(one);
  must_run();
  f.clock.sleep(1h);
  forget_and_collect(two);
  must_run();
  f.clock.sleep(30 * 24h - 30min);
  fail_each_operation(*f.memory, faulty, mirror, [&] { return runs(); }, [&](bool done) {
    const auto names = sound_names();
    ASSERT_TRUE(names) << names.failure().describe();
    EXPECT_EQ(*names, (std::vector<std::string>{"five", "four", "six", "three"}));
    for (const auto& [name, data] : f.memory->snapshot()) ASSERT_TRUE(mirror.stat(name)->has_value()) << name;
    EXPECT_TRUE(mirror.stat(manifest_name(f.cluster->id(), two))->has_value()) << "it is not due";
    if (done) {
      EXPECT_FALSE(mirror.stat(manifest_name(f.cluster->id(), one))->has_value());
    }
  });
}

TEST_F(VanishedTest, WhatIsThereAgainStaysForTheWholeTimeOnceMore) {
  back_up("one");
  for (const auto* name : {"two", "three"}) back_up(name);
  must_run();
  const auto pack = storage::list_all(*f.memory, packs_prefix(f.cluster->id()))->front().name;
  const auto bytes = *f.memory->read(pack, 1 << 20);
  ASSERT_TRUE(f.memory->remove(pack));  // a mistake, or somebody who means harm: no entry lets it go
  must_run();
  f.clock.sleep(20 * 24h);
  ASSERT_TRUE(f.memory->create(pack, *bytes));
  must_run();
  ASSERT_TRUE(f.memory->remove(pack));
  must_run();
  f.clock.sleep(20 * 24h);
  must_run();
  EXPECT_TRUE(mirror.stat(pack)->has_value());
}

TEST_F(VanishedTest, ManyAreNotRemovedUnlessThatIsWanted) {
  const auto one = back_up("one"), two = back_up("two");
  back_up("three");
  must_run();
  const auto before = packs_in_mirror();
  forget_and_collect(one);
  forget_and_collect(two);
  must_run();
  f.clock.sleep(31 * 24h);
  const auto report = must_run();
  EXPECT_TRUE(report.clusters[0].held_back);
  EXPECT_EQ(packs_in_mirror(), before);
  options.remove_many = true;
  EXPECT_FALSE(must_run().clusters[0].held_back);
  EXPECT_EQ(packs_in_mirror(), before - 6);
  expect_sound({"three"});
}

TEST_F(VanishedTest, ASourceThatWasEmptiedTakesNothingFromTheMirror) {
  back_up("one");
  must_run();
  const auto before = mirror.snapshot();
  const auto whole = f.memory->snapshot();
  const auto still_there = [&] {
    for (const auto& [name, data] : before) {
      if (!name.starts_with("mirror/")) {
        ASSERT_TRUE(mirror.stat(name)->has_value()) << name;
      }
    }
  };
  // Packs, manifests and WAL: nothing goes before its time, and then it is too many.
  for (const auto& [name, data] : whole) {
    if (name.find("/p/") != std::string::npos || name.find("/snap/") != std::string::npos || name.find("/wal/") != std::string::npos) {
      ASSERT_TRUE(f.memory->remove(name));
    }
  }
  must_run();
  f.clock.sleep(31 * 24h);
  EXPECT_TRUE(must_run().clusters[0].held_back);
  still_there();
  // The log too, then the keys, then everything.
  for (const auto& [name, data] : whole) {
    if (name.find("/log/") != std::string::npos) {
      ASSERT_TRUE(f.memory->remove(name));
    }
  }
  options.remove_many = true;
  auto report = run();
  ASSERT_TRUE(report);
  ASSERT_TRUE(report->clusters[0].failure);
  EXPECT_EQ(report->clusters[0].failure->code(), Errc::Corruption);
  still_there();
  for (const auto& [name, data] : whole) {
    if (name != "format") {
      ASSERT_TRUE(f.memory->remove(name));
    }
  }
  report = run();
  ASSERT_TRUE(report);
  EXPECT_TRUE(report->clusters[0].failure);
  ASSERT_TRUE(f.memory->remove("format"));
  report = run();
  ASSERT_FALSE(report);
  EXPECT_EQ(report.failure().code(), Errc::Precondition);
  still_there();
  expect_sound({"one"});
}

}  // namespace
}  // namespace pgmint::repository

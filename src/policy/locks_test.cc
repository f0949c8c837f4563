#include "policy/locks.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <set>

#include "base/test_seed.h"
#include "repository/layout.h"
#include "repository/log_fixture.h"

namespace pgmint::policy {
namespace {

using namespace repository;
using namespace std::chrono_literals;
using std::chrono::days;

constexpr days kRenewed{35};
const auto kSize = *postgres::WalSegmentSize::of(1 << 20);
constexpr std::uint64_t kSegment = 1 << 20;
const ClusterId kCluster = [] {
  ClusterId id;
  id.bytes[0] = std::byte{9};
  return id;
}();

TimePoint on_day(double day) { return TimePoint(days(20'000)) + std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::duration<double>(day * 86400)); }
std::string segment(std::uint64_t n, std::uint32_t timeline = 1) {
  return wal_name(kCluster, 7, Incarnation(1), postgres::segment_file_name(postgres::TimelineId(timeline), postgres::SegmentNumber(n), kSize));
}
std::string pack_of(unsigned session, std::uint32_t number) { return pack_name(kCluster, pack_id(session, number)); }

/// A log and what rules say of its backups.
struct Scene {
  LogFixture log;
  WalInventory inventory{kSize};
  std::map<SessionId, LockPlan::Backup> backups;
  LockRules rules{policy::days(30), kRenewed};

  Scene() { EXPECT_TRUE(log.genesis()); }

  /// @param until  day up to which it is to be locked
  void backup(unsigned n, std::vector<PackSummary> added, double published, double until, double start = 5, std::vector<PackId> removed = {}, std::optional<unsigned> parent = {}) {
    log.now = on_day(published);
    ASSERT_TRUE(log.begin(n, parent));
    auto snap = snap_of(n, std::move(added), std::move(removed));
    snap.start_lsn = static_cast<std::uint64_t>(start * static_cast<double>(kSegment));
    snap.stop_lsn = snap.start_lsn + kSegment;
    ASSERT_TRUE(log.write(snap));
    backups[snap.session] = {on_day(until), on_day(until), {log.now, true}};
  }
  LockPlan plan(double now) const { return {log.state, kCluster, backups, {{{7, Incarnation(1)}, inventory}}, rules, on_day(now)}; }
};

TEST(LockPlan, APackIsLockedForTheLastBackupThatNeedsIt) {
  Scene scene;
  scene.backup(2, {pack(2, 0), pack(2, 1)}, 0, 40);
  scene.backup(3, {pack(3, 0)}, 1, 90, 6, {pack_id(2, 1)}, 2);
  const auto plan = scene.plan(2);
  EXPECT_EQ(plan.until(pack_of(2, 0)), on_day(90)) << "shared";
  EXPECT_EQ(plan.until(pack_of(2, 1)), on_day(40));
  EXPECT_EQ(plan.until(pack_of(3, 0)), on_day(90));
  EXPECT_EQ(plan.until(manifest_name(kCluster, session_id(2))), on_day(40));
  EXPECT_EQ(plan.until(pack_of(9, 0)), std::nullopt) << "nothing needs it";
  for (const auto& name : {std::string("format"), slot_name("a"), keyring_name(kCluster, Epoch(1)), log_entry_name(kCluster, 0, 5)}) EXPECT_EQ(plan.until(name), on_day(90)) << name;
  EXPECT_EQ(plan.until("mirror/mark/0000000000000001"), std::nullopt);
  EXPECT_EQ(plan.until("probe/1"), std::nullopt);
  EXPECT_EQ(plan.until(keyring_name(ClusterId{}, Epoch(1))), std::nullopt) << "another cluster's";
}

TEST(LockPlan, WhatNoRuleKeepsIsNotExtended) {
  Scene scene;
  scene.backup(2, {pack(2, 0)}, 0, 40);
  scene.backup(3, {pack(3, 0)}, 1, 90);
  scene.backups.erase(session_id(3));
  const auto plan = scene.plan(2);
  EXPECT_EQ(plan.until(pack_of(3, 0)), std::nullopt);
  EXPECT_EQ(plan.until(manifest_name(kCluster, session_id(3))), std::nullopt);
  EXPECT_EQ(plan.longest(), on_day(40));
}

TEST(LockPlan, WhatRunsNowKeepsWhatItBuildsOn) {
  Scene scene;
  scene.backup(2, {pack(2, 0)}, 0, 40);
  scene.backups.clear();
  scene.log.now = on_day(10);
  ASSERT_TRUE(scene.log.begin(3, 2));
  const auto plan = scene.plan(10);
  EXPECT_EQ(plan.until(pack_of(2, 0)), on_day(45));
  EXPECT_EQ(plan.until(manifest_name(kCluster, session_id(2))), on_day(45));
}

TEST(LockPlan, WalIsLockedUntilTheWindowHasPassedABackupBehindIt) {
  Scene scene;
  scene.backup(2, {}, 0, 400, 5.5);
  scene.backup(3, {}, 10, 400, 15.5);
  scene.backup(4, {}, 12, 20, 25.5);  // does not last until the window has passed it
  for (std::uint64_t s = 1; s < 40; ++s) scene.inventory.add(postgres::segment_file_name(postgres::TimelineId(1), postgres::SegmentNumber(s), kSize), 1);
  const auto plan = scene.plan(13);
  EXPECT_EQ(plan.until(segment(4)), on_day(30)) << "before the first one";
  EXPECT_EQ(plan.until(segment(10)), on_day(40));
  EXPECT_EQ(plan.until(segment(15)), on_day(400)) << "the backup itself needs it";
  EXPECT_EQ(plan.until(segment(20)), on_day(48)) << "no end in sight: 35 days from now";
  EXPECT_EQ(plan.until(segment(20) + ".partial"), on_day(48));
  EXPECT_EQ(plan.until(segment(15) + ".00000028.backup"), on_day(400));
  EXPECT_EQ(plan.until(wal_directory(kCluster, 7, Incarnation(1), 2) + "00000002.history"), on_day(400));
  EXPECT_EQ(plan.until(segment(10, 2)), on_day(48)) << "a timeline that no backup is on";
}

TEST(LockPlan, WhileExpireStandsStillWalStaysLocked) {
  Scene scene;
  scene.backup(2, {}, 0, 400, 5.5);
  scene.inventory.add(postgres::segment_file_name(postgres::TimelineId(1), postgres::SegmentNumber(4), kSize), 1);
  EXPECT_EQ(scene.plan(50).until(segment(4)), on_day(30));
  scene.rules.expire_behind = days(25);
  EXPECT_EQ(scene.plan(50).until(segment(4)), on_day(55)) << "it is day 25 for expire";
  scene.rules.expire_behind = days(1000);
  EXPECT_EQ(scene.plan(1000).until(segment(4)), on_day(1030)) << "for 30 days, or 35 from each look on";
}

TEST(LockPlan, BelowTheFloorsWalIsNotExtended) {
  Scene scene;
  scene.backup(2, {}, 0, 400, 5.5);
  scene.backup(3, {}, 10, 400, 15.5);
  scene.inventory.add(postgres::segment_file_name(postgres::TimelineId(1), postgres::SegmentNumber(7), kSize), 1);
  ASSERT_TRUE(scene.log.write(FloorEntry{{{7, Incarnation(1), 1, 5 * kSegment}}, {{7, Incarnation(1), 1, 15 * kSegment}}}));
  const auto plan = scene.plan(50);
  EXPECT_EQ(plan.until(segment(4)), std::nullopt);
  EXPECT_EQ(plan.until(segment(5)), on_day(400)) << "a backup starts in it";
  EXPECT_EQ(plan.until(segment(10)), std::nullopt) << "between two backups, and out of the window";
  EXPECT_EQ(plan.until(segment(15)), on_day(400));
  EXPECT_NE(plan.until(segment(30)), std::nullopt);
}

TEST(LockBackup, FollowsWhatKeepsIt) {
  const auto now = on_day(100);
  Verdict verdict;
  verdict.keep = false;
  EXPECT_EQ(lock_backup(verdict, now, kRenewed), std::nullopt);
  verdict.keep = true;
  verdict.firmly_until = on_day(105);
  EXPECT_EQ(lock_backup(verdict, now, kRenewed), on_day(105)) << "not a day longer";
  verdict.open_end = true;
  EXPECT_EQ(lock_backup(verdict, now, kRenewed), on_day(135));
  verdict.firmly_until = on_day(400);
  EXPECT_EQ(lock_backup(verdict, now, kRenewed), on_day(400));
  EXPECT_EQ(lock_at_least(on_day(400), now, kRenewed), on_day(134));
  EXPECT_EQ(lock_at_least(on_day(110), now, kRenewed), on_day(110));
}

RetentionRules random_rules(SeededRandom& random) {
  RetentionRules rules;
  const auto maybe = [&](unsigned most) { return random.below(3) == 0 ? std::optional<Period>() : std::optional(policy::days(static_cast<unsigned>(random.below(most)))); };
  rules.daily = maybe(60);
  rules.weekly = maybe(120);
  rules.monthly = maybe(200);
  rules.yearly = maybe(500);
  rules.window = maybe(40);
  if (random.below(3) == 0) rules.count = static_cast<unsigned>(random.below(8));
  rules.minimum = 1 + static_cast<unsigned>(random.below(3));
  return rules;
}

// Verdicts say of the future what comes about, whatever backups follow.
TEST(LockProperties, WhatIsKeptFirmlyIsKeptUntilThen) {
  const auto seed = test_seed();
  SCOPED_TRACE(fmt::format("PGMINT_TEST_SEED={}", seed));
  SeededRandom random(seed);
  const TimeZone zones[] = {TimeZone::utc(), *TimeZone::named("America/New_York"), *TimeZone::named("Asia/Tokyo")};
  for (int round = 0; round < 60; ++round) {
    const auto rules = random_rules(random);
    const auto& zone = zones[random.below(3)];
    std::vector<BackupFact> facts;
    std::vector<TimePoint> firm;
    double day = 0;
    for (int i = 0; i < 120; ++i) {
      day += static_cast<double>(random.below(30'000)) / 10'000;
      const auto now = on_day(day);
      const auto verdicts = decide(facts, rules, now, zone);
      for (std::size_t b = 0; b < facts.size(); ++b) {
        EXPECT_TRUE(verdicts[b].keep || now >= firm[b]) << facts[b].name << " went before " << format_rfc3339(firm[b]) << " at " << format_rfc3339(now);
        if (verdicts[b].keep && !verdicts[b].open_end) {
          EXPECT_GT(verdicts[b].firmly_until, now) << "something keeps it";
          // Not longer than it is wanted: nothing else comes, and it goes.
          EXPECT_FALSE(decide(facts, rules, verdicts[b].firmly_until + 61min, zone)[b].keep && !decide(facts, rules, verdicts[b].firmly_until + 61min, zone)[b].open_end) << facts[b].name;
        }
        firm[b] = std::max(firm[b], verdicts[b].keep ? verdicts[b].firmly_until : TimePoint{});
      }
      BackupFact fact;
      fact.time = now;
      fact.order = facts.size();
      fact.name = fmt::format("b{}", i);
      if (random.below(8) == 0) fact.hold = "why";
      if (fact.hold && random.below(2) == 0) fact.hold_until = now + days(random.below(90));
      if (random.below(8) == 0) fact.retain_until = now + days(random.below(90));
      facts.push_back(std::move(fact));
      firm.push_back(TimePoint{});
    }
  }
}

/// A bucket with locks, of names alone. What is to be locked is created locked; no lock is ever shortened.
struct Bucket {
  std::map<std::string, TimePoint> until;
  std::uint64_t extended = 0;
  void create(const std::string& name, TimePoint now) { until[name] = now + kRenewed; }
  void look(const LockPlan& plan, TimePoint now) {
    for (auto& [name, lock] : until) {
      const auto wanted = plan.until(name);
      if (!wanted || lock >= lock_at_least(*wanted, now, kRenewed)) continue;
      EXPECT_GT(*wanted, lock) << "a lock is never shortened";
      lock = *wanted;
      ++extended;
    }
  }
};

// Years of backups that build on each other, expiry every day, and a look at the locks now and then but never more than a month apart.
TEST(LockProperties, NothingThatABackupNeedsIsEverUnlockedWhileRulesKeepIt) {
  const auto seed = test_seed();
  SCOPED_TRACE(fmt::format("PGMINT_TEST_SEED={}", seed));
  SeededRandom random(seed);
  for (int round = 0; round < 12; ++round) {
    Scene scene;
    Bucket bucket;
    const auto rules = random_rules(random);
    const auto zone = TimeZone::utc();
    scene.rules.wal_window = policy::days(static_cast<unsigned>(random.below(60)));
    std::vector<BackupFact> facts;
    std::vector<unsigned> sessions;
    std::map<std::string, std::set<std::string>> needs;  // by a backup's name
    std::optional<unsigned> newest;
    std::uint64_t position = 2, floor = 0;
    double next_look = static_cast<double>(random.below(31));
    unsigned n = 2;
    bucket.create("format", on_day(0));
    const auto verdicts = [&](TimePoint now) { return decide(facts, rules, now, zone); };
    for (double day = 0; day < 500; day += 1) {
      const auto now = on_day(day);
      for (const auto last = position + 1 + random.below(4); position < last; ++position) {
        bucket.create(segment(position), now);
        scene.inventory.add(postgres::segment_file_name(postgres::TimelineId(1), postgres::SegmentNumber(position), kSize), 1);
      }
      if (random.below(4) != 0) {
        scene.log.now = now;
        ASSERT_TRUE(scene.log.begin(n, newest));
        std::vector<PackId> removed;
        std::set<std::string> own;
        if (newest)
          for (const auto& pack : scene.log.state.packs_of(scene.log.state.snapshots().at(session_id(*newest)))) {
            if (random.below(12) == 0) removed.push_back(pack.id);
            else own.insert(pack_name(kCluster, pack.id));
          }
        std::vector<PackSummary> added;
        for (std::uint32_t i = 0; i < 1 + random.below(3); ++i) {
          added.push_back(pack(n, i));
          own.insert(pack_of(n, i));
          bucket.create(pack_of(n, i), now);
        }
        auto snap = snap_of(n, added, removed);
        snap.start_lsn = (position - 1) * kSegment + 5;
        snap.stop_lsn = snap.start_lsn + kSegment;
        bucket.create(segment(position), now);
        scene.inventory.add(postgres::segment_file_name(postgres::TimelineId(1), postgres::SegmentNumber(position), kSize), 1);
        own.insert({segment(position - 1), segment(position), "format", manifest_name(kCluster, session_id(n))});
        ++position;
        bucket.create(manifest_name(kCluster, session_id(n)), now);
        ASSERT_TRUE(scene.log.write(snap));
        BackupFact fact;
        fact.time = now;
        fact.order = n;
        fact.name = fmt::format("b{}", n);
        if (random.below(10) == 0) fact.hold = "why";
        if (fact.hold && random.below(2) == 0) fact.hold_until = now + days(random.below(90));
        if (random.below(10) == 0) fact.retain_until = now + days(random.below(90));
        facts.push_back(fact);
        sessions.push_back(n);
        needs[fact.name] = std::move(own);
        newest = n++;
      }
      if (day >= next_look) {
        const auto all = verdicts(now);
        scene.backups.clear();
        for (std::size_t i = 0; i < facts.size(); ++i)
          if (const auto until = lock_backup(all[i], now, kRenewed)) scene.backups[session_id(sessions[i])] = {*until, all[i].firmly_until, {facts[i].time, true}};
        bucket.look(scene.plan(day), now);
        next_look = day + 20 + static_cast<double>(random.below(12));
      }
      // Just before the next day, and before its expiry and its look.
      const auto later = now + 24h - 1s;
      const auto all = verdicts(later);
      for (std::size_t i = 0; i < facts.size(); ++i) {
        if (!all[i].keep) continue;
        for (const auto& name : needs.at(facts[i].name)) ASSERT_GT(bucket.until.at(name), later) << name << " of " << facts[i].name << " on day " << day << ", round " << round;
      }
      // And any moment of the window can be recovered: WAL from the newest backup before it on.
      const auto from = window_start(later, scene.rules.wal_window);
      std::uint64_t base = 0;
      for (std::size_t i = 0; i < facts.size(); ++i)
        if (all[i].keep && facts[i].time <= from) base = std::max(base, scene.log.state.snapshots().at(session_id(sessions[i])).snap.start_lsn);
      // A floor never falls, though what it stood on goes.
      if (base > floor) {
        floor = base;
        scene.log.now = later;
        ASSERT_TRUE(scene.log.write(FloorEntry{{}, {{7, Incarnation(1), 1, floor}}}));
      }
      for (auto s = floor == 0 ? position : floor / kSegment; s < position; ++s) ASSERT_GT(bucket.until.at(segment(s)), later) << segment(s) << " on day " << day << ", round " << round;
      // Expiry. The newest is never let go: minimum.
      for (std::size_t i = facts.size(); i-- > 0;)
        if (!all[i].keep) {
          ASSERT_NE(sessions[i], *newest);
          scene.log.now = later;
          ASSERT_TRUE(scene.log.write(ForgetEntry{session_id(sessions[i])}));
          facts.erase(facts.begin() + static_cast<std::ptrdiff_t>(i));
          sessions.erase(sessions.begin() + static_cast<std::ptrdiff_t>(i));
        }
    }
    EXPECT_GT(bucket.extended, 0u);
  }
}

}  // namespace
}  // namespace pgmint::policy

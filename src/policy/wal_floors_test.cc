#include "policy/wal_floors.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "base/test_seed.h"
#include "repository/collect_wal.h"
#include "repository/log_fixture.h"

namespace pgmint::policy {
namespace {

using namespace repository;
using namespace std::chrono_literals;
using postgres::Lsn;
using postgres::SegmentNumber;
using postgres::TimelineHistory;
using postgres::TimelineId;
using postgres::WalSegmentSize;

const auto kSize = *WalSegmentSize::of(1 << 20);
constexpr std::uint64_t kSegment = 1 << 20;

/// A log, an archive and the facts about its backups. Positions in segments.
struct Scene {
  LogFixture log;
  WalInventory inventory{kSize};
  std::map<SessionId, WalBackup> backups;

  Scene() { EXPECT_TRUE(log.genesis()); }

  void wal(std::uint32_t timeline, std::uint64_t first, std::uint64_t last) {
    for (auto s = first; s <= last; ++s) inventory.add(postgres::segment_file_name(TimelineId(timeline), SegmentNumber(s), kSize), 100);
  }
  void history(std::uint32_t timeline, const std::vector<std::pair<std::uint32_t, double>>& switches) {
    std::string text;
    for (const auto& [left, lsn] : switches) text += fmt::format("{}\t{}\twhy\n", left, postgres::format(at(lsn)));
    inventory.add_history(TimelineId(timeline), *TimelineHistory::parse(TimelineId(timeline), text));
  }
  static Lsn at(double segments) { return Lsn(static_cast<std::uint64_t>(segments * static_cast<double>(kSegment))); }

  Status publish(unsigned n, std::uint32_t timeline, double start, double stop, int day, bool reliable = true) {
    auto snap = snap_of(n, {});
    snap.timeline = timeline;
    snap.start_lsn = at(start).value();
    snap.stop_lsn = at(stop).value();
    log.now = on_day(day);
    TRY(log.write(snap));
    backups[snap.session] = {log.now, reliable};
    return ok();
  }
  Status backup(unsigned n, std::uint32_t timeline, double start, double stop, int day, bool reliable = true) {
    log.now = on_day(day);
    TRY(log.begin(n));
    return publish(n, timeline, start, stop, day, reliable);
  }
  static TimePoint on_day(int day) { return TimePoint(std::chrono::days(20'000 + day)); }

  FloorEntry plan(int window_from) const {
    return plan_floors(log.state, {{{7, Incarnation(1)}, inventory}}, backups, on_day(window_from));
  }
  /// As text: "1: 3.5 7.0", floor and window floor by timeline, in segments; "-" none.
  std::string text(int window_from) const {
    const auto entry = plan(window_from);
    std::map<std::uint32_t, std::pair<std::string, std::string>> lines;
    const auto number = [](std::uint64_t lsn) { return fmt::format("{:.1f}", static_cast<double>(lsn) / static_cast<double>(kSegment)); };
    for (const auto& line : entry.lines) lines[line.timeline].first = number(line.lsn);
    for (const auto& line : entry.window_lines) lines[line.timeline].second = number(line.lsn);
    std::string out;
    for (const auto& [timeline, both] : lines)
      out += fmt::format("{}{}: {} {}", out.empty() ? "" : ", ", timeline, both.first.empty() ? "-" : both.first, both.second.empty() ? "-" : both.second);
    return out;
  }
};

TEST(WalFloors, WithoutBackupsNothingGoes) {
  Scene scene;
  scene.wal(1, 1, 9);
  EXPECT_EQ(scene.text(30), "");
}

TEST(WalFloors, TheFloorIsTheOldestBackupAndTheWindowsTheNewestBeforeIt) {
  Scene scene;
  scene.wal(1, 1, 50);
  ASSERT_TRUE(scene.backup(2, 1, 5.5, 6, 0));
  ASSERT_TRUE(scene.backup(3, 1, 15.5, 16, 10));
  ASSERT_TRUE(scene.backup(4, 1, 25.5, 26, 20));
  ASSERT_TRUE(scene.backup(5, 1, 35.5, 36, 30));
  EXPECT_EQ(scene.text(25), "1: 5.5 25.5");
  EXPECT_EQ(scene.text(20), "1: 5.5 25.5") << "it ended just then";
  EXPECT_EQ(scene.text(19), "1: 5.5 15.5");
  EXPECT_EQ(scene.text(-5), "1: 5.5 5.5") << "younger than the window: all that there is";
}

TEST(WalFloors, OnlyWhatRisesIsSaid) {
  Scene scene;
  scene.wal(1, 1, 50);
  ASSERT_TRUE(scene.backup(2, 1, 5.5, 6, 0));
  ASSERT_TRUE(scene.backup(3, 1, 15.5, 16, 10));
  ASSERT_TRUE(scene.log.write(scene.plan(15)));
  EXPECT_EQ(scene.text(15), "");
  EXPECT_EQ(scene.text(5), "") << "a longer window does not bring anything back";
  ASSERT_TRUE(scene.log.write(ForgetEntry{session_id(2)}));
  EXPECT_EQ(scene.text(15), "1: 15.5 -");
}

TEST(WalFloors, AWindowDoesNotStandOnADamagedBackup) {
  Scene scene;
  scene.wal(1, 1, 50);
  ASSERT_TRUE(scene.backup(2, 1, 5.5, 6, 0));
  ASSERT_TRUE(scene.backup(3, 1, 15.5, 16, 10, false));
  EXPECT_EQ(scene.text(20), "1: 5.5 5.5");
}

TEST(WalFloors, ARunningBackupHoldsBackWhatItMayNeed) {
  Scene scene;
  scene.wal(1, 1, 50);
  ASSERT_TRUE(scene.backup(2, 1, 5.5, 6, 0));
  scene.log.now = Scene::on_day(5);
  ASSERT_TRUE(scene.log.begin(9));  // will start at 10 or so; nobody knows yet
  ASSERT_TRUE(scene.backup(3, 1, 15.5, 16, 10));
  EXPECT_EQ(scene.text(20), "1: 5.5 5.5");
  ASSERT_TRUE(scene.log.write(scene.plan(20)));
  EXPECT_TRUE(scene.publish(9, 1, 10.5, 17, 21)) << "so that it may be published";
}

TEST(WalFloors, WhatAReaderReadsHoldsBoth) {
  Scene scene;
  scene.wal(1, 1, 50);
  ASSERT_TRUE(scene.backup(2, 1, 5.5, 6, 0));
  ASSERT_TRUE(scene.backup(3, 1, 15.5, 16, 10));
  scene.log.now = Scene::on_day(12);
  ASSERT_TRUE(scene.log.begin(9, 2, SessionPurpose::Read));
  ASSERT_TRUE(scene.log.write(ForgetEntry{session_id(2)}));
  EXPECT_EQ(scene.text(20), "1: 5.5 5.5");
  ASSERT_TRUE(scene.log.write(scene.plan(20)));
}

TEST(WalFloors, EachTimelineStandsOnABackupThatLeadsToIt) {
  // Timeline 2 left timeline 1 at 20; its first backup came late. Until then the way to it leads over the backup at 15.5.
  Scene scene;
  scene.wal(1, 1, 30);
  scene.wal(2, 20, 60);
  scene.history(2, {{1, 20.2}});
  ASSERT_TRUE(scene.backup(2, 1, 5.5, 6, 0));
  ASSERT_TRUE(scene.backup(3, 1, 15.5, 16, 10));
  ASSERT_TRUE(scene.backup(4, 1, 25.5, 26, 12));  // of the timeline that was left
  EXPECT_EQ(scene.text(20), "1: 5.5 15.5, 2: 5.5 15.5");
  ASSERT_TRUE(scene.backup(5, 2, 40.5, 41, 30));
  EXPECT_EQ(scene.text(20), "1: 5.5 15.5, 2: 5.5 15.5");
  EXPECT_EQ(scene.text(40), "1: 5.5 25.5, 2: 5.5 40.5");
}

TEST(WalFloors, AHistoryThatIsMissingHoldsBackAllBefore) {
  Scene scene;
  scene.wal(1, 1, 30);
  scene.wal(2, 20, 60);
  ASSERT_TRUE(scene.backup(2, 1, 5.5, 6, 0));
  ASSERT_TRUE(scene.backup(3, 1, 15.5, 16, 10));
  EXPECT_EQ(scene.text(20), "1: 5.5 -, 2: 5.5 -");
}

TEST(WalFloors, WalOfATimelineThatWasLeftGoesWithTheLastOlderBackup) {
  Scene scene;
  scene.wal(1, 1, 30);
  scene.wal(2, 20, 60);
  scene.history(2, {{1, 20.2}});
  ASSERT_TRUE(scene.backup(5, 2, 40.5, 41, 30));
  EXPECT_EQ(scene.text(40), "1: 40.5 -, 2: 40.5 40.5");
}

TEST(WalFloors, AnIdentityThatIsLeftKeepsNoWalWithoutABackup) {
  Scene scene;
  scene.wal(1, 1, 30);
  ASSERT_TRUE(scene.log.write(AdoptEntry{8, Incarnation(2), "pg_upgrade"}));
  EXPECT_EQ(scene.text(40), "1: 31.0 -");
  ASSERT_TRUE(scene.log.begin(9));
  EXPECT_EQ(scene.text(40), "") << "a running backup may be of it";
}

TEST(WalFloors, AMonthOfTheWindowIsNeverShort) {
  EXPECT_EQ(window_start(Scene::on_day(100), days(30)), Scene::on_day(70));
  EXPECT_EQ(window_start(Scene::on_day(100), {1, 0}), Scene::on_day(69));
}

// --- properties

/// Timelines that branch anywhere, backups on any of them, some forgotten; then the floors, and what goes below them goes.
TEST(WalFloorsProperties, EveryBackupAndEveryMomentOfTheWindowKeepsItsWal) {
  const auto first = test_seed();
  int removed = 0;
  for (std::uint64_t seed = first; seed < first + 400; ++seed) {
    SCOPED_TRACE(fmt::format("PGMINT_TEST_SEED={}", seed));
    SeededRandom random(seed);
    Scene scene;
    struct Branch {
      std::vector<std::pair<std::uint32_t, double>> way;
      double begin = 1, end = 1;
      TimelineHistory history{TimelineId(1)};
    };
    std::map<std::uint32_t, Branch> branches;
    std::uint32_t current = 1;
    branches[1] = {};
    unsigned next_session = 2;
    int day = 0;
    for (int step = 0; step < 30; ++step) {
      day += static_cast<int>(random.below(4));
      auto& branch = branches[current];
      branch.end += static_cast<double>(random.below(40)) / 8;
      if (random.below(9) == 0 && current < 6) {  // recovery to somewhere on the way, or a promotion at its end
        const double at = random.below(2) == 0 ? branch.end : branch.begin + (branch.end - branch.begin) * static_cast<double>(random.below(8)) / 8;
        auto way = branch.way;
        way.emplace_back(current, at);
        branches[++current] = {way, at, at, TimelineHistory(TimelineId(current))};
      } else if (random.below(2) == 0 && branch.end - branch.begin > 1) {
        const double start = branch.end - static_cast<double>(random.below(8)) / 8;
        if (start <= branch.begin) continue;
        ASSERT_TRUE(scene.backup(next_session++, current, start, branch.end, day, random.below(6) != 0));
      }
    }
    for (auto& [timeline, branch] : branches) {
      if (branch.end > branch.begin) scene.wal(timeline, static_cast<std::uint64_t>(branch.begin), static_cast<std::uint64_t>(branch.end));
      if (timeline > 1) scene.history(timeline, branch.way);
      branch.history = scene.inventory.history_of(TimelineId(timeline)).value_or(branch.history);
    }
    std::vector<SessionId> ids;
    for (const auto& [id, snapshot] : scene.log.state.snapshots()) ids.push_back(id);
    for (const auto& id : ids)
      if (random.below(3) == 0) { ASSERT_TRUE(scene.log.write(ForgetEntry{id})); }
    if (random.below(3) == 0 && !scene.log.state.snapshots().empty()) {
      BeginEntry pin{session_id(900), SessionPurpose::Read, scene.log.state.snapshots().begin()->first, Scene::on_day(day + 1)};
      ASSERT_TRUE(scene.log.write(pin));
    }

    const int window_from = static_cast<int>(random.below(static_cast<std::uint64_t>(day) + 2));
    const auto entry = scene.plan(window_from);
    const auto written = scene.log.write(entry);
    ASSERT_TRUE(written) << written.failure().describe();
    const auto& state = scene.log.state;

    WalInventory left(kSize);
    for (const auto& range : scene.inventory.ranges())
      for (auto s = range.first; s <= range.last; s = postgres::next(s)) {
        const auto begin = postgres::start_of(s, kSize).value();
        if (may_go({{7, Incarnation(1)}, range.timeline.value(), begin, begin + kSegment, {}}, state)) {
          ++removed;
          continue;
        }
        left.add(postgres::segment_file_name(range.timeline, s, kSize), 100);
      }
    const auto same_between = [&](const TimelineHistory& history, Lsn from, Lsn to) {
      return left.missing(history, from, to) == scene.inventory.missing(history, from, to);
    };
    for (const auto& [id, snapshot] : state.snapshots()) {
      const auto& snap = snapshot.snap;
      for (const auto& [timeline, branch] : branches)
        ASSERT_TRUE(!branch.history.contains(TimelineId(snap.timeline), Lsn(snap.stop_lsn)) ||
                    same_between(branch.history, Lsn(snap.start_lsn), Lsn(snap.stop_lsn)))
            << snap.name;
    }
    for (const auto& [timeline, branch] : branches) {
      // Any moment of the window is reached from a backup before it: the best of them has all WAL to the end of the timeline.
      const SnapEntry* best = nullptr;
      const SnapEntry* lowest = nullptr;
      for (const auto& [id, snapshot] : state.snapshots()) {
        const auto& snap = snapshot.snap;
        if (!branch.history.contains(TimelineId(snap.timeline), Lsn(snap.stop_lsn))) continue;
        if (lowest == nullptr || snap.start_lsn < lowest->start_lsn) lowest = &snap;
        if (!scene.backups.at(id).reliable || scene.backups.at(id).time > Scene::on_day(window_from)) continue;
        if (best == nullptr || snap.start_lsn > best->start_lsn) best = &snap;
      }
      const auto* base = best != nullptr ? best : lowest;
      if (base == nullptr || branch.end <= branch.begin) continue;
      ASSERT_TRUE(same_between(branch.history, Lsn(base->start_lsn), Scene::at(branch.end))) << "timeline " << timeline << " from " << base->name;
    }
    for (const auto& [id, session] : state.open_sessions())
      for (const auto& [timeline, branch] : branches)
        ASSERT_TRUE(!session.wal || !branch.history.begin_of(TimelineId(session.wal->timeline)) ||
                    same_between(branch.history, Lsn(session.wal->start_lsn), Scene::at(branch.end)))
            << "the reader on timeline " << timeline;
  }
  EXPECT_GT(removed, 1000);
}

}  // namespace
}  // namespace pgmint::policy

// Expiry and collection of thousands of backups, against a computation that knows nothing of how they work: all sets of packs are
// kept whole, and what may go is found by looking at each of them.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "base/test_seed.h"
#include "base/time_zone.h"
#include "crypto/hash.h"
#include "policy/retention.h"
#include "repository/collect.h"
#include "repository/expire.h"
#include "repository/layout.h"
#include "repository/testing_history.h"
#include "repository/testing_repository.h"

namespace pgmint::backup {
namespace {

using repository::PackId;
using repository::SessionId;
using repository::SessionPurpose;
using std::chrono::local_days;
using std::chrono::year_month_day;

constexpr int kBackups = 2000;

struct Expiry : ::testing::Test {
  std::uint64_t seed = test_seed();
  ::testing::ScopedTrace trace{__FILE__, __LINE__, fmt::format("PGMINT_TEST_SEED={}", seed)};
  SeededRandom random{seed};
  storage::MemoryStore store;
  repository::testing::TestRepository made{store, seed};
  repository::Cluster& cluster = *made.cluster;

  // What was done, kept plainly.
  struct Backup {
    SessionId session;
    TimePoint time;
    std::set<PackId> packs;
    bool held = false;
  };
  struct Open {
    SessionId session;
    std::optional<SessionId> parent;
    std::set<PackId> pins;
    TimePoint lease;
  };
  std::vector<Backup> backups;
  std::vector<Open> open;
  std::set<PackId> unknown, unfinished;  ///< of sessions that the log does not know, of open ones

  void write(repository::EntryContent content) {
    const auto written = cluster.log().append(cluster.actor(), std::move(content));
    ASSERT_TRUE(written) << written.failure().describe();
  }
  void put(const PackId& pack) { ASSERT_TRUE(store.create(repository::pack_name(cluster.id(), pack), as_bytes("pack"))); }

  const Backup* some_parent() {
    if (backups.empty() || random.below(50) == 0) return nullptr;
    return random.below(10) == 0 ? &backups[random.below(backups.size())] : &backups.back();
  }

  /// One session: a backup, or one that ended badly, or not at all, or a reader.
  void session() {
    const auto* parent = some_parent();
    const auto id = random.id<SessionId>();
    const bool reads = parent != nullptr && random.below(40) == 0;
    const auto lease = made.clock.now() + std::chrono::hours(random.below(2) == 0 ? 24 : 24 * 1000);
    write(repository::BeginEntry{id, reads ? SessionPurpose::Read : SessionPurpose::Write, parent ? std::optional(parent->session) : std::nullopt, lease});
    std::set<PackId> packs;
    if (parent != nullptr) packs = parent->packs;
    const Open begun{id, parent ? std::optional(parent->session) : std::nullopt, packs, lease};
    std::vector<repository::PackSummary> added;
    for (std::uint32_t i = 0; !reads && i < 1 + random.below(3); ++i) {
      added.push_back({{id, i}, 4, crypto::sha256(as_bytes("pack"))});
      put(added.back().id);
    }
    const auto fate = random.below(60);
    if (reads || fate == 0) {
      open.push_back(begun);
      for (const auto& pack : added) unfinished.insert(pack.id);
      return;
    }
    if (fate == 1) {
      write(repository::AbortEntry{id});
      if (random.below(2) == 0) {
        ASSERT_TRUE(store.create(repository::manifest_name(cluster.id(), id), as_bytes("root")));
      }
      return;
    }
    std::vector<PackId> removed;
    for (const auto& pack : begun.pins)
      if (random.below(packs.size()) < 2) removed.push_back(pack);
    for (const auto& pack : removed) packs.erase(pack);
    for (const auto& pack : added) packs.insert(pack.id);
    repository::ManifestRoot root;
    root.session = id;
    root.name = fmt::format("{}-{}", backups.size(), id.hex());
    root.system_id = made.kSystemId;
    root.incarnation = repository::Incarnation(1);
    root.timeline = 1;
    root.tree.type = repository::RecordType::ManifestNode;
    root.tree.stored_length = 40;
    const auto published = repository::testing::publish(cluster, root, std::move(added), std::move(removed), random);
    ASSERT_TRUE(published) << published.failure().describe();
    backups.push_back({id, made.clock.now(), std::move(packs)});
    if (random.below(200) != 0) return;
    write(repository::HoldEntry{id, "for the auditors"});
    backups.back().held = true;
  }

  // --- what has to be left, by looking at every backup and every object

  /// The default rules of docs/manual/retention.md: of each day, week, month and year the newest stays until so long after its last day.
  bool stays(const Backup& backup, local_days today) const {
    if (backup.held || &backup == &backups.back()) return true;
    const auto newest_until = [&](auto last_of, auto later) {
      const auto last = last_of(day_of(backup));
      for (const auto& other : backups)
        if (other.time > backup.time && last_of(day_of(other)) == last) return false;
      return later(last) >= today;
    };
    using namespace std::chrono;
    const auto by_days = [](int count) { return [count](local_days day) { return day + days(count); }; };
    return newest_until([](local_days day) { return day; }, by_days(30)) ||
           newest_until([](local_days day) { return day + days((7 - weekday(day).iso_encoding()) % 7); }, by_days(90)) ||
           newest_until([](local_days day) { const year_month_day d(day); return local_days(d.year() / d.month() / last); }, by_days(365)) ||
           newest_until([](local_days day) { return local_days(year_month_day(day).year() / December / 31); },
                        [](local_days day) { return local_days((year_month_day(day).year() + years(7)) / December / 31); });
  }
  static local_days day_of(const Backup& backup) { return TimeZone::utc().day_of(backup.time); }

  std::set<std::string> expected(local_days today) const {
    std::set<std::string> names;
    const auto keep = [&](const PackId& pack) { names.insert(repository::pack_name(cluster.id(), pack)); };
    for (const auto& pack : unknown) keep(pack);
    for (const auto& backup : backups) {
      if (!stays(backup, today)) continue;
      names.insert(repository::manifest_name(cluster.id(), backup.session));
      for (const auto& pack : backup.packs) keep(pack);
    }
    for (const auto& session : open) {
      if (session.lease < made.clock.now()) continue;
      for (const auto& pack : session.pins) keep(pack);
      for (const auto& pack : unfinished)
        if (pack.session == session.session) keep(pack);
      if (session.parent) names.insert(repository::manifest_name(cluster.id(), *session.parent));
    }
    return names;
  }
  std::set<std::string> present() {
    std::set<std::string> names;
    for (const auto& prefix : {repository::packs_prefix(cluster.id()), repository::manifests_prefix(cluster.id())}) {
      const auto found = storage::list_all(store, prefix).value();
      for (const auto& info : found) names.insert(info.name);
    }
    return names;
  }

  // --- what the product does: as `pgmint expire` by the default rules, then `pgmint collect`

  std::size_t expire(TimePoint now) {
    std::vector<policy::BackupFact> facts;
    std::vector<SessionId> sessions, going;
    for (const auto& [id, snapshot] : cluster.state().snapshots()) {
      policy::BackupFact fact;
      fact.name = snapshot.snap.name;
      fact.time = snapshot.committed;
      fact.order = snapshot.seq;
      if (snapshot.hold) fact.hold = snapshot.hold->reason;
      facts.push_back(std::move(fact));
      sessions.push_back(id);
    }
    const auto verdicts = policy::decide(facts, {}, now, TimeZone::utc());
    for (std::size_t i = 0; i < verdicts.size(); ++i)
      if (!verdicts[i].keep) going.push_back(sessions[i]);
    const auto forgotten = repository::forget(cluster, going, [&](const repository::LogState&) { return std::set<SessionId>(going.begin(), going.end()); });
    EXPECT_TRUE(forgotten);
    return forgotten ? forgotten->size() : 0;
  }
};

TEST_F(Expiry, OfTwoThousandBackupsRemovesWhatMayGoAndNothingElse) {
  for (int i = 0; i < kBackups && !HasFailure(); ++i) {
    made.clock.sleep(std::chrono::minutes(120 + random.below(480)));
    session();
  }
  for (std::uint32_t i = 0; i < 5; ++i) unknown.insert({random.id<SessionId>(), i});
  for (const auto& pack : unknown) put(pack);
  const auto now = repository::expire_time(cluster).value();
  const auto today = TimeZone::utc().day_of(now);
  const auto before = present();
  const auto wanted = expected(today);
  EXPECT_GT(expire(now), static_cast<std::size_t>(kBackups) * 3 / 4);
  const auto planned = repository::plan_collection(cluster);
  ASSERT_TRUE(planned) << planned.failure().describe();
  const auto done = repository::collect(cluster);
  ASSERT_TRUE(done) << done.failure().describe();
  const auto after = present();
  EXPECT_EQ(after, wanted);
  EXPECT_EQ(before.size() - after.size(), done->remove.size());
  EXPECT_EQ(planned->remove.size(), done->remove.size());
  EXPECT_EQ(done->unknown.size(), unknown.size());
  EXPECT_GT(wanted.size(), 100u);
  EXPECT_GT(before.size(), 3 * wanted.size());
}

}  // namespace
}  // namespace pgmint::backup

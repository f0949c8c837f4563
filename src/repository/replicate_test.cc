// Mirrors over stores that fail: whatever step a copy is cut off at, the mirror is a whole repository of one moment.
#include "repository/replicate.h"

#include "repository/mirror_fixture.h"
#include "repository/rebuild.h"

namespace pgmint::repository {
namespace {

using namespace std::chrono_literals;

class ReplicateTest : public MirrorTest {};

TEST_F(ReplicateTest, TheMirrorHoldsTheSameObjectsAndOpensWithTheSameKeys) {
  back_up("one");
  back_up("two");
  const auto report = must_run();
  EXPECT_TRUE(report.first);
  ASSERT_EQ(report.clusters.size(), 1U);
  EXPECT_GT(report.clusters[0].copied.objects, 4U);
  EXPECT_EQ(report.as_of, f.clock.now());
  expect_sound({"one", "two"});
  const auto source = f.memory->snapshot(), copy = mirror.snapshot();
  for (const auto& [name, data] : source) {
    ASSERT_TRUE(copy.contains(name)) << name;
    EXPECT_EQ(*copy.at(name), *data) << name;
  }
  for (const auto& [name, data] : copy) EXPECT_TRUE(source.contains(name) || name.starts_with("mirror/") || name == mirror_sign_name(f.cluster->id())) << name;
  const auto again = must_run();
  EXPECT_EQ(again.clusters[0].copied.objects + again.clusters[0].log.objects + again.keys.objects, 0U);
  EXPECT_FALSE(again.first);
}

TEST_F(ReplicateTest, NothingIsWrittenToAMirror) {
  const auto session = back_up("one");
  must_run();
  auto opened = open_mirror();
  ASSERT_TRUE(opened) << opened.failure().describe();
  const auto before = mirror.snapshot();
  const auto refused = [](const auto& result) { return !result && result.failure().code() == Errc::Precondition && result.failure().describe().find("mirror of a test's source") != std::string::npos; };
  auto& cluster = *opened->cluster;
  EXPECT_TRUE(refused(cluster.log().append(cluster.actor(), EntryContent(AuditEntry{"test", ""}))));
  EXPECT_TRUE(refused(cluster.log().append(cluster.actor(), EntryContent(ForgetEntry{session}))));
  EXPECT_TRUE(refused(WriteSession::begin(cluster, std::nullopt)));
  EXPECT_TRUE(refused(opened->repository->create_cluster("other", 8)));
  EXPECT_TRUE(refused(opened->repository->rotate_data_key(cluster)));
  EXPECT_TRUE(refused(opened->repository->remove_slot("nobody")) || !opened->repository->remove_slot("nobody"));
  EXPECT_TRUE(refused(rebuild_log(*opened->repository, cluster.id())));
  EXPECT_TRUE(refused(WalArchive(cluster, {RepositoryFixture::kSystemId, Incarnation(1)}).put("00000009.history", WalContent::History, 0, as_bytes("x"), {})));
  std::string warning;
  EXPECT_FALSE(ReadPin::take(cluster, session, std::chrono::hours(1), &warning).session());
  EXPECT_EQ(warning, "");
  EXPECT_EQ(mirror.snapshot(), before);
}

TEST_F(ReplicateTest, ShowsTheMomentOfItsMarkWhateverStandsBehind) {
  back_up("one");
  must_run();
  back_up("two");
  // A copy that is cut off before its mark: all objects and all entries are there.
  faulty.add(no_mark());
  EXPECT_FALSE(runs());
  expect_sound({"one"});
  faulty.clear();
  must_run();
  expect_sound({"one", "two"});
}

TEST_F(ReplicateTest, EveryFailureInTheMirrorLeavesAWholeMoment) {
  const auto first = back_up("one");
  must_run();
  back_up("two");
  // One that came and went between two copies: its packs are never copied, and its entries are.
  const auto brief = back_up("brief");
  forget_and_collect(brief);
  forget_and_collect(first);
  fail_each_operation(*f.memory, faulty, mirror, [&] { return runs(); }, [&](bool done) {
    const auto names = sound_names();
    ASSERT_TRUE(names) << names.failure().describe();
    EXPECT_EQ(*names, done ? std::vector<std::string>{"two"} : *names);
    EXPECT_TRUE(*names == std::vector<std::string>{"one"} || *names == std::vector<std::string>{"two"});
  });
}

TEST_F(ReplicateTest, EveryFailureAtTheSourceLeavesAWholeMoment) {
  back_up("one");
  must_run();
  back_up("two");
  fail_each_operation(*f.memory, *f.store, mirror, [&] { return runs(); }, [&](bool done) {
    const auto names = sound_names();
    ASSERT_TRUE(names) << names.failure().describe();
    EXPECT_TRUE(*names == (std::vector<std::string>{"one", "two"}) || (!done && *names == std::vector<std::string>{"one"}));
  });
}

TEST_F(ReplicateTest, AFirstCopyThatIsCutOffShowsNothing) {
  back_up("one");
  fail_each_operation(*f.memory, faulty, mirror, [&] { return runs(); }, [&](bool done) {
    const auto names = sound_names();
    if (!names) {
      // Not even `format` or a slot may be there yet; damage it is not.
      EXPECT_TRUE(names.failure().code() == Errc::NotFound || names.failure().code() == Errc::Key) << names.failure().describe();
      EXPECT_FALSE(done);
      return;
    }
    EXPECT_TRUE(done ? *names == std::vector<std::string>{"one"} : names->empty() || names->front() == "one");
  });
}

/// Something happens at the source during each operation of a copy.
TEST_F(ReplicateTest, WhatComesAndGoesAtTheSourceMeanwhileIsNoFailureAndNoLoss) {
  const auto one = back_up("one");
  must_run();
  const auto two = back_up("two");  // not copied yet, and gone before it is
  const auto source_before = f.memory->snapshot(), mirror_before = mirror.snapshot();
  for (std::uint64_t at = 0;; ++at) {
    f.memory->restore(source_before);
    mirror.restore(mirror_before);
    f.cluster = std::move(*f.repository->find_cluster("main", std::nullopt));
    bool happened = false;
    f.store->clear();
    f.store->add(beside(at, [&] {
      if (std::exchange(happened, true)) return;
      f.store->clear();
      back_up("three");
      ASSERT_TRUE(f.write(ForgetEntry{one}));
      ASSERT_TRUE(f.write(ForgetEntry{two}));
      ASSERT_TRUE(collect(*f.cluster));
    }));
    const auto report = must_run();
    f.store->clear();
    SCOPED_TRACE(fmt::format("at operation {} of the source", at));
    const auto names = sound_names();
    ASSERT_TRUE(names) << names.failure().describe();
    if (!happened) break;
    EXPECT_TRUE(*names == (std::vector<std::string>{"one", "two"}) || *names == std::vector<std::string>{"three"}) << names->size();
    must_run();
    expect_sound({"three"});
    ASSERT_LT(at, 500U);
  }
}

TEST_F(ReplicateTest, ALogThatNeverStandsStillLeavesTheMirrorAsItWas) {
  back_up("one");
  must_run();
  back_up("two");
  bool writing = false;
  auto fault = beside(0, [&] {
    writing = true;
    ASSERT_TRUE(f.write(AuditEntry{"test", ""}));
    writing = false;
  });
  fault.on = storage::Operation::List;
  fault.matches = [&](const std::string& name) { return !writing && name.starts_with(packs_prefix(f.cluster->id())); };
  f.store->add(fault);
  const auto report = run();
  f.store->clear();
  ASSERT_TRUE(report) << report.failure().describe();
  ASSERT_TRUE(report->clusters[0].failure);
  EXPECT_EQ(report->clusters[0].failure->code(), Errc::Busy);
  expect_sound({"one"});
  must_run();
  expect_sound({"one", "two"});
}

// ---------------------------------------------------------------- conflicts

TEST_F(ReplicateTest, WhatDiffersIsNamedAndKept) {
  back_up("one");
  must_run();
  const auto pack = storage::list_all(mirror, packs_prefix(f.cluster->id()))->front().name;
  mirror.replace(pack, Bytes(10));
  back_up("two");
  const auto report = run();
  ASSERT_TRUE(report);
  EXPECT_EQ(report->clusters[0].conflicts, std::vector<std::string>{pack});
  EXPECT_TRUE(report->has_conflicts());
  EXPECT_EQ(mirror.stat(pack)->value().size, 10U);
}

TEST_F(ReplicateTest, AnotherLogIsNotCopiedOverThisOne) {
  back_up("one");
  must_run();
  // The source goes back to before "one", and goes on differently.
  RepositoryFixture other(1);
  ASSERT_TRUE(other.backup("elsewhere", 1));
  ASSERT_TRUE(other.backup("elsewhere-too", 1));
  ASSERT_TRUE(other.backup("elsewhere-as-well", 1));
  const auto report = replicate(*other.store, mirror, f.clock, f.random, options);
  ASSERT_TRUE(report) << report.failure().describe();
  ASSERT_TRUE(report->clusters[0].failure);
  EXPECT_EQ(report->clusters[0].failure->code(), Errc::Corruption);
  EXPECT_NE(report->clusters[0].failure->describe().find("not the one that was copied before"), std::string::npos) << report->clusters[0].failure->describe();
  expect_sound({"one"});
}

TEST_F(ReplicateTest, AMirrorIsOfOneRepositoryAndOfNothingElse) {
  back_up("one");
  must_run();
  RepositoryFixture other(99);
  auto report = replicate(*other.store, mirror, f.clock, f.random, options);
  ASSERT_FALSE(report);
  EXPECT_EQ(report.failure().code(), Errc::Precondition);
  // A repository is no place for a mirror, nor is one that holds anything.
  report = replicate(*f.store, *other.store, f.clock, f.random, options);
  ASSERT_FALSE(report);
  EXPECT_EQ(report.failure().code(), Errc::Precondition);
  storage::MemoryStore used;
  ASSERT_TRUE(used.create("something", as_bytes("x")));
  report = replicate(*f.store, used, f.clock, f.random, options);
  ASSERT_FALSE(report);
  EXPECT_EQ(report.failure().code(), Errc::Precondition);
  report = replicate(*f.store, *f.store, f.clock, f.random, options);
  EXPECT_FALSE(report);
}

TEST_F(ReplicateTest, AMirrorCanBeCopiedOn) {
  back_up("one");
  must_run();
  back_up("two");
  storage::MemoryStore far;
  const auto report = replicate(mirror, far, f.clock, f.random, options);
  ASSERT_TRUE(report) << report.failure().describe();
  ASSERT_FALSE(report->clusters[0].failure) << report->clusters[0].failure->describe();
  mirror.restore(far.snapshot());
  expect_sound({"one"});
}

// ---------------------------------------------------------------- how it copies

TEST_F(ReplicateTest, ManyAtATimeAndInPiecesTheCopyIsTheSame) {
  for (const auto* name : {"one", "two", "three", "four"}) back_up(name);
  // Longer than what is read at once.
  Bytes large((70 << 20) + 13);
  f.random.fill(large);
  const auto name = wal_name(f.cluster->id(), RepositoryFixture::kSystemId, Incarnation(1), "000000010000000000000001");
  f.memory->replace(name, large);
  options.workers = 4;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> told;
  options.progress = [&](const ReplicateProgress& now) { told.emplace_back(now.done, now.total); };
  must_run();
  const auto copy = mirror.snapshot();
  for (const auto& [object, data] : f.memory->snapshot()) {
    ASSERT_TRUE(copy.contains(object)) << object;
    EXPECT_TRUE(*copy.at(object) == *data) << object;
  }
  ASSERT_FALSE(told.empty());
  EXPECT_EQ(told.back().first, told.back().second);
  EXPECT_GT(told.back().second, large.size());
  options.progress = {};
}

TEST_F(ReplicateTest, TheRateIsKept) {
  back_up("one");
  const auto name = wal_name(f.cluster->id(), RepositoryFixture::kSystemId, Incarnation(1), "000000010000000000000001");
  f.memory->replace(name, Bytes(10 << 20));
  storage::RateLimiter limiter(ByteCount(1 << 20), f.clock);
  options.limiter = &limiter;
  const auto began = f.clock.now();
  must_run();
  const auto took = f.clock.now() - began;
  EXPECT_GE(took, 9500ms);
  EXPECT_LE(took, 11s);
}

TEST_F(ReplicateTest, WhatSomebodyElsePutsThereMeanwhileIsComparedByItsBytes) {
  back_up("one");
  must_run();
  back_up("two");
  const auto put = [&](bool same) {
    const auto before = mirror.snapshot();
    auto fault = beside(0, [&] {
      for (const auto& [name, data] : f.memory->snapshot())
        if (name.find("/p/") != std::string::npos && !mirror.stat(name)->has_value()) mirror.replace(name, same ? *data : Bytes(data->size()));
    });
    fault.on = storage::Operation::Create;
    fault.matches = [](const std::string& name) { return name.find("/p/") != std::string::npos; };
    fault.times = 1;
    faulty.add(fault);
    auto report = run();
    faulty.clear();
    if (!same) mirror.restore(before);
    return report;
  };
  const auto differing = put(false);
  ASSERT_TRUE(differing) << differing.failure().describe();
  EXPECT_EQ(differing->clusters[0].conflicts.size(), 3U);
  const auto same = put(true);
  ASSERT_TRUE(same) << same.failure().describe();
  EXPECT_FALSE(same->has_conflicts());
  expect_sound({"one", "two"});
}

// ---------------------------------------------------------------- memory of a host

TEST_F(ReplicateTest, AMirrorThatLagsIsNoStoreThatWentBack) {
  back_up("one");
  must_run();
  remember_from_now_on();
  back_up("two");
  expect_sound({"one"});
  const auto early = mirror.snapshot();
  must_run();
  expect_sound({"one", "two"});
  mirror.restore(early);
  const auto names = sound_names();
  ASSERT_FALSE(names) << "the mirror itself went back";
  EXPECT_EQ(names.failure().code(), Errc::Corruption);
}

}  // namespace
}  // namespace pgmint::repository

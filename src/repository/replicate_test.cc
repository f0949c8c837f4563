// Mirrors over stores that fail: whatever step a copy or a promotion is cut off at, the mirror is a whole repository of one moment.
#include "repository/replicate.h"

#include <fmt/format.h>

#include "repository/collect.h"
#include "repository/promote.h"
#include "repository/repository_fixture.h"
#include "repository/verify.h"
#include "repository/wal_archive.h"
#include "storage/forwarding_store.h"

namespace pgmint::repository {
namespace {

using storage::BlobSnapshot;
using storage::Fault;
using namespace std::chrono_literals;

/// A store that others own, so that what a test gives away to a decorator stays.
class Shared final : public storage::BlobStore {
 public:
  explicit Shared(storage::BlobStore& to) : to_(to) {}
  Result<storage::Created> create(const std::string& name, ByteView data) override { return to_.create(name, data); }
  Result<std::optional<Bytes>> read(const std::string& name, std::uint64_t limit) override { return to_.read(name, limit); }
  Status read_range(const std::string& name, std::uint64_t offset, MutableByteView out) override { return to_.read_range(name, offset, out); }
  Result<std::optional<storage::BlobInfo>> stat(const std::string& name) override { return to_.stat(name); }
  Status list(const std::string& prefix, const std::string& after, const std::function<Status(const storage::BlobInfo&)>& visit) override { return to_.list(prefix, after, visit); }
  Result<std::vector<std::string>> list_parts(const std::string& prefix) override { return to_.list_parts(prefix); }
  Status remove(const std::string& name) override { return to_.remove(name); }
  std::string describe() const override { return "a test's mirror"; }

 private:
  storage::BlobStore& to_;
};

/// In memory what seen_memory.cc keeps in files.
class HostMemory final : public SeenMemory {
 public:
  Result<std::optional<Head>> load(const RepositoryId& repository, const ClusterId& cluster) override {
    const auto found = heads_.find({repository, cluster});
    return found == heads_.end() ? std::optional<Head>() : found->second;
  }
  Status store(const RepositoryId& repository, const ClusterId& cluster, const Head& head) override {
    heads_[{repository, cluster}] = head;
    return ok();
  }

 private:
  std::map<std::pair<RepositoryId, ClusterId>, Head> heads_;
};

/// Creates of marks fail.
Fault no_mark() {
  Fault fault;
  fault.on = storage::Operation::Create;
  fault.matches = [](const std::string& name) { return name.starts_with("mirror/mark/"); };
  return fault;
}
/// `then` happens at each operation behind `skip` of them.
Fault beside(std::uint64_t skip, std::function<void()> then) {
  Fault fault;
  fault.when = Fault::When::Delay;
  fault.skip = skip;
  fault.then = std::move(then);
  return fault;
}

/// A Repository with the store that it borrows.
struct Opened {
  std::unique_ptr<Repository> repository;
  std::unique_ptr<Cluster> cluster;
  std::vector<std::string> names() const {
    std::vector<std::string> all;
    for (const auto& [id, snapshot] : cluster->state().snapshots()) all.push_back(snapshot.snap.name);
    std::ranges::sort(all);
    return all;
  }
};

class ReplicateTest : public ::testing::Test {
 protected:
  ReplicateTest() : faulty(std::make_unique<Shared>(mirror), f.clock) {
    options.source_name = "a test's source";
    options.made_by = "test@host";
  }

  Result<ReplicateReport> run() { return replicate(*f.store, faulty, f.clock, f.random, options); }
  ReplicateReport must_run() {
    auto report = run();
    EXPECT_TRUE(report) << report.failure().describe();
    if (!report) return {};
    for (const auto& cluster : report->clusters) EXPECT_FALSE(cluster.failure) << cluster.failure->describe();
    EXPECT_FALSE(report->has_conflicts());
    return std::move(*report);
  }
  /// That all went well.
  bool runs() {
    const auto report = run();
    return report && std::ranges::none_of(report->clusters, [](const auto& cluster) { return cluster.failure.has_value(); });
  }

  Environment mirror_environment() { return {mirror, f.clock, f.random, *f.seen, "test@host", "test"}; }
  std::vector<Unlock> unlocks() {
    std::vector<Unlock> all;
    all.push_back(RepositoryFixture::copy_of(f.unlock));
    return all;
  }
  Result<Opened> open_mirror() {
    Opened opened;
    opened.repository = TRY(Repository::open(mirror_environment(), unlocks()));
    opened.cluster = TRY(opened.repository->find_cluster("main", std::nullopt));
    return opened;
  }
  /// Every backup that it shows opens to the last byte, and every key that its log names is there.
  Result<std::vector<std::string>> sound_names() {
    auto opened = TRY(open_mirror());
    if (!opened.cluster) return std::vector<std::string>{};
    VerifyOptions verification;
    verification.depth = VerifyDepth::Decompress;
    const auto report = TRY(verify(*opened.cluster, verification));
    for (const auto& finding : report.findings)
      if (finding.severity == Finding::Severity::Damage) return Error(Errc::Corruption, finding.object + ": " + finding.problem);
    for (const auto& segment : wal_of_backups) {
      WalArchive archive(*opened.cluster, {RepositoryFixture::kSystemId, Incarnation(1)});
      if (opened.cluster->state().find(segment.first) != nullptr && !TRY(archive.info(segment.second))) return Error(Errc::NotFound, segment.second + " is not there");
    }
    return opened.names();
  }
  void expect_sound(std::vector<std::string> names) {
    const auto found = sound_names();
    ASSERT_TRUE(found) << found.failure().describe();
    EXPECT_EQ(*found, names);
  }

  /// What this host sees of a log is remembered.
  void remember_from_now_on() {
    f.cluster.reset();
    f.repository.reset();
    f.seen = std::make_unique<HostMemory>();
    f.repository = f.reopened();
    f.cluster = std::move(*f.repository->find_cluster("main", std::nullopt));
  }
  SessionId back_up(const std::string& name) {
    // Its WAL first, as a backup waits for it.
    WalArchive archive(*f.cluster, {RepositoryFixture::kSystemId, Incarnation(1)});
    const auto file = fmt::format("{:08X}.history", ++histories_ + 1);
    EXPECT_TRUE(archive.put(file, WalContent::History, 0, as_bytes("1\t0/1000000\ttest\n"), {}));
    wal_of_backups[name] = file;
    auto made = f.backup(name, 2);
    EXPECT_TRUE(made) << made.failure().describe();
    return made ? *made : SessionId{};
  }
  void forget_and_collect(const SessionId& session) {
    ASSERT_TRUE(f.write(ForgetEntry{session}));
    auto collected = collect(*f.cluster);
    ASSERT_TRUE(collected) << collected.failure().describe();
    ASSERT_FALSE(collected->remove.empty());
  }
  std::size_t packs_in_mirror() { return storage::list_all(mirror, packs_prefix(f.cluster->id()))->size(); }

  RepositoryFixture f;
  storage::MemoryStore mirror;
  storage::FaultStore faulty;
  ReplicateOptions options;
  std::map<std::string, std::string> wal_of_backups;

 private:
  unsigned histories_ = 0;
};

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

/// Runs `work` over and over, with each operation on the mirror (or the source) failing once, from the same state of all stores.
/// `check` looks at what is left; then the work is done again without failures.
template <class Work, class Check>
void fail_each_operation(storage::MemoryStore& source, storage::FaultStore& store, storage::MemoryStore& mirror, const Work& work, const Check& check) {
  const auto source_before = source.snapshot(), mirror_before = mirror.snapshot();
  std::uint64_t operations = 0;
  for (const auto when : {Fault::When::Before, Fault::When::After}) {
    for (std::uint64_t at = 0;; ++at) {
      source.restore(source_before);
      mirror.restore(mirror_before);
      store.clear();
      Fault fault;  // the power is off from here on
      fault.when = when;
      fault.code = when == Fault::When::Before ? Errc::Storage : Errc::Unknown;
      fault.skip = at;
      store.add(fault);
      const bool done = work();
      store.clear();
      SCOPED_TRACE(fmt::format("operation {} failed, {}", at, when == Fault::When::Before ? "before" : "after"));
      check(done);
      ASSERT_TRUE(work());
      check(true);
      if (::testing::Test::HasFatalFailure() || ::testing::Test::HasNonfatalFailure()) return;
      if (done) break;
      ++operations;
      ASSERT_LT(at, 2000U);
    }
  }
  EXPECT_GT(operations, 20U);
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

// ---------------------------------------------------------------- what vanishes

TEST_F(ReplicateTest, WhatVanishedAtTheSourceStaysForItsTimeAndGoesThen) {
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

TEST_F(ReplicateTest, WhatIsLockedInTheMirrorGoesOnceItsLockHasPassed) {
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

TEST_F(ReplicateTest, RemovalsThatAreCutOffGoOn) {
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

TEST_F(ReplicateTest, WhatIsThereAgainStaysForTheWholeTimeOnceMore) {
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

TEST_F(ReplicateTest, ManyAreNotRemovedUnlessThatIsWanted) {
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

TEST_F(ReplicateTest, ASourceThatWasEmptiedTakesNothingFromTheMirror) {
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

// ---------------------------------------------------------------- promotion

class PromoteTest : public ReplicateTest {
 protected:
  Result<PromoteReport> promote_mirror() {
    auto opened = TRY(Repository::open_to_promote({faulty, f.clock, f.random, *f.seen, "test@host", "test"}, unlocks()));
    return promote(*opened, "heir@host");
  }
};

TEST_F(PromoteTest, MakesARepositoryThatGoesOn) {
  const auto one = back_up("one");
  ASSERT_TRUE(f.write(HoldEntry{one, "kept", std::nullopt}));
  must_run();
  const auto report = promote_mirror();
  ASSERT_TRUE(report) << report.failure().describe();
  EXPECT_FALSE(report->was_promoted);
  ASSERT_EQ(report->clusters.size(), 1U);
  EXPECT_EQ(report->clusters[0].log.recovered, std::vector<std::string>{"one"});
  expect_sound({"one"});
  auto opened = open_mirror();
  ASSERT_TRUE(opened);
  EXPECT_FALSE(opened->repository->is_mirror());
  EXPECT_EQ(opened->cluster->state().generation(), 1U);
  EXPECT_TRUE(opened->cluster->state().find("one")->hold);
  EXPECT_FALSE(opened->cluster->state().recent_audits("mirror promoted").empty());
  ASSERT_TRUE(f.backup(*opened->cluster, "next", 1, one));
  ASSERT_TRUE(opened->repository->create_cluster("other", 8));
  expect_sound({"next", "one"});
  const auto again = promote_mirror();
  ASSERT_TRUE(again) << again.failure().describe();
  EXPECT_TRUE(again->was_promoted);
}

TEST_F(PromoteTest, TheOldSourceIsLeftBehind) {
  back_up("one");
  remember_from_now_on();
  must_run();
  ASSERT_TRUE(promote_mirror());
  back_up("meanwhile");
  const auto before = mirror.snapshot();
  const auto report = run();
  ASSERT_FALSE(report);
  EXPECT_EQ(report.failure().code(), Errc::Precondition);
  EXPECT_NE(report.failure().describe().find("left behind"), std::string::npos);
  EXPECT_NE(report.failure().describe().find("heir@host"), std::string::npos);
  EXPECT_EQ(mirror.snapshot(), before);
  expect_sound({"one"});
  // A host that has seen the promoted one does not take the old source for it.
  auto repository = f.reopened();
  const auto cluster = repository->find_cluster("main", std::nullopt);
  ASSERT_FALSE(cluster);
  EXPECT_NE(cluster.failure().describe().find("left behind"), std::string::npos);
}

TEST_F(PromoteTest, EveryFailureLeavesTheMirrorOrTheRepository) {
  back_up("one");
  must_run();
  // What a copy that was cut off has left behind the mark.
  back_up("two");
  faulty.add(no_mark());
  EXPECT_FALSE(runs());
  faulty.clear();
  fail_each_operation(*f.memory, faulty, mirror, [&] { return promote_mirror().has_value(); }, [&](bool done) {
    const auto names = sound_names();
    ASSERT_TRUE(names) << names.failure().describe();
    auto opened = open_mirror();
    ASSERT_TRUE(opened);
    if (done) {
      EXPECT_FALSE(opened->repository->is_mirror());
    }
    // "two" was copied whole, and no entry that counts speaks of it: a promotion takes it over by its manifest.
    if (opened->repository->is_mirror()) {
      EXPECT_EQ(*names, std::vector<std::string>{"one"});
    }
    else EXPECT_EQ(*names, (std::vector<std::string>{"one", "two"}));
    if (!opened->repository->is_mirror()) {
      auto appended = opened->cluster->log().append(opened->cluster->actor(), EntryContent(AuditEntry{"test", ""}));
      EXPECT_TRUE(appended) << appended.failure().describe();
    } else {
      EXPECT_TRUE(runs()) << "the source may go on copying";
      // Not for the promotion that follows: it is of what was there before.
    }
  });
}

TEST_F(PromoteTest, EntriesThatComeLateIntoTheOldGenerationCountForNothing) {
  back_up("one");
  must_run();
  ASSERT_TRUE(promote_mirror());
  const auto promoted = mirror.snapshot();
  back_up("late");
  for (const auto& [name, data] : f.memory->snapshot())
    if (!promoted.contains(name)) mirror.replace(name, *data);
  expect_sound({"one"});
}

TEST_F(PromoteTest, KeySlotsThatTheSourceRemovedGo) {
  back_up("one");
  Unlock second;
  second.provider = KeyProvider::Recovery;
  second.key = crypto::Key256::generate(f.random);
  const auto slot = f.repository->add_slot(second, Role::Root, "", nullptr);
  ASSERT_TRUE(slot) << slot.failure().describe();
  must_run();
  ASSERT_TRUE(f.repository->remove_slot(*slot));
  must_run();
  EXPECT_TRUE(mirror.stat(slot_name(*slot))->has_value()) << "no copy takes a key away";
  const auto report = promote_mirror();
  ASSERT_TRUE(report) << report.failure().describe();
  EXPECT_EQ(report->removed_slots, std::vector<std::string>{*slot});
  EXPECT_FALSE(mirror.stat(slot_name(*slot))->has_value());
  expect_sound({"one"});
}

TEST_F(PromoteTest, ARootThatWasRotatedAtTheSourceMeanwhilePromotesTwice) {
  back_up("one");
  must_run();
  // The keys come with a copy that is cut off, the log's entries about them count for nothing.
  std::vector<Repository::Slot> slots;
  slots.push_back({RepositoryFixture::copy_of(f.unlock), ""});
  ASSERT_TRUE(f.repository->rotate_root(std::move(slots), false));
  faulty.add(no_mark());
  EXPECT_FALSE(runs());
  // The first promotion ends right before its mark.
  EXPECT_FALSE(promote_mirror());
  faulty.clear();
  const auto report = promote_mirror();
  ASSERT_TRUE(report) << report.failure().describe();
  auto opened = open_mirror();
  ASSERT_TRUE(opened) << opened.failure().describe();
  EXPECT_EQ(opened->cluster->state().generation(), report->clusters[0].log.generation);
  EXPECT_EQ(opened->names(), std::vector<std::string>{"one"});
  const auto appended = opened->cluster->log().append(opened->cluster->actor(), EntryContent(AuditEntry{"test", ""}));
  EXPECT_TRUE(appended) << appended.failure().describe();
}

TEST_F(PromoteTest, AStoreOfOneWriterAndWhatIsNoMirrorAreRefused) {
  back_up("one");
  auto none = Repository::open_to_promote(f.environment(), unlocks());
  ASSERT_FALSE(none);
  EXPECT_EQ(none.failure().code(), Errc::Precondition);
  options.one_writer = true;
  must_run();
  const auto report = promote_mirror();
  ASSERT_FALSE(report);
  EXPECT_EQ(report.failure().code(), Errc::Precondition);
  expect_sound({"one"});
}

TEST_F(PromoteTest, NeedsARootKey) {
  back_up("one");
  Unlock host;
  host.provider = KeyProvider::KeyFile;
  host.key = crypto::Key256::generate(f.random);
  ASSERT_TRUE(f.repository->add_slot(host, Role::Host, "", f.cluster.get()));
  must_run();
  const auto before = mirror.snapshot();
  std::vector<Unlock> only_host;
  only_host.push_back(RepositoryFixture::copy_of(host));
  auto opened = Repository::open_to_promote(mirror_environment(), std::move(only_host));
  ASSERT_TRUE(opened) << opened.failure().describe();
  const auto report = promote(**opened, "heir@host");
  ASSERT_FALSE(report);
  EXPECT_EQ(report.failure().code(), Errc::Key);
  EXPECT_EQ(mirror.snapshot(), before);
}

TEST_F(PromoteTest, AMarkOfAPromotionIsAuthentic) {
  back_up("one");
  must_run();
  auto stored = newest_mark(mirror, f.repository->format().repository);
  ASSERT_TRUE(stored && *stored);
  auto forged = (*stored)->mark;
  ++forged.number;
  forged.state = MirrorState::Promoted;
  const auto key = crypto::Key256::generate(f.random);
  ASSERT_TRUE(mirror.create(mirror_mark_name(forged.number), encode_mark(forged, f.repository->format().repository, &key)));
  const auto opened = open_mirror();
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.failure().code(), Errc::Corruption);
}

}  // namespace
}  // namespace pgmint::repository

// For tests: a repository, a mirror of it whose store fails where it is told to, and what must be true of that mirror at any moment.
#pragma once

#include <fmt/format.h>

#include "repository/collect.h"
#include "repository/replicate.h"
#include "repository/repository_fixture.h"
#include "repository/verify.h"
#include "repository/wal_archive.h"

namespace pgmint::repository {

using storage::Fault;

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
inline Fault no_mark() {
  Fault fault;
  fault.on = storage::Operation::Create;
  fault.matches = [](const std::string& name) { return name.starts_with("mirror/mark/"); };
  return fault;
}
/// `then` happens at each operation behind `skip` of them.
inline Fault beside(std::uint64_t skip, std::function<void()> then) {
  Fault fault;
  fault.when = Fault::When::Delay;
  fault.skip = skip;
  fault.then = std::move(then);
  return fault;
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

class MirrorTest : public ::testing::Test {
 protected:
  MirrorTest() : faulty(std::make_unique<Shared>(mirror), f.clock) {
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

}  // namespace pgmint::repository

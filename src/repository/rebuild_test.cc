#include "repository/rebuild.h"

#include <gtest/gtest.h>

#include "repository/collect.h"
#include "repository/repository_fixture.h"
#include "repository/stream_map.h"
#include "repository/verify.h"

namespace pgmint::repository {
namespace {

using storage::Fault;
using storage::Operation;

class RebuildTest : public testing::Test, public RepositoryFixture {
 protected:
  std::string slot(std::uint64_t seq) { return log_entry_name(cluster->id(), 0, seq); }
  void lose(const std::string& name) { ASSERT_TRUE(memory->remove(name)); }
  void lose_log() {
    const auto entries = storage::list_all(*memory, log_prefix(cluster->id())).value();
    for (const auto& blob : entries) lose(blob.name);
  }
  /// As `pgmint repair` does, in a process of its own.
  Result<RebuildReport> rebuild(const std::string& name = "") {
    auto other = reopened();
    return rebuild_log(*other, cluster->id(), name);
  }
  RebuildReport rebuilt(const std::string& name = "") {
    auto report = rebuild(name);
    EXPECT_TRUE(report) << report.failure().describe();
    return report ? *report : RebuildReport{};
  }
  struct Opened {
    std::unique_ptr<Repository> repository;
    std::unique_ptr<Cluster> cluster;
  };
  Opened opened() {
    Opened o{reopened(), nullptr};
    o.cluster = *o.repository->open_cluster(cluster->id());
    auto read = o.cluster->log().refresh();
    EXPECT_TRUE(read) << read.failure().describe();
    return o;
  }
  /// As a dump is: one stream, whose chunk, part, index and tree stand in a pack each, and which is of no data directory.
  Result<std::set<PackId>> stream_backup(const std::string& name) {
    auto session = TRY(WriteSession::begin(*cluster, std::nullopt));
    RecordSealer sealer(cluster->context(), cluster->keys(), {codec::CodecId::Zstd, 1}, random);
    std::set<PackId> packs;
    const auto store_alone = [&](PackKind kind, RecordType type, ByteView bytes) -> Result<RecordLocation> {
      PackWriter pack(cluster->context(), session->next_pack(), kind, cluster->keys().newest_epoch(), sealer, cluster->keys().maintenance_key, random);
      const auto location = TRY(pack.append(type, bytes));
      packs.insert(location.pack);
      TRY(session->upload(std::move(pack).finish()));
      return location;
    };
    const Bytes chunk(512, std::byte{7});
    const auto part = encode_stream_part({{512, ChunkSummer(cluster->keys().mac_key).sum(chunk), 0, TRY(store_alone(PackKind::Base, RecordType::StreamChunk, chunk)), {}}});
    StreamIndex index{512, 1, {{TRY(store_alone(PackKind::Map, RecordType::StreamPart, part)), 512, 1, {}}}};
    index.parts[0].fingerprint = sealer.fingerprint(index.parts[0].location.nonce, part);
    FileEntry file;
    file.area = FileArea::Made;
    file.path = "shop/archive.dump";
    file.kind = FileKind::Stream;
    file.size = 512;
    file.content = TRY(store_alone(PackKind::Map, RecordType::StreamIndex, encode_stream_index(index)));
    ManifestTreeWriter tree([&](ByteView node) { return store_alone(PackKind::Map, RecordType::ManifestNode, node); });
    TRY(tree.add(std::move(file)));
    ManifestRoot root;
    root.session = session->id();
    root.name = name;
    root.type = BackupType::Logical;
    root.tree = TRY(std::move(tree).finish()).root;
    root.file_count = 1;
    root.started = clock.now();
    root.settings.emplace_back(std::string(kSystemIdentifierSetting), "8");
    TRY(session->commit(root, {}));
    return packs;
  }
  static std::set<std::string> names(const LogState& state) {
    std::set<std::string> set;
    for (const auto& [id, snapshot] : state.snapshots()) set.insert(snapshot.snap.name);
    return set;
  }
  void expect_undamaged(Cluster& of) {
    VerifyOptions options;
    options.depth = VerifyDepth::Decompress;
    const auto report = verify(of, options);
    ASSERT_TRUE(report) << report.failure().describe();
    for (const auto& finding : report->findings) ADD_FAILURE() << finding.object << ": " << finding.problem;
  }
};

TEST_F(RebuildTest, BackupsBeforeAndBehindAGapComeBack) {
  ASSERT_TRUE(backup("a"));
  ASSERT_TRUE(backup("b"));
  ASSERT_TRUE(backup("c"));
  lose(slot(3));  // the BEGIN of b
  const auto report = rebuilt();
  EXPECT_EQ(report.generation, 1u);
  EXPECT_EQ(report.recovered, (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_TRUE(report.unreadable.empty() && report.incomplete.empty());
  auto now = opened();
  EXPECT_EQ(now.cluster->state().cluster_name(), "main");
  EXPECT_EQ(now.cluster->state().system_id(), kSystemId);
  EXPECT_EQ(names(now.cluster->state()), (std::set<std::string>{"a", "b", "c"}));
  expect_undamaged(*now.cluster);
}

TEST_F(RebuildTest, ABackupWhoseSnapRottedComesBackThroughItsRoot) {
  ASSERT_TRUE(backup("a"));
  ASSERT_TRUE(backup("b"));
  auto entry = **memory->read(slot(2), kLogEntryMax);
  entry[200] ^= std::byte{1};
  memory->replace(slot(2), entry);
  EXPECT_EQ(rebuilt().recovered, (std::vector<std::string>{"a", "b"}));
  auto now = opened();
  expect_undamaged(*now.cluster);
}

/// Backups of every kind, and the whole log is lost: nothing but roots says what there was.
TEST_F(RebuildTest, DumpsComeBackWithAllTheirPacksAndSayNothingOfTheCluster) {
  ASSERT_TRUE(backup("a"));
  const auto packs = stream_backup("dump");
  ASSERT_TRUE(packs) << packs.failure().describe();
  lose_log();
  const auto report = rebuilt("main");
  EXPECT_EQ(report.recovered, (std::vector<std::string>{"a", "dump"}));
  EXPECT_TRUE(report.unreadable.empty() && report.incomplete.empty());
  auto now = opened();
  EXPECT_EQ(now.cluster->state().system_id(), kSystemId);
  const auto* dump = now.cluster->state().find("dump");
  ASSERT_NE(dump, nullptr);
  std::set<PackId> known;
  for (const auto& pack : now.cluster->state().packs_of(*dump)) known.insert(pack.id);
  EXPECT_EQ(known, *packs);
  expect_undamaged(*now.cluster);
}

TEST_F(RebuildTest, WithoutABackupOfItsDataDirectoryDumpsSayWhichServerItIs) {
  ASSERT_TRUE(stream_backup("dump"));
  lose_log();
  rebuilt("main");
  EXPECT_EQ(opened().cluster->state().system_id(), 8U);
}

class RebuildWithoutOnePack : public RebuildTest, public testing::WithParamInterface<int> {};
INSTANTIATE_TEST_SUITE_P(OfADump, RebuildWithoutOnePack, testing::Range(0, 4));

TEST_P(RebuildWithoutOnePack, ADumpIsLeftOutAndNamed) {
  const auto packs = stream_backup("dump");
  ASSERT_TRUE(packs) << packs.failure().describe();
  ASSERT_EQ(packs->size(), 4U) << "of chunk, part, index and tree";
  lose(pack_name(cluster->id(), *std::next(packs->begin(), GetParam())));
  lose_log();
  const auto report = rebuilt("main");
  EXPECT_TRUE(report.recovered.empty());
  EXPECT_EQ(report.unreadable.size() + report.incomplete.size(), 1U);
}

TEST_F(RebuildTest, AfterTheWholeLogIsLostTheNameMustBeGiven) {
  ASSERT_TRUE(backup("a"));
  lose_log();
  const auto nameless = rebuild();
  ASSERT_FALSE(nameless);
  EXPECT_EQ(nameless.failure().code(), Errc::Precondition);
  EXPECT_EQ(rebuilt("main").recovered, std::vector<std::string>{"a"});
  auto now = opened();
  EXPECT_EQ(now.cluster->state().system_id(), kSystemId);
  expect_undamaged(*now.cluster);
}

TEST_F(RebuildTest, WhatWasForgottenOrAbortedStaysSo) {
  const auto a = *backup("a");
  const auto b = *backup("b");
  ASSERT_TRUE(backup("c"));
  ASSERT_TRUE(write(ForgetEntry{a}));
  auto session = *WriteSession::begin(*cluster, {});
  ASSERT_TRUE(write(AuditEntry{"x", "y"}));
  const auto gap = cluster->state().next_seq() - 1;
  ASSERT_TRUE(write(ForgetEntry{b}));
  ASSERT_TRUE(write(AbortEntry{session->id()}));
  const auto object = seal_root(root_of(*session, "aborted"), cluster->context(), cluster->keys().map_key, random);
  ASSERT_TRUE(memory->create(manifest_name(cluster->id(), session->id()), object));
  lose(slot(gap));
  EXPECT_EQ(rebuilt().recovered, std::vector<std::string>{"c"});
}

TEST_F(RebuildTest, HoldsComeAlong) {
  const auto a = *backup("a");
  const auto b = *backup("b");
  ASSERT_TRUE(write(HoldEntry{a, "audit", TimePoint(std::chrono::seconds(1000))}));
  ASSERT_TRUE(write(AuditEntry{"x", "y"}));
  const auto gap = cluster->state().next_seq() - 1;
  ASSERT_TRUE(write(HoldEntry{b, "court"}));
  lose(slot(gap));
  rebuilt();
  auto now = opened();
  EXPECT_EQ(now.cluster->state().snapshots().at(a).hold, (Hold{"audit", TimePoint(std::chrono::seconds(1000))}));
  EXPECT_EQ(now.cluster->state().snapshots().at(b).hold, (Hold{"court", {}}));
}

TEST_F(RebuildTest, ABackupWithoutAllItsPacksIsLeftOutAndNamed) {
  const auto a = *backup("a");
  ASSERT_TRUE(backup("b"));
  lose(pack_name(cluster->id(), {a, 0}));
  const auto report = rebuilt();
  EXPECT_EQ(report.recovered, std::vector<std::string>{"b"});
  EXPECT_EQ(report.incomplete, std::vector<std::string>{"a"});
  // What is left of it stays: the pack may come back from a copy, and the log be rebuilt once more.
  auto now = opened();
  clock.sleep(std::chrono::hours(1000));
  ASSERT_TRUE(collect(*now.cluster));
  EXPECT_TRUE(has({a, 1}) && has_root(a));
}

TEST_F(RebuildTest, AnUnreadableRootIsNamed) {
  const auto a = *backup("a");
  ASSERT_TRUE(backup("b"));
  memory->replace(manifest_name(cluster->id(), a), to_bytes(as_bytes("garbage")));
  const auto report = rebuilt();
  EXPECT_EQ(report.recovered, std::vector<std::string>{"b"});
  ASSERT_EQ(report.unreadable.size(), 1u);
  EXPECT_NE(report.unreadable[0].find(a.hex()), std::string::npos);
}

TEST_F(RebuildTest, BackupsAndCollectionGoOnAfterwards) {
  const auto a = *backup("a", 2);  // files in packs 0 and 1, the tree in 2
  const auto b = *backup(*cluster, "b", 1, a, {PackId{a, 0}, PackId{a, 2}});
  lose(slot(1));
  rebuilt();
  auto now = opened();
  const auto c = backup(*now.cluster, "c", 1, b, {PackId{b, 1}});
  ASSERT_TRUE(c) << c.failure().describe();
  ASSERT_TRUE(now.cluster->log().append(now.cluster->actor(), ForgetEntry{a}));
  const auto done = collect(*now.cluster);
  ASSERT_TRUE(done) << done.failure().describe();
  EXPECT_FALSE(has({a, 0}) || has({a, 2}));
  EXPECT_TRUE(has({a, 1})) << "b and c refer to it";
  EXPECT_TRUE(done->unknown.empty());
  EXPECT_EQ(names(now.cluster->state()), (std::set<std::string>{"b", "c"}));
  expect_undamaged(*now.cluster);
}

TEST_F(RebuildTest, ABackupThatIsPublishedMeanwhileIsNotLost) {
  ASSERT_TRUE(backup("a"));
  // The rebuild has read everything and puts its GENESIS; just before that the SNAP lands.
  Fault fault;
  fault.on = Operation::Create;
  fault.when = Fault::When::Delay;
  fault.times = 1;
  bool published = false;
  fault.then = [&] { published = static_cast<bool>(backup("b")); };
  store->add(fault);
  const auto report = rebuilt();
  EXPECT_TRUE(published);
  EXPECT_EQ(report.generation, 2u);
  EXPECT_EQ(report.recovered, (std::vector<std::string>{"a", "b"}));
}

TEST_F(RebuildTest, OnlyARootRebuilds) {
  ASSERT_TRUE(backup("a"));
  Unlock host;
  host.provider = KeyProvider::KeyFile;
  host.key = crypto::Key256::generate(random);
  ASSERT_TRUE(repository->add_slot(host, Role::Host, "host", cluster.get()));
  std::vector<Unlock> unlocks;
  unlocks.push_back(copy_of(host));
  auto as_host = *Repository::open(environment(), std::move(unlocks));
  const auto report = rebuild_log(*as_host, cluster->id());
  ASSERT_FALSE(report);
  EXPECT_EQ(report.failure().code(), Errc::Key);
}

TEST_F(RebuildTest, ActorsStayEnrolled) {
  Unlock host;
  host.provider = KeyProvider::KeyFile;
  host.key = crypto::Key256::generate(random);
  ASSERT_TRUE(repository->add_slot(host, Role::Host, "host", cluster.get()));
  ASSERT_TRUE(backup("a"));
  lose(slot(cluster->state().next_seq() - 2));
  rebuilt();
  std::vector<Unlock> unlocks;
  unlocks.push_back(copy_of(host));
  auto as_host = *Repository::open(environment(), std::move(unlocks));
  auto clusters = as_host->clusters();
  ASSERT_TRUE(clusters) << clusters.failure().describe();
  ASSERT_EQ(clusters->size(), 1u);
  EXPECT_TRUE(backup(*clusters->front(), "b"));
}

}  // namespace
}  // namespace pgmint::repository

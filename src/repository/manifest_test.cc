#include "repository/manifest.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "codec/crc32c.h"
#include "repository/layout.h"
#include "repository/pack.h"
#include "repository/testing_keys.h"
#include "storage/memory_store.h"

namespace pgmint::repository {
namespace {

struct ManifestTest : ::testing::Test {
  SeededRandom random{4711};
  RecordContext context = testing::make_context(random);
  ClusterKeys keys = testing::make_cluster_keys(random);
  std::unique_ptr<storage::BlobStore> store = storage::make_memory_store();

  ManifestRoot sample_root() {
    ManifestRoot root;
    root.session = random.id<SessionId>();
    root.name = "20261122T084001Z-full";
    root.started = TimePoint(std::chrono::microseconds(1));
    root.finished = TimePoint(std::chrono::microseconds(2));
    root.system_id = 7;
    root.incarnation = Incarnation(1);
    root.timeline = 3;
    root.start_lsn = 0x100;
    root.stop_lsn = 0x200;
    root.pg_major = 15;
    root.block_size = 8192;
    root.backup_label = to_bytes(as_bytes("START WAL LOCATION: 0/2000028\n"));
    root.extent_size = 262144;
    root.note = "before the release";
    root.tablespaces = {{16400, "/srv/ts"}};
    root.bad_pages = {{"base/1/2", 9, 1}};
    root.warnings = {"w"};
    root.settings = {{"max_connections", "100"}};
    root.tree.type = RecordType::ManifestNode;
    root.tree.stored_length = 40;
    return root;
  }
};

TEST_F(ManifestTest, ARootNamesThePiecesOfItsAccountOrSaysThatItHasNone) {
  auto root = sample_root();
  EXPECT_EQ(parse_root(encode_root(root)).value().account, std::nullopt);
  root.account.emplace();
  EXPECT_TRUE(parse_root(encode_root(root)).value().account->empty()) << "a backup that refers to nothing keeps an account of that";
  auto piece = root.tree;
  piece.raw_length = 8;
  root.account = std::vector{root.tree, piece};
  EXPECT_EQ(parse_root(encode_root(root)).value().account, root.account);
  root.account->back().type = RecordType::SegmentMap;
  EXPECT_FALSE(parse_root(encode_root(root)));
}

FileEntry file(std::string path, std::uint64_t size = 0) {
  FileEntry e;
  e.path = std::move(path);
  e.mode = 0600;
  e.owner = "postgres";
  e.group = "postgres";
  e.size = size;
  return e;
}

TEST_F(ManifestTest, RootRoundTripsSealed) {
  const auto root = sample_root();
  const auto object = seal_root(root, context, keys.map_key, random);
  ASSERT_TRUE(store->create(manifest_name(context.cluster, root.session), object));
  const auto again = read_root(*store, context, root.session, keys);
  ASSERT_TRUE(again) << again.failure().describe();
  EXPECT_EQ(encode_root(*again), encode_root(root));
  EXPECT_EQ(again->session, root.session);
}

TEST_F(ManifestTest, EveryFlippedByteOfARootIsNoticed) {
  const auto root = sample_root();
  const auto object = seal_root(root, context, keys.map_key, random);
  for (std::size_t i = 0; i < object.size(); ++i) {
    Bytes flipped = object;
    flipped[i] ^= std::byte{1};
    EXPECT_FALSE(open_root(flipped, context, root.session, keys)) << i;
  }
}

TEST_F(ManifestTest, ARootUnderAnotherNameIsRefused) {
  const auto root = sample_root();
  const auto object = seal_root(root, context, keys.map_key, random);
  EXPECT_FALSE(open_root(object, context, random.id<SessionId>(), keys));
}

TEST_F(ManifestTest, ATreeOfManyFilesIsWalkedInOrder) {
  const PackId id{random.id<SessionId>(), 0};
  RecordSealer sealer(context, keys, {codec::CodecId::Zstd, 1}, random);
  PackWriter pack(context, id, PackKind::Map, Epoch(1), sealer, keys.maintenance_key, random);
  ManifestTreeWriter tree([&](ByteView node) { return pack.append(RecordType::ManifestNode, node); });
  constexpr int kFiles = 300'000;
  for (int i = 0; i < kFiles; ++i) ASSERT_TRUE(tree.add(file(fmt::format("base/{:08}", i), 0)));
  auto finished = std::move(tree).finish();
  ASSERT_TRUE(finished);
  EXPECT_GE(finished->depth, 2);
  ASSERT_TRUE(store->create(pack_name(context.cluster, id), std::move(pack).finish().data));
  auto root = sample_root();
  root.tree = finished->root;
  root.tree_depth = finished->depth;
  RecordOpener opener(context, keys);
  int seen = 0;
  ASSERT_TRUE(walk_manifest(*store, context, opener, root, [&](const FileEntry& e) -> Status {
    if (e.path != fmt::format("base/{:08}", seen)) return Error(Errc::Internal, e.path);
    ++seen;
    return ok();
  }));
  EXPECT_EQ(seen, kFiles);
}

TEST_F(ManifestTest, AnUnchangedRunOfFilesGivesTheSameNodes) {
  auto nodes_of = [&](int changed) {
    std::set<Bytes> nodes;
    ManifestTreeWriter tree([&](ByteView node) -> Result<RecordLocation> {
      nodes.insert(to_bytes(node));
      RecordLocation l;
      l.type = RecordType::ManifestNode;
      l.offset = codec::crc32c(node);
      return l;
    });
    for (int i = 0; i < 20'000; ++i) {
      auto e = file(fmt::format("base/{:06}", i));
      if (i == changed) e.mtime_us = 1;
      EXPECT_TRUE(tree.add(e));
    }
    EXPECT_TRUE(std::move(tree).finish());
    return nodes;
  };
  const auto a = nodes_of(-1), b = nodes_of(10'000);
  std::size_t shared = 0;
  for (const auto& node : b) shared += a.count(node);
  EXPECT_LE(b.size() - shared, 3u);  // the leaf, and what stands above it
}

TEST(ManifestNode, PathsThatLeaveTheTargetAreRefused) {
  for (auto path : {"../x", "a/../../b", "/abs", "a//b", "", ".", "a/."}) {
    ManifestNode node;
    node.entries.push_back(file(path));
    EXPECT_FALSE(parse_node(encode_node(node))) << path;
  }
  ManifestNode good;
  good.entries.push_back(file("base/1/2"));
  EXPECT_TRUE(parse_node(encode_node(good)));
}

TEST(ManifestNode, EveryTruncationIsCorruption) {
  ManifestNode node;
  node.entries.push_back(file("a"));
  auto link = file("b");
  link.kind = FileKind::Symlink;
  link.content = std::string("/srv/wal");
  node.entries.push_back(link);
  const auto raw = encode_node(node);
  for (std::size_t n = 0; n < raw.size(); ++n) EXPECT_FALSE(parse_node(ByteView(raw).first(n))) << n;
}

}  // namespace
}  // namespace pgmint::repository

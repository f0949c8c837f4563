// Copies on top of copies: what is read, what is stored, and that every byte comes back.
#include "backup/testing_copy.h"

namespace pgmint::backup {
namespace {

using postgres::BlockNumber;
using postgres::Lsn;
using testing::kBlock;
using testing::kExtent;
using testing::SegmentMap;

/// A cluster that changes between one copy and the next, and a WAL that says what changed.
struct IncrementalCopyTest : testing::CopyTest {
  postgres::ChangeSet changes;
  std::map<std::string, std::set<BlockNumber>> touched;
  std::map<std::string, BlockNumber> limits;

  static postgres::RelationFork fork_of(const std::string& path) {
    const auto relation = postgres::relation_of_path(path).value();
    return {relation.locator, relation.fork};
  }

  /// A page of a file becomes another, by a record that ends at `lsn`.
  void change(const std::string& path, BlockNumber block, Lsn lsn, bool in_wal = true) {
    cluster.patch(path, std::size_t{block} * kBlock, testing::make_page(random, block, lsn));
    if (in_wal) touched[path].insert(block);
  }
  void resize(const std::string& path, std::size_t pages, Lsn lsn) {
    auto content = cluster.contents().at(path);
    const auto before = content.size() / kBlock;
    content.resize(std::min(before, pages) * kBlock);
    for (auto block = before; block < pages; ++block) {
      // Extension writes zeros, and no WAL about them.
      const bool used = random.below(2) == 0;
      append(content, used ? testing::make_page(random, static_cast<BlockNumber>(block), lsn) : Bytes(kBlock));
      if (used) touched[path].insert(static_cast<BlockNumber>(block));
    }
    if (pages < before) limit(path, static_cast<BlockNumber>(pages));
    cluster.file(path, content);
  }
  void limit(const std::string& path, BlockNumber block) {
    const auto [at, added] = limits.try_emplace(path, block);
    if (!added) at->second = std::min(at->second, block);
  }

  void gather() {
    changes = {};
    for (const auto& [path, blocks] : touched) changes.blocks.push_back({fork_of(path), {blocks.begin(), blocks.end()}});
    for (const auto& [path, block] : limits) changes.limits.push_back({fork_of(path), block});
    std::ranges::sort(changes.blocks, {}, &postgres::ForkBlocks::where);
    std::ranges::sort(changes.limits);
    touched.clear();
    limits.clear();
  }

  /// The moment of the next backup.
  void advance() {
    become_parent();
    start = start + 0x1000000;
  }
  Lsn before_start() { return parent_start + 8 + random.below(start - parent_start - 8); }

  void copy_on_parent(bool know = true, bool refresh = false) {
    gather();
    look_on_parent(know ? &changes : nullptr, refresh);
    counters.read_bytes = counters.changed_pages = 0;
    auto status = copy();
    ASSERT_TRUE(status) << status.failure().describe();
  }
  void expect_all() {
    ASSERT_FALSE(outcome.refuted) << *outcome.refuted;
    for (const auto& entry : scan.entries)
      if (cluster.contents().contains(entry.path) && entry.path != "global/pg_control") expect_whole(entry.path);
  }
};

TEST_F(IncrementalCopyTest, NothingChangedStoresNothing) {
  relation("base/5/20000", 700);
  relation("base/5/20001", 3);
  cluster.file("pg_xact/0000", random_bytes(random, 262144));
  cluster.file("extension/data", random_bytes(random, 5000));
  look_and_copy();
  const auto packs = next_pack.load();
  advance();
  copy_on_parent();
  EXPECT_EQ(next_pack, packs);
  EXPECT_EQ(counters.changed_pages, 0U);
  EXPECT_LT(counters.read_bytes, 300'000U) << "what is no relation's is read and compared";
  expect_all();
}

TEST_F(IncrementalCopyTest, ChangedPagesAloneAreReadAndStored) {
  relation("base/5/20000", 1000);
  look_and_copy();
  advance();
  for (const BlockNumber block : {0, 1, 2, 100, 500, 999}) change("base/5/20000", block, before_start());
  copy_on_parent();
  EXPECT_EQ(counters.changed_pages, 6U);
  EXPECT_LT(counters.read_bytes, 6U * kBlock + 2000);
  const auto map = map_of("base/5/20000");
  ASSERT_FALSE(map.deltas.empty());
  std::size_t pages = 0;
  for (const auto& delta : map.deltas) pages += delta.live_count();
  EXPECT_EQ(pages, 6U);
  expect_all();
}

TEST_F(IncrementalCopyTest, AnExtentThatChangedByMoreThanAThirdIsWrittenAnew) {
  relation("base/5/20000", 128);
  look_and_copy();
  advance();
  for (BlockNumber block = 32; block < 43; ++block) change("base/5/20000", block, before_start());
  copy_on_parent();
  auto map = map_of("base/5/20000");
  EXPECT_TRUE(map.deltas.empty());
  EXPECT_EQ(counters.changed_pages, 32U);
  expect_all();
  advance();
  for (BlockNumber block = 64; block < 74; ++block) change("base/5/20000", block, before_start());
  copy_on_parent();
  EXPECT_EQ(map_of("base/5/20000").deltas.size(), 1U);
  expect_all();
  advance();
  change("base/5/20000", 80, before_start());
  copy_on_parent();
  EXPECT_EQ(counters.changed_pages, 1U) << "what stood in deltas before need not be read again";
  EXPECT_EQ(map_of("base/5/20000").deltas.size(), 2U);
  expect_all();
}

TEST_F(IncrementalCopyTest, DeltasThatCostTooMuchAreFolded) {
  relation("base/5/20000", 2048);
  look_and_copy();
  std::size_t greatest = 0;
  for (int round = 0; round < 40; ++round) {
    advance();
    for (int i = 0; i < 40; ++i) change("base/5/20000", static_cast<BlockNumber>(random.below(2048)), before_start());
    copy_on_parent();
    const auto map = map_of("base/5/20000");
    std::size_t base = 0, deltas = 0;
    for (const auto& extent : map.extents) base += extent.location ? extent.location->stored_length : 0;
    for (const auto& delta : map.deltas) deltas += delta.location.stored_length;
    greatest = std::max(greatest, deltas * 100 / base);
    expect_all();
  }
  EXPECT_LT(greatest, 35U) << "percent of the base: one round may go past 30";
  EXPECT_GT(greatest, 15U);
}

TEST_F(IncrementalCopyTest, WithoutAListContentDecides) {
  relation("base/5/20000", 700);
  relation("base/5/20001", 5);
  cluster.file("base/5/20000_vm", testing::make_pages(random, 40));
  look_and_copy();
  advance();
  for (const BlockNumber block : {7, 300, 699}) change("base/5/20000", block, before_start());
  change("base/5/20001", 2, before_start());
  change("base/5/20000", 650, Lsn(0x1000028));  // CREATE DATABASE by file copy leaves pages with an older LSN
  touched.clear();
  copy_on_parent(false);
  EXPECT_EQ(counters.changed_pages, 4U + 5U) << "small files go as a whole";
  EXPECT_EQ(findings.bad, 0U) << "nothing is known, so nothing is suspicious";
  expect_all();
}

TEST_F(IncrementalCopyTest, TheVisibilityMapIsComparedWhateverItsLsnSays) {
  relation("base/5/20000", 100);
  cluster.file("base/5/20000_vm", testing::make_pages(random, 40));
  cluster.file("base/5/20000_fsm", testing::make_pages(random, 3));
  look_and_copy();
  advance();
  change("base/5/20000_vm", 11, Lsn(0x1000028), false);
  change("base/5/20000_fsm", 1, Lsn(0x1000028), false);
  copy_on_parent();
  EXPECT_EQ(findings.bad, 0U);
  expect_all();
}

TEST_F(IncrementalCopyTest, APageThatTheListOmitsRefutesIt) {
  relation("base/5/20000", 128);
  look_and_copy();
  advance();
  for (BlockNumber block = 32; block < 43; ++block) change("base/5/20000", block, before_start());
  change("base/5/20000", 60, before_start(), false);  // its neighbours make the extent be read
  copy_on_parent();
  ASSERT_TRUE(outcome.refuted);
  EXPECT_NE(outcome.refuted->find("base/5/20000 block 60"), std::string::npos) << *outcome.refuted;
}

TEST_F(IncrementalCopyTest, TheRefreshFindsWhatTheListOmits) {
  relation("base/5/20000", 128);
  relation("base/5/20001", 4);
  look_and_copy();
  advance();
  change("base/5/20000", 60, before_start(), false);
  copy_on_parent();
  EXPECT_FALSE(outcome.refuted) << "nobody looked";
  copy_on_parent(true, true);
  EXPECT_TRUE(outcome.refuted);
  change("base/5/20000", 60, Lsn(0x1000028), false);
  change("base/5/20001", 1, before_start(), false);
  copy_on_parent(true, true);
  ASSERT_TRUE(outcome.refuted) << "small files are looked at as well";
  EXPECT_NE(outcome.refuted->find("base/5/20001 block 1"), std::string::npos) << *outcome.refuted;
}

TEST_F(IncrementalCopyTest, TheRefreshNamesWhatChangedWithoutWal) {
  relation("base/5/20000", 128);
  relation("base/5/20001", 4);
  look_and_copy();
  advance();
  change("base/5/20000", 60, Lsn(0x1000028), false);
  change("base/5/20001", 1, Lsn(0x1000028), false);
  copy_on_parent(true, true);
  const auto named = findings.named();
  ASSERT_EQ(named.size(), 2U);
  EXPECT_EQ(named[0].path, "base/5/20000");
  EXPECT_EQ(named[0].block, 60U);
  EXPECT_EQ(named[0].reason, kChangedWithoutWal);
  EXPECT_EQ(named[1].path, "base/5/20001");
  EXPECT_EQ(named[1].block, 1U);
  expect_all();
}

TEST_F(IncrementalCopyTest, HintsAreNoDamageAndAreStoredFresh) {
  relation("base/5/20000", 128);
  look_and_copy();
  advance();
  auto content = cluster.contents().at("base/5/20000");
  auto page = MutableByteView(content).subspan(60 * kBlock, kBlock);
  page[20] = std::byte{9};  // pd_prune_xid
  const auto checksum = postgres::page_checksum(page, 60);
  std::memcpy(page.data() + 8, &checksum, 2);
  cluster.file("base/5/20000", content);
  copy_on_parent(true, true);
  EXPECT_EQ(findings.bad, 0U);
  EXPECT_EQ(counters.changed_pages, 1U);
  expect_all();
}

TEST_F(IncrementalCopyTest, AParentThatCannotBeReadRefutesIt) {
  relation("base/5/20000", 128);
  look_and_copy();
  advance();
  change("base/5/20000", 60, before_start());
  for (auto& entry : parent.entries)
    if (auto map = entry.content.map() != nullptr ? std::optional(*entry.content.map()) : std::nullopt) {
      map->nonce[0] ^= std::byte{1};
      entry.content = StoredContent(*map);
    }
  copy_on_parent();
  ASSERT_TRUE(outcome.refuted);
  EXPECT_NE(outcome.refuted->find("the parent cannot be read"), std::string::npos) << *outcome.refuted;
}

TEST_F(IncrementalCopyTest, DamagedPagesAreInheritedUntilTheyAreReadAgain) {
  relation("base/5/20000", 128);
  auto content = cluster.contents().at("base/5/20000");
  content[60 * kBlock + 5000] ^= std::byte{1};
  content[70 * kBlock + 5000] ^= std::byte{1};
  cluster.file("base/5/20000", content);
  look_and_copy();
  ASSERT_EQ(findings.bad, 2U);
  advance();
  change("base/5/20000", 3, before_start());
  copy_on_parent();
  EXPECT_EQ(outcome.inherited_bad.size(), 2U);
  EXPECT_EQ(findings.bad, 2U) << "none was found anew";
  advance();
  parent_bad.resize(2);
  change("base/5/20000", 70, before_start());
  copy_on_parent();
  ASSERT_EQ(outcome.inherited_bad.size(), 1U);
  EXPECT_EQ(outcome.inherited_bad[0].block, 60U);
  expect_all();
}

TEST_F(IncrementalCopyTest, ARelationThatIsCutWhileItIsReadDoesNotStopIt) {
  relation("base/5/20000", 256);
  look_and_copy();
  advance();
  for (const BlockNumber block : {10, 200, 250}) change("base/5/20000", block, before_start());
  for (BlockNumber block = 224; block < 240; ++block) change("base/5/20000", block, before_start());
  gather();
  look_on_parent(&changes);
  fs::resize_file(cluster.path() / "base/5/20000", 201 * kBlock);
  auto status = copy();
  ASSERT_TRUE(status) << status.failure().describe();
  const auto bytes = restored("base/5/20000");
  EXPECT_EQ(bytes.size(), 256U * kBlock) << "replay cuts it off";
  const auto& content = cluster.contents().at("base/5/20000");
  EXPECT_TRUE(std::equal(bytes.begin(), bytes.begin() + 201 * kBlock, content.begin()));
}

/// Whatever changes, and whatever is asked for, what comes back is what stands in the files.
TEST_F(IncrementalCopyTest, AnyChainOfChangesComesBack) {
  const std::vector<std::string> paths{"base/5/20000", "base/5/20001", "base/5/20002", "base/5/20003_vm", "base/5/20004"};
  for (const auto& path : paths) relation(path, 1 + random.below(400));
  look_and_copy();
  for (int round = 0; round < 25; ++round) {
    advance();
    for (const auto& path : paths) {
      const auto pages = cluster.contents().at(path).size() / kBlock;
      switch (random.below(6)) {
        case 0:
          break;
        case 1:
          resize(path, 1 + random.below(500), before_start());
          break;
        case 2: {  // dropped and made again
          relation(path, 1 + random.below(300));
          limit(path, 0);
          break;
        }
        default:
          for (auto n = random.below(60); n > 0; --n)
            change(path, static_cast<BlockNumber>(random.below(pages)), before_start());
      }
      // A list that names too much is no harm.
      if (random.below(3) == 0) touched[path].insert(static_cast<BlockNumber>(random.below(600)));
    }
    workers = 1 + static_cast<unsigned>(random.below(3));
    copy_on_parent(random.below(4) != 0, random.below(4) == 0);
    expect_all();
    ASSERT_EQ(findings.bad, 0U) << "round " << round;
    if (HasFailure()) return;
  }
}

/// Packs of which little is in use are emptied, and nothing that moved is another than it was.
TEST_F(IncrementalCopyTest, WhatIsAliveLeavesPacksThatAreMostlyDead) {
  relation("base/5/20000", 1200);
  relation("base/5/20001", 600);
  for (int i = 0; i < 30; ++i) relation(fmt::format("base/5/{}", 30000 + i), 3);
  look_and_copy();
  advance();
  for (BlockNumber block = 0; block < 1200; ++block)
    if (block % 100 != 0) change("base/5/20000", block, before_start());
  for (int i = 0; i < 15; ++i) change(fmt::format("base/5/{}", 30000 + i), 1, before_start());
  copy_on_parent();
  advance();
  std::set<repository::PackId> old;
  for (std::uint32_t n = 0; n < next_pack; ++n) old.insert({session, n});
  {
    const repository::PackSettings packs{
        context, keys, {}, system_random(), [this] { return repository::PackId{session, next_pack.fetch_add(1)}; }, buffers, 4U << 20};
    repository::PackStream into(packs, repository::PackKind::Base, upload);
    Forward away(store, context, keys, into, old);
    forward = &away;
    change("base/5/20001", 7, before_start());
    copy_on_parent();
    ASSERT_TRUE(into.close());
    forward = nullptr;
    EXPECT_GT(away.moved_bytes(), 0U);
  }
  const auto map = map_of("base/5/20001");
  for (const auto& extent : map.extents) EXPECT_FALSE(old.contains(extent.location->pack));
  expect_all();
}

TEST(PacksToEmpty, TheEmptiestWhenItPays) {
  SeededRandom random(1);
  const auto session = random.id<repository::SessionId>();
  repository::PackTable table;
  repository::SharedBits numbers;
  repository::PackUse use;
  const auto pack = [&](std::uint32_t number, std::uint64_t size, std::uint64_t used) {
    numbers.insert(table.number_of({{session, number}, size, {}}));
    if (used != 0) use.set({session, number}, used);
  };
  pack(0, 1000, 990);
  pack(1, 1000, 0);  // goes by itself
  pack(2, 1000, 499);
  pack(3, 1000, 500);
  pack(4, 1000, 100);
  using Set = std::set<repository::PackId>;
  EXPECT_EQ(packs_to_empty({table, numbers}, use, 10'000), (Set{{session, 2}, {session, 4}}));
  EXPECT_EQ(packs_to_empty({table, numbers}, use, 300), (Set{{session, 4}}));
  pack(5, 100'000, 99'000);
  EXPECT_EQ(packs_to_empty({table, numbers}, use, 10'000), Set{}) << "1,401 bytes are not worth reading every map for";
}

}  // namespace
}  // namespace pgmint::backup

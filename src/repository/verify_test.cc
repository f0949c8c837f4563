#include "repository/verify.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/test_seed.h"
#include "repository/object_header.h"
#include "repository/pack.h"
#include "repository/repository_fixture.h"
#include "repository/segment_map.h"

namespace pgmint::repository {
namespace {

constexpr std::uint32_t kExtent = 8192;
constexpr auto kBothDepths = {VerifyDepth::Open, VerifyDepth::Decompress};

class VerifyTest : public testing::Test, public RepositoryFixture {
 protected:
  VerifyReport verified(VerifyOptions options) {
    auto other = reopened();
    auto found = std::move(*other->find_cluster("main", kSystemId));
    auto report = verify(*found, options);
    EXPECT_TRUE(report) << report.failure().describe();
    return report ? *report : VerifyReport{};
  }
  VerifyReport verified(VerifyDepth depth) {
    VerifyOptions options;
    options.depth = depth;
    return verified(options);
  }
  static std::string told(const VerifyReport& report) {
    std::string text;
    for (const auto& f : report.findings) text += fmt::format("{}: {}\n", f.object, f.problem);
    return text;
  }

  /// What a test may do to a backup of one mapped file before it is committed as if that were right.
  struct Mapped {
    std::vector<Bytes> extents;
    /// Takes the place of sealing: gets the writer, and answers with the extent's location.
    std::function<Result<RecordLocation>(PackWriter&, ByteView)> append = [](PackWriter& to, ByteView plain) {
      return to.append(RecordType::Extent, plain);
    };
    std::function<void(SegmentMap&)> change_map = [](SegmentMap&) {};
  };
  Bytes pattern(unsigned salt) {
    Bytes bytes(kExtent);
    for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>((i / 64 + salt) & 0xff);
    return bytes;
  }

  PackId last_data_pack{};
  Result<SessionId> backup_mapped(const std::string& name, const Mapped& content) {
    auto session = TRY(WriteSession::begin(*cluster, std::nullopt));
    RecordSealer sealer(cluster->context(), cluster->keys(), {codec::CodecId::Zstd, 1}, random);
    const auto epoch = cluster->keys().newest_epoch();
    PackWriter data(cluster->context(), session->next_pack(), PackKind::Base, epoch, sealer, cluster->keys().maintenance_key, random);
    last_data_pack = data.id();
    SegmentMap map;
    map.page_size = 8192;
    map.extent_size = kExtent;
    map.file_length = content.extents.size() * kExtent;
    for (const auto& plain : content.extents) {
      MapExtent extent;
      extent.location = TRY(content.append(data, plain));
      extent.fingerprint = sealer.fingerprint(extent.location->nonce, plain);
      map.extents.push_back(extent);
    }
    content.change_map(map);
    PackWriter maps(cluster->context(), session->next_pack(), PackKind::Map, epoch, sealer, cluster->keys().maintenance_key, random);
    FileEntry file;
    file.path = "base/1/" + name;
    file.kind = FileKind::Mapped;
    file.size = map.file_length;
    file.content = TRY(maps.append(RecordType::SegmentMap, encode_segment_map(map)));
    ManifestTreeWriter tree([&](ByteView node) { return maps.append(RecordType::ManifestNode, node); });
    TRY(tree.add(std::move(file)));
    const auto written = TRY(std::move(tree).finish());
    auto root = root_of(*session, name);
    root.tree = written.root;
    root.tree_depth = written.depth;
    TRY(session->upload(std::move(data).finish()));
    TRY(session->upload(std::move(maps).finish()));
    TRY(session->commit(root, {}));
    return session->id();
  }
  std::string name_of(const PackId& id) { return pack_name(cluster->id(), id); }
  Bytes pack_bytes(const PackId& id) { return *memory->snapshot().at(name_of(id)); }

  /// A record that is authentic, with `stored` where compressed bytes should be.
  RecordLocation seal_as_it_is(PackWriter& to, ByteView stored, std::uint32_t raw_length) {
    codec::BinaryWriter aad;  // docs/format/pack.md
    aad.raw(as_bytes("PGMINT-RECORD-01"));
    aad.u8(kSuite1);
    aad.u8(static_cast<std::uint8_t>(RecordType::Extent));
    aad.u8(static_cast<std::uint8_t>(codec::CodecId::Zstd));
    aad.u8(0);
    aad.u32(cluster->keys().newest_epoch().value());
    aad.u64(raw_length);
    aad.raw(cluster->context().repository.bytes);
    aad.raw(cluster->context().cluster.bytes);
    crypto::Aead aead(**cluster->keys().data_key(cluster->keys().newest_epoch()));
    const auto sealed = aead.seal_with_random_nonce(random, aad.view(), stored);
    RecordLocation l{to.id(), 0, static_cast<std::uint32_t>(sealed.size()), raw_length, RecordType::Extent, codec::CodecId::Zstd,
                     cluster->keys().newest_epoch(), {}};
    std::copy_n(sealed.begin(), l.nonce.size(), l.nonce.begin());
    return to.append_sealed(l, sealed);
  }
};

TEST_F(VerifyTest, SaysWhatWasShownOfASoundRepository) {
  ASSERT_TRUE(backup_mapped("a", {.extents = {pattern(1), pattern(2)}}));
  ASSERT_TRUE(backup("b", 3));
  std::uint64_t stored = 0;
  for (const auto& [name, bytes] : memory->snapshot())
    if (name.find("/p/") != std::string::npos) stored += bytes->size();
  const auto present = verified(VerifyDepth::Presence);
  EXPECT_EQ(told(present), "");
  EXPECT_EQ(present.packs, 6u);
  EXPECT_EQ(present.bytes_read + present.packs_opened + present.records, 0u);
  for (auto depth : kBothDepths) {
    const auto report = verified(depth);
    EXPECT_EQ(told(report), "");
    EXPECT_EQ(report.packs_opened, 6u);
    EXPECT_EQ(report.packs_only_hashed, 0u);
    EXPECT_EQ(report.records, 2u + 2u + 3u + 1u);
    EXPECT_EQ(report.bytes_read, stored);
    EXPECT_EQ(report.files, 4u);
    EXPECT_EQ(report.walks, 1u);
  }
}

/// The difference between the two: an authentic record that does not decompress, or decompresses to something else.
TEST_F(VerifyTest, OnlyDecompressingShowsWhatWasSpoiltBeforeItWasSealed) {
  ASSERT_TRUE(backup_mapped("a", {.extents = {pattern(1)}, .append = [&](PackWriter& to, ByteView) -> Result<RecordLocation> {
                                    return seal_as_it_is(to, Bytes(200, std::byte{0x5a}), kExtent);
                                  }}));
  EXPECT_EQ(told(verified(VerifyDepth::Open)), "");
  const auto report = verified(VerifyDepth::Decompress);
  ASSERT_EQ(report.findings.size(), 1u) << told(report);
  EXPECT_EQ(report.findings[0].object, name_of(last_data_pack));
  EXPECT_EQ(report.findings[0].problem.find("SHA-256"), std::string::npos) << "it is what was committed: " << told(report);
  EXPECT_EQ(report.findings[0].backups, std::vector<std::string>{"a"});
}

TEST_F(VerifyTest, OnlyDecompressingComparesFingerprints) {
  const auto spoil = [](SegmentMap& map) { map.extents[1].fingerprint[3] ^= std::byte{1}; };
  const auto session = backup_mapped("a", {.extents = {pattern(1), pattern(2)}, .change_map = spoil});
  ASSERT_TRUE(session);
  EXPECT_EQ(told(verified(VerifyDepth::Open)), "");
  const auto report = verified(VerifyDepth::Decompress);
  ASSERT_EQ(report.findings.size(), 1u) << told(report);
  EXPECT_EQ(report.findings[0].object, manifest_name(cluster->id(), *session));
  EXPECT_NE(report.findings[0].problem.find("base/1/a"), std::string::npos) << told(report);
}

TEST_F(VerifyTest, AMapThatDescribesItsRecordWronglyIsFound) {
  for (const auto& [what, change] : std::vector<std::pair<std::string, std::function<void(RecordLocation&)>>>{
           {"codec", [](auto& l) { l.codec = codec::CodecId::Lz4; }},
           {"epoch", [](auto& l) { l.epoch = Epoch(2); }},
           {"nonce", [](auto& l) { l.nonce[23] ^= std::byte{1}; }},
           {"length", [](auto& l) { --l.stored_length; }},
           {"place", [](auto& l) { ++l.offset; }}}) {
    ASSERT_TRUE(backup_mapped(what, {.extents = {pattern(1), pattern(2), pattern(3)},
                                     .change_map = [&, change = change](SegmentMap& map) { change(*map.extents[1].location); }}));
    for (auto depth : kBothDepths) {
      VerifyOptions options;
      options.depth = depth;
      options.only = cluster->state().find(what)->snap.session;
      EXPECT_EQ(verified(options).findings.size(), 1u) << what;
    }
  }
}

/// What is held against a pack's records is found only by reading it: so it is read until there is nothing to find.
TEST_F(VerifyTest, APackThatSomethingDescribesWronglyIsNotProven) {
  ASSERT_TRUE(backup_mapped("wrong", {.extents = {pattern(1), pattern(2), pattern(3)},
                                      .change_map = [](SegmentMap& map) { map.extents[1].location->nonce[23] ^= std::byte{1}; }}));
  const auto pack = last_data_pack;
  ASSERT_TRUE(backup_mapped("right", {.extents = {pattern(4)}}));
  VerifyOptions options;
  options.remember = true;
  options.choice.older_than = std::chrono::hours(1000);
  for (auto depth : {VerifyDepth::Open, VerifyDepth::Decompress, VerifyDepth::Open}) {
    options.depth = depth;
    const auto report = verified(options);
    ASSERT_EQ(report.findings.size(), 1u) << told(report);
    EXPECT_EQ(report.findings[0].backups, std::vector<std::string>{"wrong"});
  }
  EXPECT_EQ(verified(options).packs_read, 1u) << "the others are proven";
  ASSERT_TRUE(cluster->log().refresh());
  ASSERT_TRUE(cluster->state().pack_proofs().of(pack).damaged);
  EXPECT_EQ(cluster->state().pack_proofs().of(pack).damaged->depth, ProofDepth::Decompressed);
  options.depth = VerifyDepth::Presence;
  options.choice = {};
  EXPECT_EQ(verified(options).findings.size(), 1u) << "a warning that it was damaged and not looked at";
}

/// And a share that leaves a pack out says nothing of the places in it.
TEST_F(VerifyTest, PlacesInPacksThatAreNotReadAreNotMissed) {
  ASSERT_TRUE(backup_mapped("a", {.extents = {pattern(1), pattern(2), pattern(3)}}));
  const auto pack = last_data_pack;
  VerifyOptions options;
  options.remember = true;
  options.depth = VerifyDepth::Open;
  EXPECT_EQ(told(verified(options)), "");
  auto bytes = pack_bytes(pack);
  const auto lines = *parse_pack(bytes, cluster->context(), pack, cluster->keys().maintenance_key);
  const auto first = bytes.begin() + kPackHeaderSize;
  std::swap_ranges(first, first + lines[0].stored_length, first + lines[0].stored_length + lines[1].stored_length);
  memory->replace(name_of(pack), bytes);
  ASSERT_TRUE(backup_mapped("b", {.extents = {pattern(4)}}));
  options.choice.older_than = std::chrono::hours(1000);
  const auto partly = verified(options);
  EXPECT_EQ(told(partly), "");
  EXPECT_EQ(partly.packs_read, 2u);
  EXPECT_EQ(partly.left.packs, 2u);
  options.choice = {};
  EXPECT_EQ(verified(options).findings.size(), 2u);
  options.choice.older_than = std::chrono::hours(1000);
  const auto again = verified(options);
  EXPECT_EQ(again.findings.size(), 2u) << told(again);
  EXPECT_EQ(again.packs_read, 1u);
}

TEST_F(VerifyTest, AuthenticRecordsThatChangedPlacesAreFound) {
  ASSERT_TRUE(backup_mapped("a", {.extents = {pattern(1), pattern(2), pattern(3)}}));
  auto bytes = pack_bytes(last_data_pack);
  const auto lines = *parse_pack(bytes, cluster->context(), last_data_pack, cluster->keys().maintenance_key);
  ASSERT_EQ(lines.size(), 3u);
  ASSERT_EQ(lines[0].stored_length, lines[2].stored_length) << "the test needs two of one length";
  const auto first = bytes.begin() + kPackHeaderSize;
  std::swap_ranges(first, first + lines[0].stored_length, first + lines[0].stored_length + lines[1].stored_length);
  memory->replace(name_of(last_data_pack), bytes);
  const auto open = verified(VerifyDepth::Open);
  EXPECT_EQ(open.findings.size(), 2u) << told(open);  // the file that it hurts, and the pack
  EXPECT_NE(told(open).find("base/1/a"), std::string::npos);
  EXPECT_NE(told(open).find(name_of(last_data_pack) + ": its content is not what was committed"), std::string::npos);
  const auto full = verified(VerifyDepth::Decompress);
  ASSERT_EQ(full.findings.size(), 1u) << told(full);
  EXPECT_EQ(full.findings[0].object, name_of(last_data_pack));
}

TEST_F(VerifyTest, APackSealedAnewUnderItsOwnNameIsFound) {
  ASSERT_TRUE(backup_mapped("a", {.extents = {pattern(1), pattern(2)}}));
  ASSERT_TRUE(backup_mapped("b", {.extents = {pattern(1), pattern(2)}}));
  const auto before = pack_bytes(last_data_pack);
  RecordSealer sealer(cluster->context(), cluster->keys(), {codec::CodecId::Zstd, 1}, random);
  PackWriter again(cluster->context(), last_data_pack, PackKind::Base, cluster->keys().newest_epoch(), sealer,
                   cluster->keys().maintenance_key, random);
  for (auto salt : {1u, 2u}) ASSERT_TRUE(again.append(RecordType::Extent, pattern(salt)));
  const auto forged = std::move(again).finish();
  ASSERT_EQ(forged.data.size(), before.size());
  ASSERT_TRUE(parse_pack(forged.data, cluster->context(), last_data_pack, cluster->keys().maintenance_key));
  memory->replace(name_of(last_data_pack), to_bytes(forged.data));
  for (auto depth : kBothDepths) {
    const auto report = verified(depth);
    EXPECT_NE(told(report).find(name_of(last_data_pack) + ": its content is not what was committed"), std::string::npos) << told(report);
    for (const auto& finding : report.findings) EXPECT_EQ(finding.backups, std::vector<std::string>{"b"});
  }
}

TEST_F(VerifyTest, EveryByteOfAPackIsAccountedForWithoutItsHash) {
  ASSERT_TRUE(backup_mapped("a", {.extents = {pattern(1), pattern(2)}}));
  const auto good = pack_bytes(last_data_pack);
  for (std::size_t i = 0; i < good.size(); ++i) {
    auto bad = good;
    bad[i] ^= static_cast<std::byte>(1u << (i % 8));
    memory->replace(name_of(last_data_pack), bad);
    const auto report = verified(VerifyDepth::Open);
    ASSERT_EQ(report.findings.size(), 1u) << i << "\n" << told(report);
    EXPECT_NE(report.findings[0].problem.find("its content is not what was committed (SHA-256)"), std::string::npos) << told(report);
  }
}

TEST_F(VerifyTest, WhatAMaintenanceKeyCannotOpenItComparesByHash) {
  ASSERT_TRUE(backup_mapped("a", {.extents = {pattern(1), pattern(2)}}));
  Unlock maintenance;
  maintenance.key = crypto::Key256::generate(random);
  ASSERT_TRUE(repository->add_slot(copy_of(maintenance), Role::Maintenance, "", nullptr));
  const auto report_of = [&](VerifyDepth depth) {
    std::vector<Unlock> unlocks;
    unlocks.push_back(copy_of(maintenance));
    auto janitor = std::move(*Repository::open(environment(), std::move(unlocks)));
    auto found = std::move(*janitor->find_cluster("main", kSystemId));
    VerifyOptions options;
    options.depth = depth;
    return std::move(*verify(*found, options));
  };
  const auto good = pack_bytes(last_data_pack);
  for (auto depth : kBothDepths) {
    memory->replace(name_of(last_data_pack), good);
    const auto sound = report_of(depth);
    EXPECT_EQ(told(sound), "");
    EXPECT_EQ(sound.packs_opened, 0u);
    EXPECT_EQ(sound.packs_only_hashed, 2u);
    for (std::size_t i = 0; i < good.size(); i += 7) {
      auto bad = good;
      bad[i] ^= std::byte{0x10};
      memory->replace(name_of(last_data_pack), bad);
      EXPECT_EQ(report_of(depth).findings.size(), 1u) << i;
    }
  }
}

TEST_F(VerifyTest, AKeyRingThatIsGoneLeavesNoRecordUnmentioned) {
  ASSERT_TRUE(backup_mapped("a", {.extents = {pattern(1)}}));
  ASSERT_TRUE(repository->rotate_data_key(*cluster));
  ASSERT_TRUE(memory->remove(keyring_name(cluster->id(), Epoch(1))));
  for (auto depth : kBothDepths) {
    auto other = reopened();
    auto found = other->find_cluster("main", kSystemId);
    if (!found) continue;  // refused outright
    VerifyOptions options;
    options.depth = depth;
    const auto report = verify(**found, options);
    EXPECT_TRUE(!report || report->damaged());
  }
}

TEST_F(VerifyTest, MemoryForRecordsIsBoundedByWalkingAgain) {
  for (int i = 0; i < 12; ++i) ASSERT_TRUE(backup_mapped(fmt::format("m{}", i), {.extents = {pattern(1), pattern(2), pattern(3)}}));
  auto bytes = pack_bytes(last_data_pack);
  const auto lines = *parse_pack(bytes, cluster->context(), last_data_pack, cluster->keys().maintenance_key);
  const auto first = bytes.begin() + kPackHeaderSize;
  std::swap_ranges(first, first + lines[0].stored_length, first + lines[0].stored_length + lines[1].stored_length);
  memory->replace(name_of(last_data_pack), bytes);
  for (unsigned workers : {1u, 4u}) {
    VerifyOptions options;
    options.depth = VerifyDepth::Open;
    options.workers = workers;
    const auto at_once = verified(options);
    options.records_at_once = 4;
    const auto in_turns = verified(options);
    EXPECT_EQ(at_once.walks, 1u);
    // A turn ends when enough records are remembered; what is then being read, or waits for a thread, still belongs to it: two threads a worker.
    const auto packs_of_a_turn = options.records_at_once + 2 * 2 * workers + 1;
    EXPECT_GE(in_turns.walks, (at_once.packs_read + packs_of_a_turn - 1) / packs_of_a_turn);
    EXPECT_GT(in_turns.walks, 1u);
    EXPECT_EQ(told(in_turns), told(at_once));
    EXPECT_EQ(in_turns.findings.size(), 2u);
    EXPECT_EQ(in_turns.records, at_once.records);
    EXPECT_EQ(in_turns.files, at_once.files);
    EXPECT_EQ(in_turns.bytes_read, at_once.bytes_read);
  }
}

TEST_F(VerifyTest, AnAccountThatLacksPartOfWhatIsReferredToIsDamage) {
  account = [](PackUse use) { return use; };
  ASSERT_TRUE(backup("sound", 3));
  EXPECT_EQ(told(verified(VerifyDepth::Presence)), "");
  account = [](PackUse use) {  // of a writer who could not read what it dropped
    const auto [pack, bytes] = *use.packs().begin();
    use.set(pack, bytes + 100);
    return use;
  };
  ASSERT_TRUE(backup("too much", 3));
  EXPECT_EQ(told(verified(VerifyDepth::Presence)), "");
  account = [](PackUse use) {
    const auto [pack, bytes] = *use.packs().begin();
    use.set(pack, bytes - 1);
    return use;
  };
  ASSERT_TRUE(backup("too little", 3));
  const auto report = verified(VerifyDepth::Presence);
  ASSERT_EQ(report.findings.size(), 1U) << told(report);
  EXPECT_NE(report.findings[0].problem.find("account of packs"), std::string::npos);
  EXPECT_EQ(report.findings[0].backups, std::vector<std::string>{"too little"});
  account = [](PackUse) { return PackUse(); };
  ASSERT_TRUE(backup("nothing", 3));
  EXPECT_EQ(verified(VerifyDepth::Presence).findings.size(), 2U);
}

TEST_F(VerifyTest, AStoreThatFailsEndsItWithThatError) {
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(backup_mapped(fmt::format("m{}", i), {.extents = {pattern(1), pattern(2)}}));
  auto other = reopened();
  auto found = std::move(*other->find_cluster("main", kSystemId));
  storage::Fault fault;
  fault.on = storage::Operation::ReadRange;
  store->add(fault);
  VerifyOptions options;
  options.depth = VerifyDepth::Open;
  const auto report = verify(*found, options);
  ASSERT_FALSE(report);
  EXPECT_EQ(report.failure().code(), Errc::Storage);
}

}  // namespace
}  // namespace pgmint::repository

// Repositories written by earlier versions must stay readable for ever. tests/golden/v1 holds one, object by object.
//
// PGMINT_WRITE_GOLDEN=v1 (or page-codec, wal-codec, key-slots) golden_test writes that folder, and what the fuzzers begin with, anew: only before the first
// tagged release, or for a new folder beside the old ones.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "base/file.h"
#include "codec/binary.h"
#include "codec/page_encoder.h"
#include "codec/testing_pages.h"
#include "codec/testing_wal_pieces.h"
#include "codec/wal_encoder.h"
#include "fixture/small_repository.h"
#include "repository/layout.h"
#include "repository/log_content.h"
#include "repository/object_header.h"
#include "repository/pack.h"
#include "repository/segment_map.h"
#include "repository/testing_key_service.h"
#include "repository/testing_keys.h"
#include "storage/memory_store.h"

namespace pgmint::fixture {
namespace {

const fs::path kFolder = "tests/golden/v1";
const fs::path kPageFolder = "tests/golden/page-codec";
const fs::path kWalFolder = "tests/golden/wal-codec";
const fs::path kLogFolder = "tests/golden/log-entries";
const fs::path kSlotFolder = "tests/golden/key-slots";

bool asked_to_write(std::string_view what) {
  const char* asked = std::getenv("PGMINT_WRITE_GOLDEN");
  return asked != nullptr && what == asked;
}

Status load(storage::BlobStore& store) {
  std::error_code ec;
  for (fs::recursive_directory_iterator it(kFolder, ec), end; it != end; it.increment(ec)) {
    if (!it->is_regular_file()) continue;
    const auto data = TRY(read_file(it->path(), 64 << 20));
    TRY(store.create(it->path().lexically_relative(kFolder).string(), data));
  }
  if (ec) return errno_error(ec.value(), kFolder.string());
  return ok();
}

TEST(Golden, WriteWhenAskedTo) {
  if (!asked_to_write("v1")) GTEST_SKIP() << "set PGMINT_WRITE_GOLDEN=v1 to write the files anew";
  auto store = storage::make_memory_store();
  World world(*store, 20261122);
  auto built = build(world);
  ASSERT_TRUE(built) << built.failure().describe();
  fs::remove_all(kFolder);
  auto objects = storage::list_all(*store, "");
  ASSERT_TRUE(objects);
  for (const auto& object : *objects) {
    const auto data = store->read(object.name, object.size);
    ASSERT_TRUE(create_directories((kFolder / object.name).parent_path(), 0755));
    ASSERT_TRUE(write_file_durably(kFolder / object.name, **data, 0644));
  }
}

/// The opened parts of the golden repository are where fuzzing its parsers begins (tests/fuzz).
TEST(Golden, WriteFuzzCorpusWhenAskedTo) {
  if (!asked_to_write("v1")) GTEST_SKIP() << "set PGMINT_WRITE_GOLDEN=v1 to write the files anew";
  using namespace repository;
  auto store = storage::make_memory_store();
  ASSERT_TRUE(load(*store));
  World world(*store);
  std::vector<Unlock> unlocks;
  unlocks.push_back(file_unlock());
  auto opened = Repository::open(world.environment(), std::move(unlocks)).value();
  auto cluster = opened->find_cluster("main", kSystemId).value();
  const auto write = [](const std::string& target, const std::string& name, ByteView data) {
    const fs::path folder = fs::path("tests/fuzz/corpus") / target;
    ASSERT_TRUE(create_directories(folder, 0755));
    ASSERT_TRUE(write_file_durably(folder / name, data, 0644));
  };
  const auto marked = [](unsigned char kind, ByteView data) {
    Bytes bytes{static_cast<std::byte>(kind)};
    append(bytes, data);
    return bytes;
  };
  ASSERT_TRUE(cluster->log().for_each([&](std::uint64_t seq, const Result<LogEntry>& entry) -> Status {
    write("fuzz_log_entry", fmt::format("entry-{}", seq), encode_body(*entry));
    return ok();
  }));
  const auto& live = *cluster->state().find("20261122T084001Z-full");
  const auto root = read_root(*store, cluster->context(), live.snap.session, cluster->keys()).value();
  write("fuzz_manifest", "root", marked(1, encode_root(root)));
  RecordOpener opener(cluster->context(), cluster->keys());
  write("fuzz_manifest", "node", marked(0, read_record(*store, cluster->context(), opener, root.tree).value()));
  ASSERT_TRUE(walk_manifest(*store, cluster->context(), opener, root, [&](const FileEntry& file) -> Status {
    if (file.kind == FileKind::Mapped)
      write("fuzz_segment_map", "map", TRY(read_record(*store, cluster->context(), opener, std::get<RecordLocation>(file.content))));
    return ok();
  }));
  const auto packs = cluster->state().packs_of(live);
  for (const auto& pack : packs) {
    const auto object = store->read(pack_name(cluster->id(), pack.id), pack.size).value().value();
    const auto lines = parse_pack(object, cluster->context(), pack.id, cluster->keys().maintenance_key).value();
    codec::BinaryWriter out;
    std::uint32_t end = kPackHeaderSize;
    for (const auto& line : lines) end += line.stored_length;
    out.u32(end);
    out.raw(encode_pack_footer(lines));
    write("fuzz_pack_footer", fmt::format("pack-{}", pack.id.number), out.view());
  }
  // Format and ring without header and MAC, which the target puts around them again.
  const auto stored = [&](const std::string& name) { return store->read(name, 1 << 20).value().value(); };
  const auto between = [](ByteView object) { return object.subspan(kHeaderSize, object.size() - kHeaderSize - 32); };
  write("fuzz_keys", "format", marked(2, between(stored(std::string(kFormatName)))));
  write("fuzz_keys", "ring", marked(1, between(stored(keyring_name(cluster->id(), Epoch(1))))));
  const auto slots = opened->slots().value();
  for (const auto& slot : slots) write("fuzz_keys", slot.name.substr(0, slot.name.find('-')), marked(0, stored(slot_name(slot.name))));
}

/// Six pages of each kind that the page codec knows, and a tail: `pages`, and what the codecs made of it.
TEST(Golden, WritePageRecordsWhenAskedTo) {
  if (!asked_to_write("page-codec")) GTEST_SKIP() << "set PGMINT_WRITE_GOLDEN=page-codec to write the files anew";
  SeededRandom random(20261126);
  codec::PageMaker maker(random);
  Bytes pages;
  for (const auto kind : {2, 3, 4, 1, 2, 0}) append(pages, maker.page(static_cast<std::uint64_t>(kind)));
  pages.resize(pages.size() + 100, std::byte{'t'});
  const auto write = [](const fs::path& path, ByteView data) {
    ASSERT_TRUE(create_directories(path.parent_path(), 0755));
    ASSERT_TRUE(write_file_durably(path, data, 0644));
  };
  write(kPageFolder / "pages", pages);
  for (const std::string mode : {"balanced", "fast"}) {
    codec::Compressor compressor(*codec::parse_codec(mode));
    Bytes out(codec::Compressor::bound(pages.size()));
    const auto output = compressor.compress(pages, out);
    ASSERT_EQ(output.codec, codec::parse_codec(mode)->id);
    write(kPageFolder / mode, ByteView(out).first(output.size));
  }
  const fs::path corpus = "tests/fuzz/corpus/fuzz_page_codec";
  codec::PageEncoder encoder;
  for (std::size_t kind = 2; kind < 5; ++kind)
    for (const std::size_t count : {1, 3}) {
      Bytes group;
      for (std::size_t i = 0; i < count; ++i) append(group, maker.page(kind));
      const auto streams = encoder.encode(group);
      ASSERT_TRUE(streams);
      codec::BinaryWriter input;
      const auto size = static_cast<std::uint32_t>(group.size() - 1);
      input.u8(0);
      input.u8(static_cast<std::uint8_t>(size));
      input.u16(static_cast<std::uint16_t>(size >> 8));
      input.u16(static_cast<std::uint16_t>(streams->control.size()));
      input.u16(static_cast<std::uint16_t>(streams->raw.size()));
      for (const auto part : {streams->control, streams->raw, streams->remainder}) input.raw(part);
      write(corpus / fmt::format("streams-{}-{}", kind, count), input.view());
      Bytes pages_input{std::byte{1}};
      append(pages_input, group);
      write(corpus / fmt::format("pages-{}-{}", kind, count), pages_input);
    }
}

TEST(Golden, PageRecordsStillRead) {
  const auto pages = read_file(kPageFolder / "pages", 1 << 20);
  ASSERT_TRUE(pages);
  codec::Decompressor decompressor;
  for (const auto& [mode, id] : {std::pair("balanced", codec::CodecId::PageZstd), std::pair("fast", codec::CodecId::PageLz4)}) {
    const auto record = read_file(kPageFolder / mode, 1 << 20);
    ASSERT_TRUE(record);
    Bytes out(pages->size());
    const auto read = decompressor.decompress(id, *record, out);
    ASSERT_TRUE(read) << mode << ": " << read.failure().describe();
    EXPECT_TRUE(out == *pages) << mode;
  }
}

/// A piece of WAL with records of every kind that the codec tells apart, and what it made of it by zstd and lz4.
TEST(Golden, WriteWalPiecesWhenAskedTo) {
  if (!asked_to_write("wal-codec")) GTEST_SKIP() << "set PGMINT_WRITE_GOLDEN=wal-codec to write the files anew";
  SeededRandom random(20261126);
  const auto write = [](const fs::path& path, ByteView data) {
    ASSERT_TRUE(create_directories(path.parent_path(), 0755));
    ASSERT_TRUE(write_file_durably(path, data, 0644));
  };
  codec::WalEncoder encoder;
  const auto make = [&](std::uint32_t pages, bool ending) {
    // One that begins with a record, or soon after: what follows from there is what is to be shown.
    for (;;) {
      codec::WalMaker maker(random);
      maker.weights = {16, 16, 8, 8, 2, 1, 1, 1, 1, 1, 1, 2};
      Bytes piece = ending ? maker.ending_piece(pages, 60) : maker.piece(pages);
      const auto streams = encoder.encode(piece, codec::WalSums::Verify);
      if (streams && streams->control.size() > 500) return piece;
    }
  };
  const Bytes piece = make(20, false);
  write(kWalFolder / "piece", piece);
  for (const auto& [name, id] : {std::pair("zstd", codec::CodecId::WalZstd), std::pair("lz4", codec::CodecId::WalLz4)}) {
    codec::Compressor compressor({id, 1});
    Bytes out(codec::Compressor::bound(piece.size()));
    const auto output = compressor.compress(piece, out);
    ASSERT_EQ(output.codec, id);
    write(kWalFolder / name, ByteView(out).first(output.size));
  }
  const fs::path corpus = "tests/fuzz/corpus/fuzz_wal_codec";
  for (const std::uint32_t pages : {1U, 2U, 5U}) {
    const Bytes small = make(pages, pages == 2);
    Bytes piece_input{std::byte{1}};
    append(piece_input, small);
    write(corpus / fmt::format("piece-{}", pages), piece_input);
    const auto streams = encoder.encode(small, codec::WalSums::Verify);
    ASSERT_TRUE(streams);
    codec::BinaryWriter input;
    input.u8(0);
    input.u8(static_cast<std::uint8_t>(pages - 1));
    input.u16(static_cast<std::uint16_t>(streams->control.size()));
    input.u8(static_cast<std::uint8_t>(streams->control.size() >> 16));
    input.u16(static_cast<std::uint16_t>(streams->raw.size()));
    input.u8(static_cast<std::uint8_t>(streams->images.size() / codec::kPageSize));
    for (const auto part : {streams->control, streams->raw, streams->images, streams->remainder}) input.raw(part);
    write(corpus / fmt::format("streams-{}", pages), input.view());
    for (const auto& [lz4, id] : {std::pair(0, codec::CodecId::WalZstd), std::pair(1, codec::CodecId::WalLz4)}) {
      codec::Compressor compressor({id, 1});
      Bytes out(codec::Compressor::bound(small.size()));
      const auto output = compressor.compress(small, out);
      if (output.codec != id) continue;
      Bytes stored{std::byte{2}, static_cast<std::byte>(pages - 1), static_cast<std::byte>(lz4)};
      append(stored, ByteView(out).first(output.size));
      write(corpus / fmt::format("stored-{}-{}", pages, lz4), stored);
    }
  }
}

TEST(Golden, WalPiecesStillRead) {
  const auto piece = read_file(kWalFolder / "piece", 1 << 20);
  ASSERT_TRUE(piece);
  codec::Decompressor decompressor;
  for (const auto& [name, id] : {std::pair("zstd", codec::CodecId::WalZstd), std::pair("lz4", codec::CodecId::WalLz4)}) {
    const auto stored = read_file(kWalFolder / name, 1 << 20);
    ASSERT_TRUE(stored);
    Bytes out(piece->size());
    const auto read = decompressor.decompress(id, *stored, out);
    ASSERT_TRUE(read) << name << ": " << read.failure().describe();
    EXPECT_TRUE(out == *piece) << name;
  }
}

/// Opened bodies of entries that the repository of v1 does not have. Each is where fuzzing begins, too.
TEST(Golden, LogEntriesStillRead) {
  const auto body = read_file(kLogFolder / "packs-verified", 1 << 20);
  ASSERT_TRUE(body);
  repository::LogEntry entry;
  const auto parsed = repository::parse_body(*body, entry);
  ASSERT_TRUE(parsed) << parsed.failure().describe();
  EXPECT_EQ(repository::encode_body(entry), *body);
  const auto& packs = std::get<repository::AuditEntry>(entry.content).packs;
  ASSERT_EQ(packs.size(), 3u);
  EXPECT_EQ(packs[0].depth, repository::ProofDepth::Hashed);
  EXPECT_EQ(packs[1].depth, repository::ProofDepth::Opened);
  EXPECT_EQ(packs[2].depth, repository::ProofDepth::Decompressed);
  EXPECT_TRUE(packs[2].damaged);
  ASSERT_EQ(packs[1].packs.size(), 3u);
  EXPECT_EQ(packs[1].packs[1].first, 300u);
  EXPECT_EQ(packs[1].packs[1].last, 70'000u);
  EXPECT_EQ(packs[1].packs[2].last, UINT32_MAX);
}

TEST(Golden, WalVerifiedStillReads) {
  const auto body = read_file(kLogFolder / "wal-verified", 1 << 20);
  ASSERT_TRUE(body);
  repository::LogEntry entry;
  const auto parsed = repository::parse_body(*body, entry);
  ASSERT_TRUE(parsed) << parsed.failure().describe();
  EXPECT_EQ(repository::encode_body(entry), *body);
  const auto& audit = std::get<repository::AuditEntry>(entry.content);
  ASSERT_EQ(audit.packs.size(), 1u);
  EXPECT_TRUE(audit.packs[0].packs.empty()) << "for readers that do not know of WAL";
  const auto& wal = audit.wal;
  ASSERT_EQ(wal.size(), 3u);
  EXPECT_EQ(wal[0].depth, repository::ProofDepth::Opened);
  EXPECT_FALSE(wal[0].damaged);
  EXPECT_EQ(wal[0].seen, 41u);
  EXPECT_EQ(wal[1].depth, repository::ProofDepth::Hashed);
  EXPECT_EQ(wal[2].depth, repository::ProofDepth::Decompressed);
  EXPECT_TRUE(wal[1].damaged && wal[2].damaged);
  ASSERT_EQ(wal[0].runs.size(), 4u);
  EXPECT_EQ(wal[0].runs[0].first, 3u);
  EXPECT_EQ(wal[0].runs[0].last, 10'002u);
  EXPECT_EQ(wal[0].runs[0].newest, entry.time - std::chrono::microseconds(129));
  EXPECT_EQ(wal[0].runs[1].first, 10'004u);
  EXPECT_TRUE(wal[0].runs[2].place.partial);
  EXPECT_EQ(wal[0].runs[3].place.segment_size, 64u << 20);
  EXPECT_EQ(wal[0].runs[3].last, UINT64_MAX / (64u << 20));
  EXPECT_EQ(wal[0].runs[3].newest, TimePoint::max());
  // A depth or an outcome of a later version is passed over; the last value has 52 bytes.
  for (const std::size_t at : {body->size() - 52, body->size() - 51}) {
    auto changed = *body;
    changed[at] = std::byte{4};
    repository::LogEntry later;
    ASSERT_TRUE(repository::parse_body(changed, later));
    EXPECT_EQ(std::get<repository::AuditEntry>(later.content).wal.size(), 2u);
  }
}

TEST(Golden, ACommandRunStillReads) {
  const auto body = read_file(kLogFolder / "command-run", 1 << 20);
  ASSERT_TRUE(body);
  repository::LogEntry entry;
  const auto parsed = repository::parse_body(*body, entry);
  ASSERT_TRUE(parsed) << parsed.failure().describe();
  EXPECT_EQ(repository::encode_body(entry), *body);
  const auto& audit = std::get<repository::AuditEntry>(entry.content);
  ASSERT_TRUE(audit.run);
  EXPECT_EQ(audit.run->operation, "restore");
  EXPECT_EQ(audit.run->exit_code, 4u);
}

/// Slots of which a service wrapped the key: what the service keeps to itself is given here.
const repository::RepositoryId kSlotRepository = repository::RepositoryId::parse("00112233445566778899aabbccddeeff").value();

struct ServiceSlot {
  const char* file;
  repository::KeyProvider provider;
  const char* key;      ///< the wrapping one
  std::string wrapped;
};
const std::vector<ServiceSlot>& service_slots() {
  static const std::vector<ServiceSlot> all = {
      {"kms", repository::KeyProvider::AwsKms, "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab", "what KMS calls a CiphertextBlob"},
      {"vault", repository::KeyProvider::Vault, "vault:///transit/pgmint", "vault:v1:what Vault calls a ciphertext"},
      {"pkcs11", repository::KeyProvider::Pkcs11, "pkcs11:token=backup;serial=e6f4a5c1d2b3a495;object=pgmint;id=%01",
       "\x01\x0ctwelve bytes" + std::string("what AES-256-GCM makes of 32 bytes: 48 together.")},
  };
  return all;
}
crypto::Key256 wrapped_in_service_slots() { return crypto::Key256::from_bytes(Bytes(32, std::byte{11})).value(); }

repository::Unlock opener_of(const ServiceSlot& slot, RandomSource& random) {
  auto service = std::make_shared<repository::testing::FakeKeyService>(random, slot.key, slot.provider);
  service->know(as_bytes(slot.wrapped), wrapped_in_service_slots(), kSlotRepository);
  return repository::testing::service_unlock(std::move(service));
}

/// Wraps with nothing but the one key above.
class OneKey final : public repository::KeyService {
 public:
  explicit OneKey(const ServiceSlot& slot) : slot_(slot) {}
  repository::KeyProvider provider() const override { return slot_.provider; }
  Result<repository::ServiceKey> make_key(const repository::RepositoryId&) override {
    return repository::ServiceKey{wrapped_in_service_slots(), slot_.key, to_bytes(as_bytes(slot_.wrapped))};
  }
  Result<std::optional<crypto::Key256>> unwrap(const std::string&, ByteView, const repository::RepositoryId&) override { return std::optional<crypto::Key256>(); }

 private:
  const ServiceSlot& slot_;
};

TEST(Golden, WriteKeySlotsWhenAskedTo) {
  if (!asked_to_write("key-slots")) GTEST_SKIP() << "set PGMINT_WRITE_GOLDEN=key-slots to write the files anew";
  ASSERT_TRUE(create_directories(kSlotFolder, 0755));
  for (const auto& each : service_slots()) {
    SeededRandom random(20261127);
    const auto bundle = repository::testing::make_root_bundle(random);
    const auto slot = repository::make_slot(kSlotRepository, bundle, repository::testing::service_unlock(std::make_shared<OneKey>(each)), "golden", {},
                                            TimePoint(std::chrono::seconds(1'800'000'000)), random);
    ASSERT_TRUE(slot) << slot.failure().describe();
    ASSERT_TRUE(write_file_durably(kSlotFolder / each.file, slot->object, 0644));
    Bytes seed{std::byte{0}};
    append(seed, slot->object);
    ASSERT_TRUE(write_file_durably(fs::path("tests/fuzz/corpus/fuzz_keys") / each.file, seed, 0644));
  }
}

TEST(Golden, SlotsOfServicesStillOpen) {
  for (const auto& each : service_slots()) {
    const auto object = read_file(kSlotFolder / each.file, 1 << 20);
    ASSERT_TRUE(object) << each.file;
    const auto info = repository::parse_slot(*object, fmt::format("{}-00000000", each.file), kSlotRepository);
    ASSERT_TRUE(info) << info.failure().describe();
    EXPECT_EQ(info->provider, each.provider);
    EXPECT_EQ(info->service_key, each.key);
    EXPECT_EQ(as_text(info->wrapped_key), each.wrapped);
    EXPECT_EQ(info->note, "golden");
    SeededRandom random(1);
    const auto opened = repository::open_slot(*object, *info, opener_of(each, random));
    ASSERT_TRUE(opened && *opened) << each.file << (opened ? ": it does not fit" : opened.failure().describe());
    SeededRandom again(20261127);
    EXPECT_TRUE(crypto::equal_constant_time((*opened)->root_key.bytes(), repository::testing::make_root_bundle(again).root_key.bytes()));
  }
}

TEST(Golden, Version1StillReadsAndVerifies) {
  auto store = storage::make_memory_store();
  auto loaded = load(*store);
  ASSERT_TRUE(loaded) << loaded.failure().describe();
  World world(*store);
  auto contents = read_backup(world);
  ASSERT_TRUE(contents) << contents.failure().describe();
  EXPECT_EQ(*contents, expected_contents());
  auto wal = read_wal(world);
  ASSERT_TRUE(wal) << wal.failure().describe();
  for (const auto& [name, content] : *wal) EXPECT_EQ(content, expected_wal(name)) << name;
  std::string why;
  EXPECT_TRUE(verifies(world, &why)) << why;
}

TEST(Golden, Version1TakesANewEntry) {
  auto store = storage::make_memory_store();
  ASSERT_TRUE(load(*store));
  World world(*store, 99);
  std::vector<repository::Unlock> unlocks;
  repository::Unlock passphrase;
  passphrase.provider = repository::KeyProvider::Passphrase;
  passphrase.passphrase = kPassphrase;
  unlocks.push_back(std::move(passphrase));
  auto opened = repository::Repository::open(world.environment(), std::move(unlocks));
  ASSERT_TRUE(opened) << opened.failure().describe();
  auto cluster = (*opened)->find_cluster("main", kSystemId);
  ASSERT_TRUE(cluster && *cluster);
  auto seq = (*cluster)->log().append((*cluster)->actor(), repository::EntryContent(repository::AuditEntry{"golden", "x"}));
  EXPECT_TRUE(seq) << seq.failure().describe();
  EXPECT_TRUE((*cluster)->state().void_entries().empty());
}

}  // namespace
}  // namespace pgmint::fixture

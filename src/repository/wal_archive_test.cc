#include "repository/wal_archive.h"

#include <gtest/gtest.h>

#include "base/test_seed.h"
#include "crypto/hash.h"
#include "repository/layout.h"
#include "repository/testing_keys.h"
#include "repository/testing_repository.h"
#include "repository/wal_object.h"

namespace pgmint::repository {
namespace {

constexpr std::uint32_t kMiB = 1 << 20;
const std::string kFirst = "000000010000000000000001";
const std::string kSecond = "000000010000000000000002";

struct WalArchiveTest : ::testing::Test {
  const std::uint64_t seed = test_seed();
  ::testing::ScopedTrace trace{__FILE__, __LINE__, fmt::format("PGMINT_TEST_SEED={}", seed)};
  storage::MemoryStore store;
  testing::TestRepository repo{store, seed};
  WalIdentity identity{testing::TestRepository::kSystemId, Incarnation(1)};
  WalArchive archive{*repo.cluster, identity};

  Bytes segment(std::uint32_t size = kMiB) { return testing::make_plain(repo.random, size); }
  std::string object(const std::string& file_name) {
    return wal_name(repo.cluster->id(), identity.system_id, identity.incarnation, file_name);
  }
  void store_segment(const std::string& name, ByteView plain, ByteView summary = {}) {
    auto put = archive.put(name, WalContent::Segment, static_cast<std::uint32_t>(plain.size()), plain, summary);
    ASSERT_TRUE(put) << put.failure().describe();
    ASSERT_EQ(*put, WalPut::Stored);
  }
};

TEST_F(WalArchiveTest, GivesBackWhatWasPut) {
  for (const std::uint32_t size : {kMiB, 4 * kMiB}) {
    const auto plain = segment(size);
    const auto name = size == kMiB ? kFirst : kSecond;
    store_segment(name, plain, as_bytes("summary"));
    auto got = archive.get(name);
    ASSERT_TRUE(got && *got);
    EXPECT_EQ(**got, plain);
    auto summary = archive.summary(name);
    ASSERT_TRUE(summary && *summary);
    EXPECT_EQ(as_text(**summary), "summary");
    auto info = archive.info(name);
    ASSERT_TRUE(info && *info);
    EXPECT_EQ((*info)->raw_length, size);
    EXPECT_EQ((*info)->timeline, 1u);
    for (auto depth : {VerifyDepth::Open, VerifyDepth::Decompress}) EXPECT_TRUE(archive.check(name, depth));
  }
}

/// docs/format/wal.md, word for word.
TEST_F(WalArchiveTest, TheMacIsTheOneThatTheFormatTells) {
  const auto plain = segment();
  store_segment(kFirst, plain);
  const auto& mac_key = repo.cluster->keys().mac_key;
  const auto sum = crypto::Gmac(crypto::derive_key(mac_key, "pgmint wal sum v1")).compute(crypto::Nonce{}, plain);
  const Bytes stored = *store.read(object(kFirst), kWalObjectMax).value();
  Bytes text = to_bytes(ByteView(stored).subspan(64, 32));
  text.push_back(std::byte{24});
  append(text, as_bytes(kFirst));
  append(text, sum);
  const auto mac = crypto::hmac_sha256(crypto::derive_key(mac_key, "pgmint wal mac v1"), text);
  EXPECT_TRUE(std::ranges::equal(mac, ByteView(stored).subspan(96, 32)));
}

/// A summary longer than the room that is left for it in front of the records.
TEST_F(WalArchiveTest, KeepsAVeryLongSummary) {
  const auto plain = segment();
  const Bytes summary = testing::make_plain(repo.random, 3 * kMiB);
  store_segment(kFirst, plain, summary);
  EXPECT_EQ(**archive.summary(kFirst), summary);
  EXPECT_EQ(**archive.get(kFirst), plain);
  for (auto depth : {VerifyDepth::Open, VerifyDepth::Decompress}) EXPECT_TRUE(archive.check(kFirst, depth));
  store_segment(kSecond, plain, Bytes(kWalSummaryMax));
  EXPECT_FALSE(*archive.summary(kSecond));
  EXPECT_EQ(**archive.get(kSecond), plain);
}

/// Records that do not shrink leave no slack behind them for a summary to move them into.
TEST_F(WalArchiveTest, KeepsAVeryLongSummaryOfWhatDoesNotCompress) {
  Bytes plain(4 * kMiB);
  repo.random.fill(plain);
  Bytes summary(3 * kMiB);
  repo.random.fill(summary);
  store_segment(kFirst, plain, summary);
  EXPECT_EQ(**archive.summary(kFirst), summary);
  EXPECT_EQ(**archive.get(kFirst), plain);
}

/// Above 32 MiB through the spool.
TEST_F(WalArchiveTest, KeepsLongSegments) {
  Bytes plain(64 * kMiB);
  SeededRandom random(seed);
  for (std::size_t at = 0; at < plain.size(); at += kMiB) random.fill(MutableByteView(plain).subspan(at, kMiB / 8));
  store_segment(kFirst, plain, as_bytes("summary"));
  for (auto depth : {VerifyDepth::Open, VerifyDepth::Decompress}) EXPECT_TRUE(archive.check(kFirst, depth));
  EXPECT_EQ(**archive.get(kFirst), plain);
  EXPECT_EQ(as_text(**archive.summary(kFirst)), "summary");
  EXPECT_EQ(*archive.put(kFirst, WalContent::Segment, 64 * kMiB, plain, {}), WalPut::Duplicate);
  WalArchive nowhere(*repo.cluster, identity, {}, "/proc/nonexistent");
  EXPECT_FALSE(nowhere.put(kSecond, WalContent::Segment, 64 * kMiB, plain, {}));
  EXPECT_FALSE(*archive.info(kSecond));
}

/// Counts how often it is read, and for what.
struct CountedPlain final : WalPlain {
  explicit CountedPlain(ByteView b) : bytes(b) {}
  std::uint64_t size() const override { return bytes.size(); }
  Status begin(bool to_store) override {
    at = summarized = 0;
    ++(to_store ? stored : compared);
    return ok();
  }
  Result<ByteView> next(std::size_t length) override {
    if (at + length > fails_at) return Error(Errc::Io, "it became shorter");
    at += length;
    return bytes.subspan(at - length, length);
  }
  void summarize(ByteView piece, const codec::WalChain&) override {
    EXPECT_EQ(piece.data() + piece.size(), bytes.data() + at);
    summarized += piece.size();
  }
  Bytes summary() override {
    EXPECT_EQ(at, bytes.size());
    EXPECT_EQ(summarized, bytes.size());
    return to_bytes(as_bytes("summary"));
  }
  ByteView bytes;
  std::size_t at = 0, summarized = 0, fails_at = ~std::size_t{0};
  int stored = 0, compared = 0;
};

TEST_F(WalArchiveTest, ReadsAFileOnceToStoreItAndOnceToCompareIt) {
  const auto plain = segment();
  CountedPlain file(plain);
  EXPECT_FALSE(*archive.holds(kFirst, WalContent::Segment, kMiB, file));
  EXPECT_EQ(file.compared, 0);
  EXPECT_EQ(*archive.put(kFirst, WalContent::Segment, kMiB, file), WalPut::Stored);
  EXPECT_EQ(file.stored, 1);
  EXPECT_EQ(file.compared, 0);
  EXPECT_EQ(*archive.put(kFirst, WalContent::Segment, kMiB, file), WalPut::Duplicate);
  EXPECT_EQ(file.stored, 1);
  EXPECT_EQ(file.compared, 1);
  EXPECT_EQ(**archive.get(kFirst), plain);
  EXPECT_EQ(as_text(**archive.summary(kFirst)), "summary");
}

TEST_F(WalArchiveTest, AFileThatCannotBeReadToItsEndStoresNothing) {
  const auto plain = segment();
  CountedPlain file(plain);
  file.fails_at = kMiB - 1;
  const auto before = store.snapshot();
  EXPECT_EQ(archive.put(kFirst, WalContent::Segment, kMiB, file).failure().code(), Errc::Io);
  EXPECT_EQ(store.snapshot(), before);
  store_segment(kFirst, plain);
  EXPECT_EQ(archive.put(kFirst, WalContent::Segment, kMiB, file).failure().code(), Errc::Io);
}

TEST_F(WalArchiveTest, KeepsEveryKindOfFile) {
  const Bytes partial = segment();
  ASSERT_TRUE(archive.put(kFirst + ".partial", WalContent::Partial, kMiB, partial, {}));
  ASSERT_TRUE(archive.put("00000002.history", WalContent::History, 0, as_bytes("1\t0/1000\tno recovery target\n"), {}));
  ASSERT_TRUE(archive.put(kFirst + ".00000028.backup", WalContent::Backup, 0, as_bytes("START WAL LOCATION"), {}));
  auto history = archive.get("00000002.history");
  ASSERT_TRUE(history && *history);
  EXPECT_EQ(as_text(**history), "1\t0/1000\tno recovery target\n");
  auto summary = archive.summary("00000002.history");
  ASSERT_TRUE(summary);
  EXPECT_FALSE(*summary);
  auto timelines = archive.timelines();
  ASSERT_TRUE(timelines);
  EXPECT_EQ(*timelines, (std::vector<std::uint32_t>{1, 2}));
  auto files = archive.list(1);
  ASSERT_TRUE(files);
  ASSERT_EQ(files->size(), 2u);
  EXPECT_EQ((*files)[0].file_name, kFirst + ".00000028.backup");
  EXPECT_EQ((*files)[1].file_name, kFirst + ".partial");
}

TEST_F(WalArchiveTest, AbsenceIsAValue) {
  auto got = archive.get(kFirst);
  ASSERT_TRUE(got);
  EXPECT_FALSE(*got);
  EXPECT_FALSE(*archive.info(kFirst));
  EXPECT_FALSE(*archive.summary(kFirst));
  EXPECT_FALSE(*archive.holds(kFirst, WalContent::Segment, kMiB, segment()));
  EXPECT_EQ(archive.check(kFirst, VerifyDepth::Presence).failure().code(), Errc::NotFound);
  EXPECT_TRUE(archive.list(1)->empty());
  EXPECT_TRUE(archive.timelines()->empty());
  EXPECT_EQ(archive.get("../format").failure().code(), Errc::Usage);
}

TEST_F(WalArchiveTest, TheSameFileAgainIsADuplicateAndAnotherOneIsRefused) {
  const auto plain = segment();
  store_segment(kFirst, plain, as_bytes("one"));
  const auto before = store.snapshot();
  auto again = archive.put(kFirst, WalContent::Segment, kMiB, plain, as_bytes("another summary"));
  ASSERT_TRUE(again);
  EXPECT_EQ(*again, WalPut::Duplicate);
  EXPECT_TRUE(*archive.holds(kFirst, WalContent::Segment, kMiB, plain));

  auto other = plain;
  other.back() ^= std::byte{1};
  auto conflict = archive.put(kFirst, WalContent::Segment, kMiB, other, {});
  ASSERT_FALSE(conflict);
  EXPECT_EQ(conflict.failure().code(), Errc::Corruption);
  EXPECT_EQ(archive.holds(kFirst, WalContent::Segment, kMiB, other).failure().code(), Errc::Corruption);
  EXPECT_EQ(store.snapshot(), before);
}

TEST_F(WalArchiveTest, ListsFromAFileOn) {
  for (const auto* name : {"000000010000000000000001", "000000010000000000000002", "000000010000000000000003"}) {
    store_segment(name, segment());
  }
  auto files = archive.list(1, kFirst);
  ASSERT_TRUE(files);
  ASSERT_EQ(files->size(), 2u);
  EXPECT_EQ(files->front().file_name, kSecond);
}

/// Whoever reads must fail, or get exactly what was put. Returns whether reading failed.
::testing::AssertionResult never_wrong(WalArchive& archive, const std::string& name, ByteView plain) {
  auto got = archive.get(name);
  if (!got) return ::testing::AssertionSuccess();
  if (*got && !std::ranges::equal(**got, plain)) return ::testing::AssertionFailure() << "other data without an error";
  return ::testing::AssertionFailure() << "damage not noticed";
}

TEST_F(WalArchiveTest, EveryFlippedByteIsNoticed) {
  const std::string name = "00000002.history";
  const auto plain = as_bytes("1\t0/3000000\tno recovery target specified\n");
  ASSERT_TRUE(archive.put(name, WalContent::History, 0, plain, {}));
  const auto good = store.snapshot();
  const Bytes bytes = *good.at(object(name));
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    auto bad = bytes;
    bad[i] ^= static_cast<std::byte>(1 + repo.random.below(255));
    store.replace(object(name), bad);
    EXPECT_TRUE(never_wrong(archive, name, plain)) << i;
    for (auto depth : {VerifyDepth::Open, VerifyDepth::Decompress}) EXPECT_FALSE(archive.check(name, depth)) << i;
    const auto held = archive.holds(name, WalContent::History, 0, plain);
    // The last record itself is not read for it.
    EXPECT_FALSE(i < bytes.size() - plain.size() - crypto::kSealOverhead && held && *held) << i;
  }
}

TEST_F(WalArchiveTest, FlippedBytesOfASegmentAndItsSummaryAreNoticed) {
  const auto plain = segment();
  const Bytes summary(300, std::byte{7});
  store_segment(kFirst, plain, summary);
  const Bytes bytes = *store.snapshot().at(object(kFirst));
  for (std::size_t i = 0; i < bytes.size(); i += i < 1200 ? 1 : 1 + repo.random.below(4000)) {
    auto bad = bytes;
    bad[i] ^= static_cast<std::byte>(1 + repo.random.below(255));
    store.replace(object(kFirst), bad);
    for (auto depth : {VerifyDepth::Open, VerifyDepth::Decompress}) EXPECT_FALSE(archive.check(kFirst, depth)) << i;
    auto got = archive.get(kFirst);
    EXPECT_TRUE(!got || **got == plain) << i;
    auto read = archive.summary(kFirst);
    EXPECT_TRUE(!read || **read == summary) << i;
  }
}

TEST_F(WalArchiveTest, EveryTruncationIsNoticed) {
  const std::string name = "00000002.history";
  const auto plain = as_bytes("1\t0/3000000\tno recovery target specified\n");
  ASSERT_TRUE(archive.put(name, WalContent::History, 0, plain, {}));
  const Bytes bytes = *store.snapshot().at(object(name));
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    store.replace(object(name), to_bytes(ByteView(bytes).first(size)));
    EXPECT_TRUE(never_wrong(archive, name, plain)) << size;
    EXPECT_EQ(archive.holds(name, WalContent::History, 0, plain).failure().code(), Errc::Corruption) << size;
  }
  auto longer = bytes;
  longer.push_back(std::byte{0});
  store.replace(object(name), longer);
  EXPECT_TRUE(never_wrong(archive, name, plain));
}

TEST_F(WalArchiveTest, AnObjectUnderAnotherNameDoesNotOpen) {
  const auto plain = segment();
  store_segment(kFirst, plain);
  store.replace(object(kSecond), *store.snapshot().at(object(kFirst)));
  EXPECT_EQ(archive.get(kSecond).failure().code(), Errc::Corruption);
  EXPECT_EQ(archive.info(kSecond).failure().code(), Errc::Corruption);
  EXPECT_EQ(archive.holds(kSecond, WalContent::Segment, kMiB, plain).failure().code(), Errc::Corruption);
}

TEST_F(WalArchiveTest, AnotherClustersOrIdentitysObjectDoesNotOpen) {
  const auto plain = segment();
  auto other_cluster = repo.add_cluster("other", identity.system_id);
  WalArchive other(*other_cluster, identity);
  WalArchive adopted(*repo.cluster, {identity.system_id, Incarnation(2)});
  ASSERT_TRUE(other.put(kFirst, WalContent::Segment, kMiB, plain, {}));
  ASSERT_TRUE(adopted.put(kFirst, WalContent::Segment, kMiB, plain, {}));
  for (const auto& foreign : {wal_name(other_cluster->id(), identity.system_id, identity.incarnation, kFirst),
                              wal_name(repo.cluster->id(), identity.system_id, Incarnation(2), kFirst)}) {
    store.replace(object(kFirst), *store.snapshot().at(foreign));
    EXPECT_EQ(archive.get(kFirst).failure().code(), Errc::Corruption) << foreign;
    EXPECT_EQ(archive.holds(kFirst, WalContent::Segment, kMiB, plain).failure().code(), Errc::Corruption) << foreign;
  }
}

TEST_F(WalArchiveTest, RecordsThatChangePlacesAreNoticed) {
  // Two records of equal size: swapping them leaves every length as it was.
  Bytes plain(2 * kWalRecordSize);
  repo.random.fill(plain);
  plain.resize(kMiB);
  store_segment(kFirst, plain);
  Bytes bytes = *store.snapshot().at(object(kFirst));
  const std::size_t record = kWalRecordSize + crypto::kSealOverhead;
  auto prefix = parse_wal_prefix(bytes, repo.cluster->context(), identity, kFirst);
  ASSERT_TRUE(prefix);
  const auto at = bytes.begin() + static_cast<std::ptrdiff_t>(kWalPrefixSize + prefix->index_length);
  std::swap_ranges(at, at + record, at + record);
  store.replace(object(kFirst), bytes);
  EXPECT_EQ(archive.get(kFirst).failure().code(), Errc::Corruption);
}

TEST_F(WalArchiveTest, OldEpochsStayReadableAfterRotation) {
  const auto plain = segment();
  store_segment(kFirst, plain);
  auto epoch = repo.repository->rotate_data_key(*repo.cluster);
  ASSERT_TRUE(epoch) << epoch.failure().describe();
  auto again = repo.repository->open_cluster(repo.cluster->id());
  ASSERT_TRUE(again);
  WalArchive rotated(**again, identity);
  EXPECT_EQ(**rotated.get(kFirst), plain);
  ASSERT_TRUE(rotated.put(kSecond, WalContent::Segment, kMiB, plain, {}));
  EXPECT_EQ((*rotated.info(kSecond))->epoch, *epoch);
  EXPECT_EQ(*rotated.put(kFirst, WalContent::Segment, kMiB, plain, {}), WalPut::Duplicate);
  EXPECT_FALSE(archive.get(kSecond));
}

/// Creates the object, then says it does not know.
class ForgetfulStore final : public storage::BlobStore {
 public:
  explicit ForgetfulStore(storage::BlobStore& inner) : inner_(inner) {}
  Result<storage::Created> create(const std::string& name, ByteView data) override {
    if (commits) TRY(inner_.create(name, data));
    return Error(Errc::Unknown, "connection reset");
  }
  Result<std::optional<Bytes>> read(const std::string& n, std::uint64_t l) override { return inner_.read(n, l); }
  Status read_range(const std::string& n, std::uint64_t o, MutableByteView out) override { return inner_.read_range(n, o, out); }
  Result<std::optional<storage::BlobInfo>> stat(const std::string& n) override { return inner_.stat(n); }
  Status list(const std::string& p, const std::string& a,
              const std::function<Status(const storage::BlobInfo&)>& v) override {
    return inner_.list(p, a, v);
  }
  Result<std::vector<std::string>> list_parts(const std::string& p) override { return inner_.list_parts(p); }
  Status remove(const std::string& n) override { return inner_.remove(n); }
  std::string describe() const override { return "forgetful"; }
  bool commits = true;

 private:
  storage::BlobStore& inner_;
};

TEST_F(WalArchiveTest, AnUnknownOutcomeIsReadBack) {
  ForgetfulStore forgetful(store);
  auto environment = repo.environment();
  std::vector<Unlock> unlocks(1);
  unlocks[0].key = repo.key.clone();
  auto opened = Repository::open({forgetful, repo.clock, repo.random, *repo.seen, "t", "t"}, std::move(unlocks));
  ASSERT_TRUE(opened) << opened.failure().describe();
  auto cluster = (*opened)->open_cluster(repo.cluster->id());
  ASSERT_TRUE(cluster);
  WalArchive through(**cluster, identity);
  const auto plain = segment();
  auto put = through.put(kFirst, WalContent::Segment, kMiB, plain, {});
  ASSERT_TRUE(put) << put.failure().describe();
  EXPECT_EQ(*put, WalPut::Stored);
  forgetful.commits = false;
  EXPECT_EQ(through.put(kSecond, WalContent::Segment, kMiB, plain, {}).failure().code(), Errc::Unknown);
}

TEST(WalIndex, RefusesWhatCannotBe) {
  WalIndex index;
  index.records = {{codec::CodecId::Zstd, 100}, {codec::CodecId::None, 10 + crypto::kSealOverhead}};
  const std::uint64_t raw = kWalRecordSize + 10;
  const auto good = encode_wal_index(index);
  ASSERT_TRUE(parse_wal_index(good, raw));
  EXPECT_FALSE(parse_wal_index(good, raw + kWalRecordSize));
  EXPECT_FALSE(parse_wal_index(good, raw + 1));
  auto longer = good;
  longer.push_back(std::byte{0});
  EXPECT_FALSE(parse_wal_index(longer, raw));
  for (std::size_t size = 0; size < good.size(); ++size) EXPECT_FALSE(parse_wal_index(ByteView(good).first(size), raw));
  index.records[0].stored_length = crypto::kSealOverhead;
  EXPECT_FALSE(parse_wal_index(encode_wal_index(index), raw));
  index.records[0] = {codec::CodecId::Zstd, kWalRecordSize + crypto::kSealOverhead};
  EXPECT_FALSE(parse_wal_index(encode_wal_index(index), raw));
}

}  // namespace
}  // namespace pgmint::repository

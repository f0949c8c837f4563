#include "storage/cache_store.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <fstream>

#include "base/file.h"
#include "base/random.h"
#include "crypto/md5.h"
#include "storage/forwarding_store.h"
#include "storage/fault_store.h"
#include "storage/instant_clock.h"
#include "storage/memory_store.h"
#include "storage/temporary_directory.h"

namespace pgmint::storage {
namespace {

struct CacheStoreTest : testing::Test {
  /// A cache over what `memory` holds, which it does not own; `faults` counts what reaches it.
  std::unique_ptr<BlobStore> open(std::unique_ptr<BlobStore> inner, CachePolicy policy = {}) {
    auto counting = std::make_unique<FaultStore>(std::move(inner), clock);
    faults = counting.get();
    policy.keeps = [](const std::string& name) { return name.starts_with("log/"); };
    return make_cache_store(std::move(counting), directory.path() / "cache", std::move(policy), clock);
  }
  std::unique_ptr<BlobStore> holding(std::initializer_list<std::pair<const char*, const char*>> objects) {
    auto memory = make_memory_store();
    for (const auto& [name, text] : objects) EXPECT_TRUE(memory->create(name, as_bytes(text)));
    return memory;
  }
  std::vector<fs::path> copies() const {
    std::vector<fs::path> found;
    for (const auto& entry : fs::recursive_directory_iterator(directory.path()))
      if (entry.is_regular_file()) found.push_back(entry.path());
    return found;
  }
  std::string text(BlobStore& store, const std::string& name) {
    auto read = store.read(name, 1000);
    return read && *read ? std::string(as_text(**read)) : "absent";
  }

  TemporaryDirectory directory;
  InstantClock clock;
  FaultStore* faults = nullptr;
};

TEST_F(CacheStoreTest, AsksOnceForWhatItKeepsAndAlwaysForTheRest) {
  auto store = open(holding({{"log/1", "one"}, {"p/1", "pack"}}));
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(text(*store, "log/1"), "one");
    EXPECT_EQ(text(*store, "p/1"), "pack");
  }
  EXPECT_EQ(faults->operations(), 4u);
  // Another process.
  store = open(holding({}));
  EXPECT_EQ(text(*store, "log/1"), "one");
  EXPECT_EQ(faults->operations(), 0u);
}

Bytes bytes_of(std::string_view text) {
  const auto view = as_bytes(text);
  return {view.begin(), view.end()};
}

/// A store whose listings tell the MD5 of what they list, as S3's do; or something else, as S3's do of what a service's key encrypts.
class WithEtags final : public ForwardingStore {
 public:
  explicit WithEtags(std::unique_ptr<BlobStore> inner) : ForwardingStore(std::move(inner)) {}
  bool are_md5 = true;
  bool tells_creators = true;
  Result<Created> create(const std::string& name, ByteView data) override {
    created_ = to_hex(*crypto::md5(data));
    return ForwardingStore::create(name, data);
  }
  std::string take_created_etag(const std::string&) override { return tells_creators ? std::exchange(created_, {}) : std::string(); }
  Status list(const std::string& prefix, const std::string& after, const std::function<Status(const BlobInfo&)>& visit) override {
    return ForwardingStore::list(prefix, after, [&](const BlobInfo& info) {
      auto told = info;
      told.etag = to_hex(*crypto::md5(**inner().read(info.name, 1 << 20)));
      if (!are_md5) std::swap(told.etag[0], told.etag[31]);
      return visit(told);
    });
  }

 private:
  std::string created_;
};

TEST_F(CacheStoreTest, TheNewestIsHeldAgainstWhatTheListingSaysOfIt) {
  auto memory = holding({{"log/1", "one"}, {"log/2", "two"}});
  auto& there = static_cast<MemoryStore&>(*memory);
  auto telling = std::make_unique<WithEtags>(std::move(memory));
  auto& etags = *telling;
  auto store = open(std::move(telling));
  const auto reads_after_listing = [&] {
    EXPECT_TRUE(list_all(*store, "log/"));
    const auto before = faults->operations();
    EXPECT_EQ(text(*store, "log/1"), "one");
    text(*store, "log/2");
    return faults->operations() - before;
  };
  EXPECT_EQ(reads_after_listing(), 2u) << "nothing is kept yet";
  EXPECT_EQ(reads_after_listing(), 0u) << "the listing vouches for it";
  there.replace("log/2", bytes_of("TWO"));
  EXPECT_EQ(reads_after_listing(), 1u) << "another one stands there";
  EXPECT_EQ(text(*store, "log/2"), "TWO");
  etags.are_md5 = false;
  EXPECT_EQ(reads_after_listing(), 1u) << "an etag that says nothing of the bytes vouches for nothing";
}

struct FrontTest : CacheStoreTest {
  FrontTest() {
    policy.keeps_front = [](const std::string& name) { return name.starts_with("wal/"); };
    policy.keeps_small = [](const std::string& name) { return name.starts_with("p/"); };
    policy.small_max = 100;
    clock.sleep(system_clock().now() - clock.now());  // copies are stamped by the file system
  }
  static std::string text_of(const Result<std::optional<BlobFront>>& front) { return front && *front ? std::string(as_text((*front)->bytes)) : "absent"; }
  std::uint64_t requests(BlobStore& store, const std::string& name, std::string_view expected) {
    const auto before = faults->operations();
    const auto front = store.read_front(name, 4);
    EXPECT_TRUE(front && *front && as_text((*front)->bytes) == expected);
    return faults->operations() - before;
  }
  CachePolicy policy;
};

TEST_F(FrontTest, AFrontIsKeptForWhatAListingNamedWithTheSameContent) {
  auto memory = holding({{"wal/1", "front and more"}});
  auto& there = static_cast<MemoryStore&>(*memory);
  auto store = open(std::make_unique<WithEtags>(std::move(memory)), policy);
  EXPECT_GT(requests(*store, "wal/1", "fron"), 0u);
  EXPECT_GT(requests(*store, "wal/1", "fron"), 0u) << "no listing has named it";
  ASSERT_TRUE(list_all(*store, "wal/"));
  EXPECT_GT(requests(*store, "wal/1", "fron"), 0u);
  EXPECT_EQ(requests(*store, "wal/1", "fron"), 0u);
  const auto front = store->read_front("wal/1", 4);
  ASSERT_TRUE(front && *front);
  EXPECT_EQ((*front)->size, 14u);
  there.replace("wal/1", bytes_of("FRONT AND MORE"));
  ASSERT_TRUE(list_all(*store, "wal/"));
  EXPECT_GT(requests(*store, "wal/1", "FRON"), 0u) << "its content is another one now";
}

TEST_F(FrontTest, OfWhatIsCreatedHereTheFrontIsKeptAsTheStoreCallsIt) {
  auto telling = std::make_unique<WithEtags>(make_memory_store());
  auto& etags = *telling;
  auto store = open(std::move(telling), policy);
  ASSERT_EQ(*store->create("wal/1", as_bytes("front and more")), Created::Yes);
  EXPECT_GT(requests(*store, "wal/1", "fron"), 0u) << "no listing has shown that it is there";
  ASSERT_TRUE(list_all(*store, "wal/"));
  EXPECT_EQ(requests(*store, "wal/1", "fron"), 0u);
  const auto before = faults->operations();
  const auto whole = store->read_front("wal/1", 1000);
  ASSERT_TRUE(whole && *whole);
  EXPECT_EQ(as_text((*whole)->bytes), "front and more") << "a copy serves every length that it has";
  EXPECT_EQ(faults->operations(), before);
  EXPECT_EQ(text_of(store->read_front_or_copy("wal/1", 4)), "fron");
  EXPECT_EQ(faults->operations(), before);
  // Who lost, or was not told what the store calls it, keeps nothing.
  EXPECT_EQ(*store->create("wal/1", as_bytes("FRONT AND MORE")), Created::AlreadyExists);
  EXPECT_EQ(requests(*store, "wal/1", "fron"), 0u);
  etags.tells_creators = false;
  ASSERT_EQ(*store->create("wal/2", as_bytes("front and more")), Created::Yes);
  ASSERT_TRUE(list_all(*store, "wal/"));
  EXPECT_GT(requests(*store, "wal/2", "fron"), 0u);
}

TEST_F(FrontTest, WhoAsksForWhatItSaysNeedsNoListingAndIsNotToldOfAnotherContent) {
  auto memory = make_memory_store();
  auto& there = static_cast<MemoryStore&>(*memory);
  auto store = open(std::make_unique<WithEtags>(std::move(memory)), policy);
  const auto asks = [&](const std::string& name) {
    const auto before = faults->operations();
    const auto text = text_of(store->read_front_or_copy(name, 5));
    return fmt::format("{}{}", text, faults->operations() > before ? ", asked" : "");
  };
  EXPECT_EQ(asks("wal/1"), "absent, asked");
  ASSERT_EQ(*store->create("wal/1", as_bytes("front and more")), Created::Yes);
  EXPECT_EQ(asks("wal/1"), "front");
  ASSERT_TRUE(there.remove("wal/1"));
  EXPECT_EQ(asks("wal/1"), "front") << "what it said it still says";
  EXPECT_EQ(text_of(store->read_front("wal/1", 5)), "absent") << "and whether it is there is another question";
  ASSERT_EQ(*there.create("wal/1", as_bytes("other words")), Created::Yes);
  ASSERT_TRUE(list_all(*store, "wal/"));
  EXPECT_EQ(asks("wal/1"), "other, asked");
  EXPECT_EQ(asks("wal/1"), "other");
  ASSERT_TRUE(store->remove("wal/1"));
  EXPECT_EQ(asks("wal/1"), "absent, asked");
}

TEST_F(FrontTest, ADamagedFrontIsReadAnew) {
  auto store = open(std::make_unique<WithEtags>(make_memory_store()), policy);
  ASSERT_EQ(*store->create("wal/1", as_bytes("front and more")), Created::Yes);
  const auto kept = copies();
  ASSERT_EQ(kept.size(), 1u);
  const auto whole = *read_file(kept[0], 1000);
  for (std::size_t i = 0; i < whole.size(); ++i) {
    auto damaged = whole;
    damaged[i] ^= std::byte{1};
    std::ofstream(kept[0], std::ios::binary).write(reinterpret_cast<const char*>(damaged.data()), static_cast<std::streamsize>(damaged.size()));
    EXPECT_EQ(text_of(store->read_front_or_copy("wal/1", 5)), "front") << i;
  }
}

TEST_F(FrontTest, AShorterCopyIsNotTakenForALongerFront) {
  auto store = open(std::make_unique<WithEtags>(holding({{"wal/1", "front and more"}})), policy);
  ASSERT_TRUE(list_all(*store, "wal/"));
  EXPECT_GT(requests(*store, "wal/1", "fron"), 0u);
  for (const bool asks : {true, false}) {
    const auto before = faults->operations();
    const auto longer = store->read_front("wal/1", 9);
    ASSERT_TRUE(longer && *longer);
    EXPECT_EQ(as_text((*longer)->bytes), "front and");
    EXPECT_EQ(faults->operations() > before, asks);
  }
}

TEST_F(FrontTest, WhatIsSmallAndWasMadeHereIsKeptForADay) {
  auto memory = holding({{"p/theirs", "theirs"}});
  auto& there = static_cast<MemoryStore&>(*memory);
  auto store = open(std::move(memory), policy);
  ASSERT_TRUE(store->create("p/small", Bytes(100, std::byte{7})));
  ASSERT_TRUE(store->create("p/large", Bytes(101, std::byte{7})));
  const auto reads = [&](const std::string& name) {
    const auto before = faults->operations();
    Bytes part(5);
    EXPECT_TRUE(store->read_range(name, 1, part)) << name;
    return faults->operations() - before;
  };
  EXPECT_EQ(reads("p/small"), 0u);
  EXPECT_EQ(reads("p/large"), 1u);
  EXPECT_EQ(reads("p/theirs"), 1u);
  // Read once from the disk, and gone when it is gone there.
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(store->create(fmt::format("p/{}", i), Bytes(50, std::byte{static_cast<unsigned char>(i)})));
  for (int turn = 0; turn < 2; ++turn)
    for (int i = 0; i < 10; ++i) {
      Bytes part(5);
      ASSERT_TRUE(store->read_range(fmt::format("p/{}", i), 3, part));
      EXPECT_EQ(part, Bytes(5, std::byte{static_cast<unsigned char>(i)}));
    }
  EXPECT_EQ(reads("p/9"), 0u);
  ASSERT_TRUE(store->remove("p/9"));
  Bytes gone(5);
  EXPECT_EQ(store->read_range("p/9", 0, gone).failure().code(), Errc::NotFound);
  Bytes beyond(2);
  EXPECT_EQ(store->read_range("p/small", 99, beyond).failure().code(), Errc::Corruption);
  ASSERT_TRUE(there.remove("p/small"));
  EXPECT_EQ(reads("p/small"), 0u);
  clock.sleep(std::chrono::hours(25));
  Bytes part(5);
  EXPECT_EQ(store->read_range("p/small", 1, part).failure().code(), Errc::NotFound) << "a day later it is known to be gone";
}

TEST_F(CacheStoreTest, AbsenceIsNotKept) {
  auto store = open(holding({}));
  EXPECT_EQ(text(*store, "log/1"), "absent");
  ASSERT_TRUE(store->create("log/1", as_bytes("one")));
  EXPECT_EQ(text(*store, "log/1"), "one");
  EXPECT_EQ(faults->operations(), 2u) << "what was created is known";
}

TEST_F(CacheStoreTest, WhoLosesKeepsTheWinnersBytes) {
  auto store = open(holding({{"log/1", "theirs"}}));
  EXPECT_EQ(*store->create("log/1", as_bytes("ours")), Created::AlreadyExists);
  EXPECT_EQ(text(*store, "log/1"), "theirs");
}

TEST_F(CacheStoreTest, ACreateThatFailedIsNotKept) {
  auto store = open(holding({}));
  Fault lost;
  lost.when = Fault::When::After;
  lost.code = Errc::Unknown;
  faults->add(lost);
  EXPECT_FALSE(store->create("log/1", as_bytes("ours")));
  EXPECT_TRUE(copies().empty());
}

TEST_F(CacheStoreTest, ADamagedCopyIsReadAnew) {
  for (const std::size_t at : {0u, 31u, 32u, 34u}) {
    auto store = open(holding({{"log/1", "one"}}));
    EXPECT_EQ(text(*store, "log/1"), "one");
    ASSERT_EQ(copies().size(), 1u);
    {
      std::fstream file(copies().front(), std::ios::in | std::ios::out | std::ios::binary);
      file.seekg(static_cast<std::streamoff>(at));
      const char byte = static_cast<char>(file.get() ^ 1);
      file.seekp(static_cast<std::streamoff>(at));
      file.put(byte);
    }
    EXPECT_EQ(text(*store, "log/1"), "one") << at;
    EXPECT_EQ(faults->operations(), 2u) << at;
    fs::resize_file(copies().front(), at);
    EXPECT_EQ(text(*store, "log/1"), "one") << at;
    EXPECT_EQ(faults->operations(), 3u) << at;
    EXPECT_EQ(text(*store, "log/1"), "one") << at;
    EXPECT_EQ(faults->operations(), 3u) << at;
    fs::remove_all(directory.path() / "cache");
  }
}

TEST_F(CacheStoreTest, ACopyOfAnotherNameOrStoreIsNone) {
  auto store = open(holding({{"log/1", "one"}, {"log/2", "two"}}));
  EXPECT_EQ(text(*store, "log/1"), "one");
  const auto first = copies().front();
  EXPECT_EQ(text(*store, "log/2"), "two");
  for (const auto& other : copies())
    if (other != first) fs::copy_file(first, other, fs::copy_options::overwrite_existing);
  EXPECT_EQ(text(*store, "log/2"), "two");
}

TEST_F(CacheStoreTest, WhatIsRemovedIsForgotten) {
  auto store = open(holding({{"log/1", "one"}, {"log/2", "two"}}));
  EXPECT_EQ(text(*store, "log/1"), "one");
  EXPECT_EQ(text(*store, "log/2"), "two");
  ASSERT_TRUE(store->remove("log/1"));
  ASSERT_TRUE(store->remove_all(std::vector<std::string>{"log/2"}));
  EXPECT_EQ(text(*store, "log/1"), "absent");
  EXPECT_EQ(text(*store, "log/2"), "absent");
  EXPECT_TRUE(copies().empty());
}

TEST_F(CacheStoreTest, TheLastNameOfAListingIsReadFromTheStore) {
  auto store = open(holding({{"log/1", "one"}, {"log/2", "two"}, {"p/1", "pack"}}));
  EXPECT_EQ(text(*store, "log/1"), "one");
  EXPECT_EQ(text(*store, "log/2"), "two");
  // The store went back in time, and somebody wrote on.
  store = open(holding({{"log/1", "one"}, {"log/2", "another"}}));
  EXPECT_EQ(text(*store, "log/2"), "two") << "nobody has listed it";
  ASSERT_TRUE(list_all(*store, "log/"));
  EXPECT_EQ(text(*store, "log/1"), "one");
  const auto before = faults->operations();
  EXPECT_EQ(text(*store, "log/2"), "another");
  EXPECT_EQ(text(*store, "log/2"), "another");
  EXPECT_EQ(faults->operations(), before + 1) << "its copy is the store's again";
}

TEST_F(CacheStoreTest, LimitsHoldForKeptCopiesToo) {
  auto store = open(holding({{"log/1", "0123456789"}}));
  EXPECT_EQ(text(*store, "log/1"), "0123456789");
  auto refused = store->read("log/1", 9);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.failure().code(), Errc::ResourceLimit);
}

TEST_F(CacheStoreTest, StaysWithinItsSize) {
  CachePolicy policy;
  policy.object_max = 5000;
  policy.size_max = 100'000;
  auto store = open(holding({}), policy);
  const Bytes data(1000, std::byte{'x'});
  for (int i = 0; i < 600; ++i) ASSERT_TRUE(store->create(fmt::format("log/{}", i), data));
  ASSERT_TRUE(store->create("log/large", Bytes(6000)));
  std::uint64_t size = 0;
  for (const auto& copy : copies()) size += fs::file_size(copy);
  EXPECT_LT(size, 100'000u + 256 * 1100) << "it looks after each 256";
  EXPECT_GT(size, 10'000u);
}

TEST_F(FrontTest, ManyFrontsDoNotDriveOutWhatEachCommandReads) {
  policy.size_max = 100'000;
  auto store = open(std::make_unique<WithEtags>(make_memory_store()), policy);
  for (int i = 0; i < 50; ++i) ASSERT_TRUE(store->create(fmt::format("log/{}", i), Bytes(1000, std::byte{1})));
  for (int i = 0; i < 600; ++i) ASSERT_TRUE(store->create(fmt::format("wal/{}", i), Bytes(1000, std::byte{2})));
  const auto before = faults->operations();
  for (int i = 0; i < 50; ++i) EXPECT_EQ(store->read(fmt::format("log/{}", i), 1000).value()->size(), 1000u);
  EXPECT_EQ(faults->operations(), before);
  std::uint64_t size = 0;
  for (const auto& copy : copies()) size += fs::file_size(copy);
  EXPECT_LT(size, 100'000u + 256 * 1100);
}

TEST_F(CacheStoreTest, StaysWithinItsSizeAlsoWhereEachProcessKeepsOneCopy) {
  CachePolicy policy;
  policy.size_max = 100'000;
  const Bytes data(1000, std::byte{'x'});
  for (int i = 0; i < 2000; ++i) ASSERT_TRUE(open(make_memory_store(), policy)->create(fmt::format("log/{}", i), data));
  std::uint64_t size = 0;
  for (const auto& copy : copies()) size += fs::file_size(copy);
  // On average each 256th of them looks; these names are the same in each run.
  EXPECT_LT(size, 1'000'000u);
}

TEST_F(CacheStoreTest, WithoutAPlaceItIsOnlySlower) {
  std::ofstream(directory.path() / "cache") << "a file where the directory should be";
  auto store = open(holding({{"log/1", "one"}}));
  EXPECT_EQ(text(*store, "log/1"), "one");
  EXPECT_EQ(text(*store, "log/1"), "one");
  EXPECT_EQ(*store->create("log/2", as_bytes("two")), Created::Yes);
}

}  // namespace
}  // namespace pgmint::storage

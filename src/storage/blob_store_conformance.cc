#include "storage/blob_store_conformance.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "base/random.h"

namespace pgmint::storage {
namespace {

constexpr std::uint64_t kLimit = 64 << 20;

Bytes pattern(std::size_t size, std::uint64_t seed) {
  Bytes data(size);
  SeededRandom(seed).fill(data);
  return data;
}

std::vector<std::string> names(BlobStore& store, const std::string& prefix, const std::string& after = "") {
  std::vector<std::string> found;
  auto listed = store.list(prefix, after, [&](const BlobInfo& info) {
    found.push_back(info.name);
    return ok();
  });
  EXPECT_TRUE(listed) << listed.failure().describe();
  return found;
}

void put(BlobStore& store, const std::string& name, std::string_view text = "x") {
  auto created = store.create(name, as_bytes(text));
  ASSERT_TRUE(created) << created.failure().describe();
  ASSERT_EQ(*created, Created::Yes) << name;
}

std::string text_of(BlobStore& store, const std::string& name) {
  auto data = store.read(name, kLimit);
  if (!data) return "error: " + data.failure().describe();
  return *data ? std::string(as_text(**data)) : "absent";
}

using Names = std::vector<std::string>;

TEST_P(BlobStoreConformance, CreatesAndReadsBack) {
  put(store, "c/1/log/0001", "hello");
  EXPECT_EQ(text_of(store, "c/1/log/0001"), "hello");
  auto info = store.stat("c/1/log/0001");
  ASSERT_TRUE(info && *info);
  EXPECT_EQ((*info)->name, "c/1/log/0001");
  EXPECT_EQ((*info)->size, 5u);
}

TEST_P(BlobStoreConformance, ReadsAFrontWithTheSizeOfTheWhole) {
  const Bytes data = pattern(100'000, 5);
  ASSERT_TRUE(store.create("p/long", data));
  ASSERT_TRUE(store.create("p/short", ByteView(data).first(300)));
  ASSERT_TRUE(store.create("p/empty", {}));
  const auto front = [&](const std::string& name, std::size_t length) {
    auto read = store.read_front(name, length);
    EXPECT_TRUE(read) << read.failure().describe();
    return read ? *read : std::nullopt;
  };
  for (const std::size_t length : {std::size_t{1}, std::size_t{2048}, BlobStore::kFrontMax}) {
    const auto found = front("p/long", length);
    ASSERT_TRUE(found);
    EXPECT_EQ(found->size, data.size());
    EXPECT_TRUE(std::ranges::equal(found->bytes, ByteView(data).first(length)));
  }
  const auto whole = front("p/short", 2048);
  ASSERT_TRUE(whole);
  EXPECT_EQ(whole->size, 300u);
  EXPECT_EQ(whole->bytes.size(), 300u);
  const auto nothing = front("p/empty", 2048);
  ASSERT_TRUE(nothing);
  EXPECT_EQ(nothing->size, 0u);
  EXPECT_TRUE(nothing->bytes.empty());
  EXPECT_FALSE(front("p/absent", 2048));
  // What is gone is gone, whatever was read of it before.
  ASSERT_TRUE(store.remove("p/short"));
  EXPECT_FALSE(front("p/short", 2048));
}

TEST_P(BlobStoreConformance, CreatesFromPieces) {
  const Bytes data = pattern(100'000, 3);
  std::uint64_t expected = 0;
  const auto in_pieces_of = [&](std::size_t size, std::uint64_t fails_at = ~std::uint64_t{0}) {
    expected = 0;
    return BlobStream{data.size(), [&, size, fails_at](std::uint64_t offset) -> Result<ByteView> {
                        EXPECT_EQ(offset, expected);
                        if (offset >= fails_at) return Error(Errc::Io, "a piece is missing");
                        const auto piece = ByteView(data).subspan(offset, std::min<std::size_t>(size, data.size() - offset));
                        expected = offset + piece.size();
                        return piece;
                      }};
  };
  auto failed = store.create_from("a/failed", in_pieces_of(30'000, 60'000));
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.failure().code(), Errc::Io);
  EXPECT_FALSE(*store.stat("a/failed"));
  for (const std::size_t size : {30'000u, 100'000u}) {
    const auto name = fmt::format("a/{}", size);
    auto created = store.create_from(name, in_pieces_of(size));
    ASSERT_TRUE(created) << created.failure().describe();
    EXPECT_EQ(*created, Created::Yes);
    EXPECT_EQ(**store.read(name, kLimit), data);
    EXPECT_EQ(*store.create_from(name, in_pieces_of(size)), Created::AlreadyExists);
  }
  EXPECT_EQ(*store.create_from("a/empty", BlobStream{0, nullptr}), Created::Yes);
  EXPECT_EQ(text_of(store, "a/empty"), "");
  EXPECT_EQ(names(store, "a/"), (Names{"a/100000", "a/30000", "a/empty"}));
}

TEST_P(BlobStoreConformance, AbsenceIsAValue) {
  put(store, "a/b");
  for (const char* name : {"nothing", "a/c", "a", "a/b/c", "x/y/z"}) {
    auto data = store.read(name, kLimit);
    ASSERT_TRUE(data) << name << ": " << data.failure().describe();
    EXPECT_FALSE(*data) << name;
    auto info = store.stat(name);
    ASSERT_TRUE(info) << name << ": " << info.failure().describe();
    EXPECT_FALSE(*info) << name;
    Bytes out(1);
    auto range = store.read_range(name, 0, out);
    ASSERT_FALSE(range) << name;
    EXPECT_EQ(range.failure().code(), Errc::NotFound) << name;
  }
}

TEST_P(BlobStoreConformance, NeverOverwrites) {
  put(store, "format", "first");
  auto again = store.create("format", as_bytes("second, and longer"));
  ASSERT_TRUE(again) << again.failure().describe();
  EXPECT_EQ(*again, Created::AlreadyExists);
  auto same = store.create("format", as_bytes("first"));
  ASSERT_TRUE(same);
  EXPECT_EQ(*same, Created::AlreadyExists);
  EXPECT_EQ(text_of(store, "format"), "first");
}

TEST_P(BlobStoreConformance, OfRacingCreatorsExactlyOneWins) {
  constexpr int kRacers = 16;
  for (int round = 0; round < 8; ++round) {
    const auto name = "log/" + std::to_string(round);
    std::atomic<int> ready{0}, winner{-1}, wins{0}, losses{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < kRacers; ++i)
      threads.emplace_back([&, i] {
        const auto data = pattern(3000 + static_cast<std::size_t>(i), static_cast<std::uint64_t>(i));
        ready.fetch_add(1);
        while (ready.load() < kRacers) std::this_thread::yield();
        auto created = store.create(name, data);
        if (!created) return;
        if (*created == Created::Yes) {
          wins.fetch_add(1);
          winner.store(i);
        } else {
          losses.fetch_add(1);
        }
      });
    for (auto& thread : threads) thread.join();
    ASSERT_EQ(wins.load(), 1);
    ASSERT_EQ(losses.load(), kRacers - 1);
    auto data = store.read(name, kLimit);
    ASSERT_TRUE(data && *data);
    EXPECT_EQ(**data, pattern(3000 + static_cast<std::size_t>(winner), static_cast<std::uint64_t>(winner)));
  }
  EXPECT_EQ(names(store, "").size(), 8u) << "losers left something behind";
}

TEST_P(BlobStoreConformance, AnEmptyObjectIsAnObject) {
  put(store, "empty", "");
  auto data = store.read("empty", 0);
  ASSERT_TRUE(data && *data);
  EXPECT_TRUE((*data)->empty());
  EXPECT_TRUE(store.read_range("empty", 0, {}));
  EXPECT_EQ(names(store, "e"), Names{"empty"});
}

TEST_P(BlobStoreConformance, KeepsALargeObjectWhole) {
  const auto data = pattern((20 << 20) + 7, 42);
  auto created = store.create("p/00/large", data);
  ASSERT_TRUE(created) << created.failure().describe();
  auto back = store.read("p/00/large", kLimit);
  ASSERT_TRUE(back && *back);
  EXPECT_TRUE(**back == data);
  Bytes tail((5 << 20) + 3);
  ASSERT_TRUE(store.read_range("p/00/large", data.size() - tail.size(), tail));
  EXPECT_TRUE(std::equal(tail.begin(), tail.end(), data.end() - static_cast<std::ptrdiff_t>(tail.size())));
}

TEST_P(BlobStoreConformance, ReadRefusesMoreThanItsLimit) {
  put(store, "ten", "0123456789");
  EXPECT_EQ(text_of(store, "ten"), "0123456789");
  EXPECT_TRUE(store.read("ten", 10));
  auto refused = store.read("ten", 9);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.failure().code(), Errc::ResourceLimit);
}

TEST_P(BlobStoreConformance, ReadsExactlyTheRangeAskedFor) {
  put(store, "ten", "0123456789");
  Bytes out(3);
  ASSERT_TRUE(store.read_range("ten", 0, out));
  EXPECT_EQ(as_text(out), "012");
  ASSERT_TRUE(store.read_range("ten", 7, out));
  EXPECT_EQ(as_text(out), "789");
  EXPECT_TRUE(store.read_range("ten", 10, {}));
  EXPECT_TRUE(store.read_range("ten", 4, {}));
}

TEST_P(BlobStoreConformance, ARangeBeyondTheEndIsCorruption) {
  put(store, "ten", "0123456789");
  Bytes out(3);
  for (std::uint64_t offset : {std::uint64_t{8}, std::uint64_t{10}, std::uint64_t{11}, std::uint64_t{1} << 40,
                               ~std::uint64_t{0}, ~std::uint64_t{0} - 1}) {
    auto range = store.read_range("ten", offset, out);
    ASSERT_FALSE(range) << offset;
    EXPECT_EQ(range.failure().code(), Errc::Corruption) << offset;
  }
  auto beyond = store.read_range("ten", 11, {});
  ASSERT_FALSE(beyond);
  EXPECT_EQ(beyond.failure().code(), Errc::Corruption);
}

TEST_P(BlobStoreConformance, ListsInByteOrderOfWholeNames) {
  // '-' and '.' sort before '/', digits and letters after it.
  Names all{"a-b", "a.b/c", "a/b", "a/b-", "a/c/d", "a0", "aa/1", "b/Z", "b/_", "b/a"};
  for (auto it = all.rbegin(); it != all.rend(); ++it) put(store, *it, *it);
  EXPECT_EQ(names(store, ""), all);
  EXPECT_EQ(names(store, "a/"), (Names{"a/b", "a/b-", "a/c/d"}));
  auto infos = list_all(store, "a/");
  ASSERT_TRUE(infos);
  for (const auto& info : *infos) EXPECT_EQ(info.size, info.name.size());
}

TEST_P(BlobStoreConformance, APrefixNeedNotEndAtASlash) {
  for (const char* name : {"c/1/wal/0000A", "c/1/wal/0000B", "c/1/wal/0001", "c/1/wax", "c/11/wal/0"}) put(store, name);
  EXPECT_EQ(names(store, "c/1/wal/0000"), (Names{"c/1/wal/0000A", "c/1/wal/0000B"}));
  EXPECT_EQ(names(store, "c/1/wa"), (Names{"c/1/wal/0000A", "c/1/wal/0000B", "c/1/wal/0001", "c/1/wax"}));
  EXPECT_EQ(names(store, "c/1"), (Names{"c/1/wal/0000A", "c/1/wal/0000B", "c/1/wal/0001", "c/1/wax", "c/11/wal/0"}));
  EXPECT_EQ(names(store, "c/1/wax"), Names{"c/1/wax"});
  EXPECT_EQ(names(store, "c/1/wax/"), Names{});
  EXPECT_EQ(names(store, "d/"), Names{});
}

TEST_P(BlobStoreConformance, ListsFromAfterAGivenName) {
  Names all{"a", "b-1", "b/1", "b/2/x", "b/2/y", "b/3", "c/1"};
  for (const auto& name : all) put(store, name);
  for (std::size_t i = 0; i < all.size(); ++i)
    EXPECT_EQ(names(store, "", all[i]), Names(all.begin() + static_cast<std::ptrdiff_t>(i) + 1, all.end())) << all[i];
  EXPECT_EQ(names(store, "b/", "b/2"), (Names{"b/2/x", "b/2/y", "b/3"}));
  EXPECT_EQ(names(store, "b/", "b/2/zz"), Names{"b/3"});
  EXPECT_EQ(names(store, "b/", "a"), (Names{"b/1", "b/2/x", "b/2/y", "b/3"}));
  EXPECT_EQ(names(store, "b/", "c"), Names{});
  EXPECT_EQ(names(store, "b/", "!"), (Names{"b/1", "b/2/x", "b/2/y", "b/3"}));
}

TEST_P(BlobStoreConformance, AFailingVisitorEndsTheListing) {
  for (const char* name : {"a/1", "a/2", "a/3"}) put(store, name);
  int seen = 0;
  auto listed = store.list("a/", "", [&](const BlobInfo&) -> Status {
    if (++seen == 2) return Error(Errc::Busy, "enough");  // Busy: a kind that decorators would repeat if it were the store's
    return ok();
  });
  ASSERT_FALSE(listed);
  EXPECT_EQ(listed.failure().code(), Errc::Busy);
  EXPECT_EQ(seen, 2);
}

TEST_P(BlobStoreConformance, AVisitorMayUseTheStore) {
  for (const char* name : {"a/1", "a/2", "a/3"}) put(store, name, name);
  int seen = 0;
  auto listed = store.list("a/", "", [&](const BlobInfo& info) -> Status {
    ++seen;
    EXPECT_EQ(text_of(store, info.name), info.name);
    return store.remove(info.name);
  });
  ASSERT_TRUE(listed) << listed.failure().describe();
  EXPECT_EQ(seen, 3);
  EXPECT_EQ(names(store, ""), Names{});
}

TEST_P(BlobStoreConformance, ListsDistinctParts) {
  for (const char* name : {"format", "c/2/log/1", "c/2/log/2", "c/10/log/1", "c/1-a/x", "c/1/x/y"}) put(store, name);
  auto parts = store.list_parts("c/");
  ASSERT_TRUE(parts) << parts.failure().describe();
  EXPECT_EQ(*parts, (Names{"1", "1-a", "10", "2"}));
  EXPECT_EQ(store.list_parts("").value(), (Names{"c", "format"}));
  EXPECT_EQ(store.list_parts("c/2/log/").value(), (Names{"1", "2"}));
  EXPECT_EQ(store.list_parts("c/3/").value(), Names{});
}

TEST_P(BlobStoreConformance, APartWithoutObjectsIsNotListed) {
  put(store, "c/1/log/1");
  put(store, "c/2/log/1");
  ASSERT_TRUE(store.remove("c/1/log/1"));
  EXPECT_EQ(store.list_parts("c/").value(), Names{"2"});
}

TEST_P(BlobStoreConformance, RemovesManyAtOnceAndNothingElse) {
  for (const char* name : {"p/0a/1", "p/0a/2", "p/0b/1", "p/0b/2", "snap/1", "snap/2"}) put(store, name);
  const Names going{"snap/1", "p/0b/2", "p/0a/1", "p/0c/never", "never/was", "p/0a/2", "p"};
  ASSERT_TRUE(store.remove_all(going));
  EXPECT_EQ(names(store, ""), (Names{"p/0b/1", "snap/2"}));
  ASSERT_TRUE(store.remove_all(going));
  ASSERT_TRUE(store.remove_all({}));
  EXPECT_FALSE(store.remove_all(Names{"p/0b/1", "../outside"}));
}

TEST_P(BlobStoreConformance, RemovingIsIdempotent) {
  put(store, "a/b");
  Bytes out(1);
  ASSERT_TRUE(store.read_range("a/b", 0, out));
  ASSERT_TRUE(store.remove("a/b"));
  ASSERT_TRUE(store.remove("a/b"));
  ASSERT_TRUE(store.remove("never/was"));
  ASSERT_TRUE(store.remove("a"));
  EXPECT_EQ(text_of(store, "a/b"), "absent");
  auto range = store.read_range("a/b", 0, out);
  ASSERT_FALSE(range);
  EXPECT_EQ(range.failure().code(), Errc::NotFound);
  put(store, "a/b", "again");
  EXPECT_EQ(text_of(store, "a/b"), "again");
}

TEST_P(BlobStoreConformance, RefusesInvalidNames) {
  std::string too_long(513, 'n');
  std::string with_null("a\0b", 3);
  for (const std::string& name : {std::string(), std::string("/"), std::string("/a"), std::string("a/"), std::string("a//b"),
                                  std::string("."), std::string(".."), std::string("../a"), std::string("a/../b"),
                                  std::string(".tmp-0123456789abcdef"), std::string("a/.hidden"), std::string("a b"),
                                  std::string("a\nb"), std::string("\xc3\xa9"), std::string("a\\b"), with_null, too_long}) {
    EXPECT_FALSE(valid_blob_name(name)) << name;
    Bytes out;
    EXPECT_FALSE(store.create(name, {})) << name;
    EXPECT_FALSE(store.read(name, kLimit)) << name;
    EXPECT_FALSE(store.read_range(name, 0, out)) << name;
    EXPECT_FALSE(store.stat(name)) << name;
    EXPECT_FALSE(store.remove(name)) << name;
  }
  for (const char* prefix : {"/", "../", "a//", "./", "a/../", ".tmp", "a b"}) {
    EXPECT_FALSE(store.list(prefix, "", [](const BlobInfo&) { return ok(); })) << prefix;
    EXPECT_FALSE(store.list_parts(prefix)) << prefix;
  }
  EXPECT_FALSE(store.list_parts("a")) << "must end in a slash";
  EXPECT_EQ(names(store, ""), Names{});
}

TEST_P(BlobStoreConformance, AcceptsTheLongestName) {
  const std::string name = std::string(200, 'a') + "/" + std::string(200, 'b') + "/" + std::string(110, 'c');
  ASSERT_EQ(name.size(), 512u);
  put(store, name, "long");
  EXPECT_EQ(text_of(store, name), "long");
  EXPECT_EQ(names(store, "a"), Names{name});
}

TEST_P(BlobStoreConformance, ServesManyThreadsAtOnce) {
  constexpr int kThreads = 8, kObjects = 12;
  std::atomic<int> failures{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < kObjects; ++i) {
        const auto name = "p/" + std::to_string(i % 3) + "/" + std::to_string(t) + "-" + std::to_string(i);
        const auto data = pattern(500 + static_cast<std::size_t>(100 * i), static_cast<std::uint64_t>(t * 1000 + i));
        auto created = store.create(name, data);
        if (!created || *created != Created::Yes) ++failures;
        Bytes out(100);
        if (!store.read_range(name, 200, out) || !std::equal(out.begin(), out.end(), data.begin() + 200)) ++failures;
        auto back = store.read(name, kLimit);
        if (!back || !*back || **back != data) ++failures;
        if (!list_all(store, "p/" + std::to_string(i % 3) + "/")) ++failures;
        if (i % 4 == 0 && !store.remove(name)) ++failures;
      }
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(failures.load(), 0);
  EXPECT_EQ(names(store, "p/").size(), static_cast<std::size_t>(kThreads * (kObjects - 3)));
}

TEST_P(BlobStoreConformance, ListsThousandsAcrossDirectories) {
  constexpr int kObjects = 1000;
  Names expected;
  for (int i = 0; i < kObjects; ++i) expected.push_back(fmt::format("p/{:02x}/{:06}", i % 7, i));
  std::vector<std::thread> threads;
  std::atomic<int> failures{0};
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (std::size_t i = static_cast<std::size_t>(t); i < expected.size(); i += 4)
        if (!store.create(expected[i], {})) ++failures;
    });
  for (auto& thread : threads) thread.join();
  ASSERT_EQ(failures.load(), 0);
  std::sort(expected.begin(), expected.end());
  EXPECT_EQ(names(store, "p/"), expected);
  EXPECT_EQ(names(store, "", expected[400]), Names(expected.begin() + 401, expected.end()));
}

TEST_P(BlobStoreConformance, SaysWhatItIs) { EXPECT_FALSE(store.describe().empty()); }

}  // namespace

// A program may link the suite before it has a store to hold against it.
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(BlobStoreConformance);

}  // namespace pgmint::storage

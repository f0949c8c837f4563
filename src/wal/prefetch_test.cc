#include "wal/prefetch_cache.h"

#include "wal/get.h"
#include "wal/testing_wal.h"

namespace pgmint::wal {
namespace {

using testing::kSegmentSize;
using testing::make_segment;
using testing::name_of;

struct PrefetchTest : testing::WalTest {
  fs::path cache_path = PrefetchCache::directory_for(data / "pg_wal", *cluster, identity);
  PrefetchCache cache{cache_path, *cluster, identity};
  fs::path destination = data / "pg_wal" / "RECOVERYXLOG";

  void SetUp() override {
    for (std::uint64_t s = 1; s <= 12; ++s) archive_segment(1, s);
    ASSERT_TRUE(cache.create());
  }
  void fetch(const std::string& name) {
    auto from = archive();
    const auto fetched = fetch_to_file(from, name, cache.incoming(name));
    ASSERT_TRUE(fetched && *fetched);
    ASSERT_TRUE(cache.publish(name, (*fetched)->size, (*fetched)->crc));
  }
  GetReport get_one(const std::string& name) {
    GetRequest request;
    request.file_name = name;
    request.destination = "pg_wal/RECOVERYXLOG";
    request.directory = data;
    request.clock = &clock;
    auto report = get(*cluster, identity, request);
    EXPECT_TRUE(report) << report.failure().describe();
    return report ? *report : GetReport{};
  }
  /// A clock that lets other things happen while the prefetcher waits.
  struct EventfulClock final : Clock {
    explicit EventfulClock(Clock& inner) : inner_(inner) {}
    TimePoint now() const override { return inner_.now(); }
    void sleep(std::chrono::microseconds d) override {
      inner_.sleep(d);
      if (on_sleep) on_sleep(++sleeps);
    }
    std::function<void(int)> on_sleep;
    int sleeps = 0;

   private:
    Clock& inner_;
  };
  PrefetchRequest request(Clock& with) {
    PrefetchRequest request;
    request.cache = cache_path;
    request.file_name = name_of(1, 1);
    request.count = 4;
    request.clock = &with;
    return request;
  }
};

TEST_F(PrefetchTest, GetDeliversWhatWasPrefetchedWithoutTheStore) {
  fetch(name_of(1, 3));
  memory.restore({});
  const auto report = get_one(name_of(1, 3));
  EXPECT_TRUE(report.delivered);
  EXPECT_TRUE(report.from_cache);
  EXPECT_EQ(content(destination), make_segment(1, 3));
  EXPECT_FALSE(cache.has(name_of(1, 3)));
}

TEST_F(PrefetchTest, WhatIsNotWhatWasFetchedIsFetchedAgain) {
  for (const int kind : {0, 1, 2, 3}) {
    fetch(name_of(1, 3));
    const auto path = cache_path / name_of(1, 3);
    if (kind == 0) write(path, make_segment(1, 3, testing::kSystemId, 1));
    if (kind == 1) fs::resize_file(path, kSegmentSize / 2);
    if (kind == 2) write(cache_path / (name_of(1, 3) + ".tag"), Bytes(32));
    if (kind == 3) {
      fetch(name_of(1, 4));  // another segment's contents under this name
      fs::rename(cache_path / name_of(1, 4), path);
    }
    const auto report = get_one(name_of(1, 3));
    EXPECT_FALSE(report.from_cache) << kind;
    EXPECT_EQ(content(destination), make_segment(1, 3)) << kind;
    EXPECT_FALSE(cache.has(name_of(1, 3)));
  }
}

TEST_F(PrefetchTest, AnotherRepositorysOrIncarnationsCacheIsNotBelieved) {
  fetch(name_of(1, 3));
  PrefetchCache other(cache_path, *cluster, {testing::kSystemId, repository::Incarnation(2)});
  EXPECT_EQ(other.deliver(name_of(1, 3), destination), std::nullopt);
  EXPECT_FALSE(fs::exists(destination));
  EXPECT_NE(PrefetchCache::directory_for(data, *cluster, {testing::kSystemId, repository::Incarnation(2)}),
            PrefetchCache::directory_for(data, *cluster, identity));
}

TEST_F(PrefetchTest, KeepsTheNextSegmentsReadyAndFollowsWhatIsAskedFor) {
  EventfulClock eventful(clock);
  eventful.on_sleep = [&](int n) {
    if (n == 1) {
      for (std::uint64_t s = 2; s <= 5; ++s) EXPECT_TRUE(cache.has(name_of(1, s))) << s;
      EXPECT_FALSE(cache.has(name_of(1, 6)));
      EXPECT_TRUE(get_one(name_of(1, 2)).from_cache);
      EXPECT_TRUE(get_one(name_of(1, 3)).from_cache);
    }
    if (n == 2) {
      for (std::uint64_t s = 4; s <= 7; ++s) EXPECT_TRUE(cache.has(name_of(1, s))) << s;
      EXPECT_FALSE(cache.has(name_of(1, 3)));
    }
  };
  ASSERT_TRUE(prefetch(*cluster, identity, request(eventful)));
  EXPECT_GE(eventful.sleeps, 2);
}

TEST_F(PrefetchTest, EndsWhenIdleAndLeavesNothingBehind) {
  const auto before = clock.now();
  ASSERT_TRUE(prefetch(*cluster, identity, request(clock)));
  EXPECT_GE(clock.now() - before, std::chrono::seconds(10));
  EXPECT_LE(clock.now() - before, std::chrono::seconds(12));
  EXPECT_FALSE(fs::exists(data / "pg_wal" / "pgmint-prefetch"));
}

TEST_F(PrefetchTest, EndsWhenTheDirectoryVanishes) {
  EventfulClock eventful(clock);
  eventful.on_sleep = [&](int) { fs::remove_all(data); };
  ASSERT_TRUE(prefetch(*cluster, identity, request(eventful)));
  EXPECT_EQ(eventful.sleeps, 1);
  EXPECT_FALSE(fs::exists(data));
}

TEST_F(PrefetchTest, EndsWhenCancelled) {
  CancelToken cancel;
  EventfulClock eventful(clock);
  eventful.on_sleep = [&](int) { cancel.cancel(); };
  auto wanted = request(eventful);
  wanted.cancel = &cancel;
  ASSERT_TRUE(prefetch(*cluster, identity, wanted));
  EXPECT_EQ(eventful.sleeps, 1);
}

TEST_F(PrefetchTest, OnlyOnePrefetcherAtATime) {
  const auto lock = cache.try_lock();
  ASSERT_TRUE(lock && *lock);
  EventfulClock eventful(clock);
  ASSERT_TRUE(prefetch(*cluster, identity, request(eventful)));
  EXPECT_EQ(eventful.sleeps, 0);
}

TEST_F(PrefetchTest, AbsenceIsNotRemembered) {
  EventfulClock eventful(clock);
  auto wanted = request(eventful);
  wanted.file_name = name_of(1, 11);
  eventful.on_sleep = [&](int n) {
    if (n == 1) {
      EXPECT_TRUE(cache.has(name_of(1, 12)));
      EXPECT_FALSE(cache.has(name_of(1, 13)));
      archive_segment(1, 13);
      EXPECT_TRUE(get_one(name_of(1, 13)).delivered);
    }
  };
  ASSERT_TRUE(prefetch(*cluster, identity, wanted));
}

TEST_F(PrefetchTest, APrefetcherThatDiedLeavesNothingInTheWay) {
  write(cache.incoming(name_of(1, 2)), as_bytes("part"));
  write(cache_path / name_of(1, 3), as_bytes("without a tag"));
  const auto report = get_one(name_of(1, 2));
  EXPECT_TRUE(report.delivered);
  EXPECT_EQ(content(destination), make_segment(1, 2));
  EXPECT_EQ(get_one(name_of(1, 3)).bytes, kSegmentSize);
  ASSERT_TRUE(prefetch(*cluster, identity, request(clock)));
  EXPECT_FALSE(fs::exists(data / "pg_wal" / "pgmint-prefetch"));
}

}  // namespace
}  // namespace pgmint::wal

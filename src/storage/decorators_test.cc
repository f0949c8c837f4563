// The small decorators: throttle, meter, cancel, fault.
#include <gtest/gtest.h>

#include <thread>

#include "base/units.h"
#include "storage/cancel_store.h"
#include "storage/fault_store.h"
#include "storage/instant_clock.h"
#include "storage/memory_store.h"
#include "storage/meter_store.h"
#include "storage/throttle_store.h"

namespace pgmint::storage {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST(ThrottleStore, SpacesReadsAndWritesOutToTheRate) {
  InstantClock clock;
  RateLimiter limiter(1_MiB, clock);
  auto store = make_throttle_store(make_memory_store(), limiter);
  const Bytes data(2 << 20);
  const auto start = clock.now();
  ASSERT_TRUE(store->create("a", data));
  EXPECT_EQ(clock.now() - start, milliseconds(0)) << "the first does not wait";
  ASSERT_TRUE(store->create("b", data));
  EXPECT_EQ(clock.now() - start, seconds(2));
  Bytes out(1 << 20);
  ASSERT_TRUE(store->read_range("a", 0, out));
  EXPECT_EQ(clock.now() - start, seconds(4));
  ASSERT_TRUE(store->read("a", 4 << 20));
  ASSERT_TRUE(store->read_range("a", 0, out));
  EXPECT_EQ(clock.now() - start, seconds(7)) << "1 for the range, 2 for the whole object";
}

TEST(ThrottleStore, IdleTimeIsNotSavedUp) {
  InstantClock clock;
  RateLimiter limiter(1_MiB, clock);
  ASSERT_TRUE(limiter.take(1 << 20));
  clock.sleep(seconds(100));
  const auto start = clock.now();
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(limiter.take(1 << 20));
  EXPECT_EQ(clock.now() - start, seconds(3));
}

TEST(ThrottleStore, ThreadsShareTheRate) {
  InstantClock clock;
  RateLimiter limiter(ByteCount(1000), clock);
  const auto start = clock.now();
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 25; ++i) EXPECT_TRUE(limiter.take(1000));
    });
  for (auto& thread : threads) thread.join();
  EXPECT_GE(clock.now() - start, seconds(24)) << "each thread's last request waits for nearly all";
}

TEST(ThrottleStore, CancellingEndsTheWaiting) {
  InstantClock clock;
  CancelToken cancel;
  RateLimiter limiter(ByteCount(1), clock, &cancel);
  ASSERT_TRUE(limiter.take(1 << 20));
  cancel.cancel();
  auto taken = limiter.take(1);
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.failure().code(), Errc::Cancelled);
}

TEST(ThrottleStore, SurvivesAbsurdSizes) {
  InstantClock clock;
  RateLimiter limiter(ByteCount(~std::uint64_t{0}), clock);
  EXPECT_TRUE(limiter.take(~std::uint64_t{0}));
  EXPECT_TRUE(limiter.take(1));
}

TEST(MeterStore, CountsCallsBytesFailuresAndTime) {
  InstantClock clock;
  StoreMeter meter;
  auto faults = std::make_unique<FaultStore>(make_memory_store(), clock);
  Fault slow;
  slow.when = Fault::When::Delay;
  slow.on = Operation::Create;
  slow.delay = milliseconds(5);
  faults->add(slow);
  Fault broken;
  broken.on = Operation::Stat;
  faults->add(broken);
  auto store = make_meter_store(std::move(faults), meter, clock);

  ASSERT_TRUE(store->create("a", as_bytes("12345")));
  ASSERT_TRUE(store->create("a", as_bytes("123")));
  ASSERT_TRUE(store->read("a", 10));
  ASSERT_TRUE(store->read("b", 10));
  Bytes out(3);
  ASSERT_TRUE(store->read_range("a", 1, out));
  ASSERT_FALSE(store->read_range("a", 4, out));
  ASSERT_FALSE(store->stat("a"));
  ASSERT_FALSE(store->list("", "", [&](const BlobInfo&) -> Status {
    clock.sleep(seconds(9));
    return Error(Errc::Busy, "enough");
  }));
  ASSERT_TRUE(store->list_parts(""));
  ASSERT_TRUE(store->remove("a"));

  const auto& create = meter.of(Operation::Create);
  EXPECT_EQ(create.calls, 2u);
  EXPECT_EQ(create.failures, 0u);
  EXPECT_EQ(create.bytes, 5u) << "what was refused as existing did not move";
  EXPECT_EQ(create.time_us, 10000u);
  EXPECT_EQ(meter.of(Operation::Read).calls, 2u);
  EXPECT_EQ(meter.of(Operation::ReadRange).failures, 1u);
  EXPECT_EQ(meter.bytes_read(), 8u);
  EXPECT_EQ(meter.bytes_written(), 5u);
  EXPECT_EQ(meter.of(Operation::Stat).failures, 1u);
  EXPECT_EQ(meter.of(Operation::List).failures, 0u) << "the visitor's failure is not the store's";
  EXPECT_EQ(meter.of(Operation::List).time_us, 0u) << "nor is its time";
  EXPECT_EQ(meter.of(Operation::ListParts).calls, 1u);
  EXPECT_EQ(meter.of(Operation::Remove).calls, 1u);
}

TEST(CancelStore, NothingIsAskedOfTheStoreOnceCancelled) {
  InstantClock clock;
  StoreMeter meter;
  CancelToken token;
  auto store = make_cancel_store(make_meter_store(make_memory_store(), meter, clock), token);
  ASSERT_TRUE(store->create("a", as_bytes("1")));
  ASSERT_TRUE(store->create("b", as_bytes("1")));
  int visited = 0;
  const auto listed = store->list("", "", [&](const BlobInfo&) {
    ++visited;
    token.cancel();
    return ok();
  });
  ASSERT_FALSE(listed);
  EXPECT_EQ(listed.failure().code(), Errc::Cancelled);
  EXPECT_EQ(visited, 1) << "a long listing ends where it is";

  Bytes out(1);
  EXPECT_EQ(store->create("c", {}).failure().code(), Errc::Cancelled);
  EXPECT_EQ(store->read("a", 1).failure().code(), Errc::Cancelled);
  EXPECT_EQ(store->read_range("a", 0, out).failure().code(), Errc::Cancelled);
  EXPECT_EQ(store->stat("a").failure().code(), Errc::Cancelled);
  EXPECT_EQ(store->list_parts("").failure().code(), Errc::Cancelled);
  EXPECT_EQ(store->remove("a").failure().code(), Errc::Cancelled);
  for (const auto kind :
       {Operation::Read, Operation::ReadRange, Operation::Stat, Operation::ListParts, Operation::Remove})
    EXPECT_EQ(meter.of(kind).calls, 0u) << operation_name(kind);
  EXPECT_EQ(meter.of(Operation::Create).calls, 2u);
}

TEST(FaultStore, FailsWhereAndWhenItIsTold) {
  InstantClock clock;
  FaultStore store(make_memory_store(), clock);
  Fault third_pack;
  third_pack.on = Operation::Create;
  third_pack.matches = [](const std::string& name) { return name.starts_with("p/"); };
  third_pack.skip = 2;
  third_pack.times = 1;
  third_pack.when = Fault::When::After;
  third_pack.code = Errc::Unknown;
  store.add(third_pack);

  EXPECT_TRUE(store.create("p/1", {}));
  EXPECT_TRUE(store.create("log/1", {}));
  EXPECT_TRUE(store.create("p/2", {}));
  auto third = store.create("p/3", {});
  ASSERT_FALSE(third);
  EXPECT_EQ(third.failure().code(), Errc::Unknown);
  EXPECT_TRUE(store.stat("p/3").value()) << "it was done";
  EXPECT_TRUE(store.create("p/4", {}));
  EXPECT_EQ(store.operations(), 6u);
}

TEST(FaultStore, BeforeLeavesNothingAndTornLeavesHalf) {
  InstantClock clock;
  FaultStore store(make_memory_store(), clock);
  Fault before;
  before.times = 1;
  store.add(before);
  EXPECT_FALSE(store.create("a", as_bytes("1234")));
  EXPECT_FALSE(store.stat("a").value());
  Fault torn;
  torn.when = Fault::When::Torn;
  torn.times = 1;
  store.add(torn);
  EXPECT_FALSE(store.create("a", as_bytes("1234")));
  EXPECT_EQ(store.stat("a").value()->size, 2u);
  store.clear();
  EXPECT_EQ(store.create("a", as_bytes("1234")).value(), Created::AlreadyExists);
}

}  // namespace
}  // namespace pgmint::storage

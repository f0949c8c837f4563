#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <future>
#include <thread>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/direct_io.h"
#include "base/file.h"
#include "base/log.h"
#include "base/queue.h"
#include "base/random.h"
#include "base/scheduling.h"
#include "base/scratch.h"
#include "base/task_group.h"
#include "base/test_seed.h"
#include "base/units.h"

namespace pgmint {
namespace {

Result<int> half(int n) {
  if (n % 2 != 0) return Error(Errc::Usage, "odd", Hint{"use an even number"});
  return n / 2;
}

Result<int> quarter(int n) {
  int h = TRY(half(n).context("first half"));
  return TRY(half(h));
}

TEST(Error, TryPassesValuesAndErrorsWithContext) {
  EXPECT_EQ(quarter(8).value(), 2);
  auto failed = quarter(7);
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.failure().describe(), "first half: odd");
  EXPECT_EQ(failed.failure().hint(), "use an even number");
  EXPECT_EQ(exit_code(failed.failure().code()), 2);
}

TEST(Bytes, HexRoundTripsAndRejectsOddAndForeign) {
  Bytes raw{std::byte{0}, std::byte{0xab}, std::byte{0xff}};
  EXPECT_EQ(to_hex(raw), "00abff");
  EXPECT_EQ(from_hex("00ABff"), raw);
  EXPECT_FALSE(from_hex("0"));
  EXPECT_FALSE(from_hex("zz"));
}

TEST(Units, ReadAsPeopleWriteThem) {
  EXPECT_EQ(human(ByteCount(0)), "0 B");
  EXPECT_EQ(human(1536_KiB), "1.5 MiB");
  EXPECT_EQ(human(std::chrono::seconds(245)), "4 min 05 s");
  EXPECT_EQ(parse_size("1.5G")->value(), 1610612736u);
  EXPECT_EQ(parse_size("64MiB")->value(), 64u << 20);
  for (auto bad : {"", "-1", "5X", "1MM", "nan", "1e99"}) EXPECT_FALSE(parse_size(bad)) << bad;
}

TEST(Clock, ParsesWhatPostgresPrintsAndWhatRfc3339Says) {
  auto t = parse_time("2026-11-22 08:40:01.123456+00");
  ASSERT_TRUE(t);
  EXPECT_EQ(format_rfc3339(*t), "2026-11-22T08:40:01.123456Z");
  EXPECT_EQ(format_postgres(*t), "2026-11-22 08:40:01.123456+00");
  EXPECT_EQ(format_compact(*t), "20261122T084001Z");
  EXPECT_EQ(*parse_time("2026-11-22T14:10:01.123456+05:30"), *t);
  EXPECT_EQ(*parse_time("2026-11-22 00:40:01.123456-0800"), *t);
  EXPECT_EQ(*parse_time("2026-11-22 08:40:01.123456 UTC"), *t);
}

TEST(Clock, WithoutAZoneItIsLocalTime) {
  ::setenv("TZ", "Europe/Berlin", 1);
  ::tzset();
  EXPECT_EQ(format_rfc3339(*parse_time("2026-07-01 12:00:00")), "2026-07-01T10:00:00Z");
  EXPECT_FALSE(parse_time("2026-03-29 02:30:00"));  // skipped by the change to summer time
  ::unsetenv("TZ");
  ::tzset();
}

TEST(Clock, RejectsMalformedTimes) {
  for (auto bad : {"", "yesterday", "2026-02-30", "2026-11-22 25:00", "2026-11-22T08:40:01X", "2026-11-22 08:40:01+99",
                   "2026-11-22 08:40:01+00 tail", "2026-11-22 08"}) {
    auto t = parse_time(bad);
    ASSERT_FALSE(t) << bad;
    EXPECT_EQ(t.failure().code(), Errc::Usage);
  }
}

TEST(Log, RedactsPasswords) {
  EXPECT_EQ(redact("host=a password=hunter2 user=b"), "host=a password=*** user=b");
  EXPECT_EQ(redact("password = 'a b' x"), "password = *** x");
  EXPECT_EQ(redact("postgres://u:p@h/db"), "postgres://u:***@h/db");
}

TEST(BoundedQueue, CloseDrainsAndCancelDrops) {
  BoundedQueue<int> q(4);
  EXPECT_TRUE(q.push(1));
  q.close();
  EXPECT_FALSE(q.push(2));
  EXPECT_EQ(q.pop(), 1);
  EXPECT_EQ(q.pop(), std::nullopt);
  BoundedQueue<int> r(4);
  r.push(1);
  r.cancel();
  EXPECT_EQ(r.pop(), std::nullopt);
}

TEST(BoundedQueue, HelpersTakeWhatTheOthersLeaveBehind) {
  BoundedQueue<int> q(8, 2);
  std::promise<std::optional<int>> helped;
  std::jthread helper([&] { helped.set_value(q.pop_backlog()); });
  auto answer = helped.get_future();
  q.push(1);
  q.push(2);
  EXPECT_EQ(answer.wait_for(std::chrono::milliseconds(20)), std::future_status::timeout) << "nobody lags yet";
  EXPECT_EQ(q.pop(), 1);
  q.push(3);
  EXPECT_EQ(answer.wait_for(std::chrono::milliseconds(20)), std::future_status::timeout);
  q.push(4);
  EXPECT_EQ(answer.get(), 2);
  q.close();
  EXPECT_EQ(q.pop_backlog(), 3) << "at the end everybody helps";
  EXPECT_EQ(q.pop(), 4);
  EXPECT_EQ(q.pop_backlog(), std::nullopt);
  BoundedQueue<int> r(8, 2);
  std::jthread cancelled([&] { EXPECT_EQ(r.pop_backlog(), std::nullopt); });
  r.push(1);
  r.cancel();
}

TEST(BoundedQueue, AProducerThatWaitsForRoomIsWokenByWhoeverTakes) {
  BoundedQueue<int> q(3, 1);
  std::atomic<std::uint64_t> sum{0};
  constexpr int kItems = 20'000;
  {
    std::jthread first([&] {
      while (const auto item = q.pop()) sum += static_cast<std::uint64_t>(*item);
    });
    std::vector<std::jthread> helpers;
    for (int i = 0; i < 3; ++i)
      helpers.emplace_back([&] {
        while (const auto item = q.pop_backlog()) sum += static_cast<std::uint64_t>(*item);
      });
    for (int i = 1; i <= kItems; ++i) EXPECT_TRUE(q.push(i));
    q.close();
  }
  EXPECT_EQ(sum, std::uint64_t{kItems} * (kItems + 1) / 2);
}

/// Of a thread that calls wait_for_ones_turn() under `before`, and of one that it starts.
std::pair<int, int> policies_from(int before) {
  std::pair<int, int> seen;
  std::jthread([&] {
    constexpr sched_param kNoPriority{};
    EXPECT_EQ(::sched_setscheduler(0, before, &kNoPriority), 0);
    wait_for_ones_turn();
    seen.first = ::sched_getscheduler(0);
    std::jthread([&] { seen.second = ::sched_getscheduler(0); }).join();
  }).join();
  return seen;
}

TEST(Scheduling, WhoWaitsForOnesTurnStartsThreadsThatDo) {
  EXPECT_EQ(policies_from(SCHED_OTHER), std::pair(SCHED_BATCH, SCHED_BATCH));
  EXPECT_EQ(policies_from(SCHED_IDLE), std::pair(SCHED_IDLE, SCHED_IDLE)) << "somebody chose it";
  EXPECT_EQ(::sched_getscheduler(0), SCHED_OTHER) << "nobody else is touched";
}

TEST(CancelToken, IsNotSeenWhileItIsHeldOff) {
  CancelToken token;
  {
    const CancelToken::HoldOff first(&token);
    token.cancel();
    EXPECT_TRUE(token.check());
    EXPECT_TRUE(token.requested());
    {
      const CancelToken::HoldOff second(&token);
      EXPECT_FALSE(token.cancelled());
    }
    EXPECT_FALSE(token.cancelled()) << "the first still holds it off";
  }
  EXPECT_TRUE(token.cancelled());
  EXPECT_FALSE(token.check());
  const CancelToken::HoldOff of_nothing(nullptr);
}

TEST(TaskGroup, FirstFailureWinsAndWakesBlockedWorkers) {
  BoundedQueue<int> q(1);
  TaskGroup group;
  group.on_failure([&] { q.cancel(); });
  group.spawn([&]() -> Status {
    while (q.pop()) {
    }
    return group.check();
  });
  group.spawn([&]() -> Status { return Error(Errc::Corruption, "boom"); });
  auto status = group.join();
  ASSERT_FALSE(status);
  EXPECT_EQ(status.failure().code(), Errc::Corruption);
}

TEST(Scratch, GrowsKeepsItsPlaceAndIsWritable) {
  Scratch scratch;
  EXPECT_EQ(scratch.of(0).size(), 0u);
  const auto small = scratch.of(1000);
  std::ranges::fill(small, std::byte{7});
  EXPECT_EQ(scratch.of(500).data(), small.data());
  const std::size_t large = (std::size_t{5} << 20) + 1;
  const auto big = scratch.of(large);
  ASSERT_EQ(big.size(), large);
  std::ranges::fill(big, std::byte{8});
  Scratch taken = std::move(scratch);
  EXPECT_EQ(taken.of(1).data(), big.data());
  EXPECT_EQ(taken.of(large).back(), std::byte{8});
  taken.release();
  EXPECT_EQ(taken.of(10).size(), 10u);
}

/// Directories with and without direct I/O: a disk most likely, and memory.
std::vector<fs::path> places_to_write() {
  std::vector<fs::path> places;
  for (const char* parent : {"/var/tmp", "/dev/shm"}) {
    std::string name = std::string(parent) + "/pgmint-direct-XXXXXX";
    if (::mkdtemp(name.data()) != nullptr) places.emplace_back(name);
  }
  return places;
}

TEST(DirectWrites, OfOddAddressesAndSizesGoThroughTheCache) {
  SeededRandom random(1);
  const Bytes content = random_bytes(random, 100'001);
  for (const auto& place : places_to_write()) {
    auto fd = open_file(place / "file", O_RDWR | O_CREAT);
    ASSERT_TRUE(fd);
    ask_for_direct_writes(*fd);
    ASSERT_TRUE(write_at_direct(*fd, ByteView(content).subspan(1), 1, "file"));
    ASSERT_TRUE(write_at_direct(*fd, ByteView(content).first(1), 0, "file"));
    EXPECT_TRUE(read_file(place / "file", 1 << 20).value() == content) << place;
    fs::remove_all(place);
  }
}

TEST(DirectWrites, StartFromABufferThatKeepsWhatWasPutIntoItAsItGrows) {
  SeededRandom random(2);
  DirectBuffer buffer;
  Bytes expected;
  EXPECT_TRUE(ByteView(buffer).empty());
  for (const std::size_t n : {0, 1, 4095, 4096, 1'000'000, 5'000'000, 3}) {
    const Bytes more = random_bytes(random, n);
    if (n % 2 == 0)
      buffer.append(more);
    else
      std::ranges::copy(more, buffer.extend(n).begin());
    append(expected, more);
    ASSERT_TRUE(std::ranges::equal(buffer, expected)) << n;
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer.data()) % kDirectAlignment, 0u);
  }
  const std::byte* memory = buffer.data();
  DirectBuffer moved = std::move(buffer);
  moved.clear();
  moved.reserve(expected.size());
  EXPECT_EQ(moved.data(), memory) << "kept for the next contents";
  EXPECT_EQ(moved.size(), 0u);
}

TEST(DirectWrites, ReportAFullDisk) {
  auto fd = open_file("/dev/full", O_WRONLY);
  ASSERT_TRUE(fd);
  const auto status = write_at_direct(*fd, Bytes(4096), 0, "full");
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code(), Errc::Io);
}

TEST(File, DurableWriteReplacesAndCreateRefuses) {
  fs::path dir = fs::temp_directory_path() / ("pgmint-base-" + std::to_string(system_random().u64()));
  ASSERT_TRUE(create_directories(dir / "a/b", 0700));
  ASSERT_TRUE(write_file_durably(dir / "a/f", as_bytes("one"), 0600));
  ASSERT_TRUE(write_file_durably(dir / "a/f", as_bytes("two"), 0640));
  EXPECT_EQ(*read_text_file(dir / "a/f", 10), "two");
  auto again = create_file_durably(dir / "a/f", as_bytes("three"), 0600);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.failure().code(), Errc::Precondition);
  EXPECT_EQ(read_file(dir / "a/f", 2).failure().code(), Errc::ResourceLimit);
  EXPECT_EQ(read_file(dir / "a/none", 2).failure().code(), Errc::NotFound);
  EXPECT_TRUE(free_space(dir / "not/there").value() > 0);
  fs::remove_all(dir);
}

}  // namespace
}  // namespace pgmint

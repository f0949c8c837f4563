#include "storage/retry_store.h"

#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include "base/log.h"
#include "storage/fault_store.h"
#include "storage/instant_clock.h"
#include "storage/memory_store.h"

namespace pgmint::storage {
namespace {

using When = Fault::When;

/// retry(fault(memory)), with the inner ones at hand.
struct RetryStoreTest : testing::Test {
  RetryStoreTest() {
    auto memory = make_memory_store();
    inner = memory.get();
    auto fault_store = std::make_unique<FaultStore>(std::move(memory), clock);
    faults = fault_store.get();
    store = make_retry_store(std::move(fault_store), {.attempts_max = 4}, clock, random, &cancel);
  }
  void fail(Operation on, When when, Errc code, std::uint64_t times, std::uint64_t skip = 0) {
    Fault fault;
    fault.on = on;
    fault.when = when;
    fault.code = code;
    fault.times = times;
    fault.skip = skip;
    faults->add(fault);
  }
  std::string text(const std::string& name) {
    auto data = inner->read(name, 1000);
    return data && *data ? std::string(as_text(**data)) : "absent";
  }

  InstantClock clock;
  SeededRandom random{1};
  CancelToken cancel;
  MemoryStore* inner = nullptr;
  FaultStore* faults = nullptr;
  std::unique_ptr<BlobStore> store;
};

TEST_F(RetryStoreTest, RepeatsReadsUntilTheyWork) {
  ASSERT_TRUE(inner->create("a/b", as_bytes("text")));
  for (auto on : {Operation::Read, Operation::ReadRange, Operation::Stat, Operation::ListParts, Operation::Remove})
    fail(on, When::Before, Errc::Storage, 3);
  Bytes out(2);
  EXPECT_EQ(as_text(*store->read("a/b", 10).value()), "text");
  EXPECT_TRUE(store->read_range("a/b", 1, out));
  EXPECT_TRUE(store->stat("a/b").value());
  EXPECT_EQ(store->list_parts("a/").value(), std::vector<std::string>{"b"});
  EXPECT_TRUE(store->remove("a/b"));
}

/// What is logged at level info and above while it lives.
struct Overheard {
  Overheard() {
    set_log_observer([this](LogLevel level, std::string_view text) {
      if (level != LogLevel::Debug) lines.emplace_back(fmt::format("{} {}", level_name(level), text));
    });
  }
  ~Overheard() { set_log_observer({}); }
  std::vector<std::string> lines;
};

TEST_F(RetryStoreTest, ATroubleThatLastsIsToldAndSoIsItsEnd) {
  auto memory = make_memory_store();
  auto fault_store = std::make_unique<FaultStore>(std::move(memory), clock);
  faults = fault_store.get();
  store = make_retry_store(std::move(fault_store), {.attempts_max = 10}, clock, random, &cancel);
  Overheard told;
  // Half a second of delays: nobody need know.
  fail(Operation::Read, When::Before, Errc::Storage, 3);
  EXPECT_TRUE(store->read("a", 10));
  EXPECT_EQ(told.lines, std::vector<std::string>());
  // More than three, and less than a minute.
  fail(Operation::Read, When::Before, Errc::Storage, 9);
  EXPECT_TRUE(store->read("a", 10));
  ASSERT_EQ(told.lines.size(), 2u) << fmt::format("{}", fmt::join(told.lines, "\n"));
  EXPECT_TRUE(told.lines[0].starts_with("WARNING") && told.lines[0].find("trying again (") != std::string::npos) << told.lines[0];
  EXPECT_EQ(told.lines[1], "INFO the store answers again");
  // A create of which the outcome is read back, once a minute at most.
  clock.sleep(std::chrono::minutes(2));
  fail(Operation::Create, When::Before, Errc::Storage, 9);
  EXPECT_EQ(*store->create("b", as_bytes("text")), Created::Yes);
  EXPECT_EQ(told.lines.size(), 4u) << fmt::format("{}", fmt::join(told.lines, "\n"));
  EXPECT_TRUE(store->read("a", 10));
  EXPECT_EQ(told.lines.size(), 4u);
}

TEST_F(RetryStoreTest, GivesUpAfterItsAttempts) {
  fail(Operation::Read, When::Before, Errc::Storage, ~0ull);
  auto data = store->read("a", 10);
  ASSERT_FALSE(data);
  EXPECT_EQ(data.failure().code(), Errc::Storage);
  EXPECT_EQ(faults->operations(), 4u);
}

TEST_F(RetryStoreTest, OnceGivenUpTriesEachOperationOnceUntilTheStoreIsBack) {
  fail(Operation::Read, When::Before, Errc::Storage, ~0ull);
  ASSERT_FALSE(store->read("a", 10));
  EXPECT_EQ(faults->operations(), 4u);
  ASSERT_FALSE(store->read("a", 10));
  EXPECT_EQ(faults->operations(), 5u);
  ASSERT_TRUE(store->stat("a"));  // answered: it is back
  ASSERT_FALSE(store->read("a", 10));
  EXPECT_EQ(faults->operations(), 10u);
}

TEST_F(RetryStoreTest, DoesNotRepeatWhatCannotWork) {
  for (auto code : {Errc::Key, Errc::Corruption, Errc::ResourceLimit, Errc::NotFound, Errc::Cancelled}) {
    const auto before = faults->operations();
    faults->clear();
    fail(Operation::Read, When::Before, code, ~0ull);
    EXPECT_FALSE(store->read("a", 10));
    EXPECT_EQ(faults->operations(), before + 1) << errc_name(code);
  }
}

TEST_F(RetryStoreTest, DelaysDoubleUpToTheirLimit) {
  InstantClock own;
  auto fault_store = std::make_unique<FaultStore>(make_memory_store(), own);
  fault_store->add({});
  using std::chrono::milliseconds;
  RetryPolicy policy{.attempts_max = 7, .first_delay = milliseconds(100), .delay_max = milliseconds(800)};
  auto slow = make_retry_store(std::move(fault_store), policy, own, random);
  const auto start = own.now();
  EXPECT_FALSE(slow->read("a", 10));
  const auto waited = own.now() - start;
  EXPECT_GE(waited, milliseconds((100 + 200 + 400 + 800 + 800 + 800) / 2));
  EXPECT_LE(waited, milliseconds(100 + 200 + 400 + 800 + 800 + 800));
}

TEST_F(RetryStoreTest, CancellingEndsTheWaiting) {
  Fault fault;
  fault.then = [&] { cancel.cancel(); };
  faults->add(fault);
  auto data = store->read("a", 10);
  ASSERT_FALSE(data);
  EXPECT_EQ(data.failure().code(), Errc::Cancelled);
  EXPECT_EQ(faults->operations(), 1u);
}

TEST_F(RetryStoreTest, AListingGoesOnBehindTheLastVisited) {
  for (const char* name : {"a/1", "a/2", "a/3"}) ASSERT_TRUE(inner->create(name, {}));
  fail(Operation::List, When::After, Errc::Storage, 2);  // fails behind its last object
  std::vector<std::string> seen;
  auto listed = store->list("a/", "", [&](const BlobInfo& info) {
    seen.push_back(info.name);
    return ok();
  });
  EXPECT_TRUE(listed) << listed.failure().describe();
  EXPECT_EQ(seen, (std::vector<std::string>{"a/1", "a/2", "a/3"}));
}

TEST_F(RetryStoreTest, ACreateThatHappenedAndWasReportedAsUnknownIsFound) {
  for (auto code : {Errc::Unknown, Errc::Storage}) {
    faults->clear();
    fail(Operation::Create, When::After, code, 1);
    auto name = std::string("log/") + (code == Errc::Unknown ? "1" : "2");
    EXPECT_EQ(store->create(name, as_bytes("mine")).value(), Created::Yes);
    EXPECT_EQ(text(name), "mine");
  }
  EXPECT_EQ(faults->operations(), 4u) << "one create and one read each: nothing was sent twice";
}

TEST_F(RetryStoreTest, ACreateThatDidNotHappenIsSentAgain) {
  fail(Operation::Create, When::Before, Errc::Unknown, 2);
  EXPECT_EQ(store->create("log/1", as_bytes("mine")).value(), Created::Yes);
  EXPECT_EQ(text("log/1"), "mine");
}

TEST_F(RetryStoreTest, ALostRaceUnderAnUnknownOutcomeIsAlreadyExists) {
  Fault fault;
  fault.on = Operation::Create;
  fault.code = Errc::Unknown;
  fault.times = 1;
  std::string other = "theirs";
  fault.then = [&] { ASSERT_TRUE(inner->create("log/1", as_bytes(other))); };
  faults->add(fault);
  EXPECT_EQ(store->create("log/1", as_bytes("mine")).value(), Created::AlreadyExists);
  EXPECT_EQ(text("log/1"), "theirs");

  other = "theirs, and a good deal longer";
  faults->clear();
  fault.then = [&] { ASSERT_TRUE(inner->create("log/2", as_bytes(other))); };
  faults->add(fault);
  EXPECT_EQ(store->create("log/2", as_bytes("mine")).value(), Created::AlreadyExists);
}

TEST_F(RetryStoreTest, AnAttemptThatLandsLateIsOurs) {
  // The first is reported as unknown and is absent when read back; it lands just before the second.
  fail(Operation::Create, When::Before, Errc::Unknown, 1);
  Fault late;
  late.when = When::Delay;
  late.on = Operation::Create;
  late.times = 1;
  late.then = [&] { ASSERT_TRUE(inner->create("log/1", as_bytes("mine"))); };
  faults->add(late);
  EXPECT_EQ(store->create("log/1", as_bytes("mine")).value(), Created::Yes);
}

TEST_F(RetryStoreTest, AlreadyExistsWithoutDoubtIsPassedOnUnread) {
  ASSERT_TRUE(inner->create("log/1", as_bytes("mine")));
  EXPECT_EQ(store->create("log/1", as_bytes("mine")).value(), Created::AlreadyExists);
  EXPECT_EQ(faults->operations(), 1u);
}

TEST_F(RetryStoreTest, AnUnansweredQuestionStaysUnknown) {
  fail(Operation::Create, When::After, Errc::Unknown, 1);
  fail(Operation::Read, When::Before, Errc::Storage, ~0ull);
  auto created = store->create("log/1", as_bytes("mine"));
  ASSERT_FALSE(created);
  EXPECT_EQ(created.failure().code(), Errc::Unknown);
}

TEST_F(RetryStoreTest, AnUnreachableStoreIsAStorageError) {
  faults->add({});
  auto created = store->create("log/1", as_bytes("mine"));
  ASSERT_FALSE(created);
  EXPECT_EQ(created.failure().code(), Errc::Storage);
}

TEST_F(RetryStoreTest, BusyIsSentAgainWithoutReading) {
  fail(Operation::Create, When::Before, Errc::Busy, 2);
  EXPECT_EQ(store->create("log/1", as_bytes("mine")).value(), Created::Yes);
  EXPECT_EQ(faults->operations(), 3u);
}

}  // namespace
}  // namespace pgmint::storage

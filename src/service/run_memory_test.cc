#include "service/run_memory.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/test_seed.h"

namespace pgmint::service {
namespace {

class RunMemoryTest : public ::testing::Test {
 protected:
  RunMemoryTest() {
    char name[] = "/tmp/pgmint-memory-XXXXXX";
    EXPECT_NE(::mkdtemp(name), nullptr);
    directory_ = name;
  }
  ~RunMemoryTest() override { fs::remove_all(directory_); }
  ServiceFiles files() const { return ServiceFiles(directory_ / "state"); }
  fs::path directory_;
};

RunMemory sample() {
  JobMemory job;
  job.history = {.through = *parse_time("2026-11-26 01:00:00.5Z"), .end = policy::RunEnd::Failed, .ended = *parse_time("2026-11-26 01:02Z"), .failures = 3};
  job.started = *parse_time("2026-11-26 01:00Z");
  job.exit_code = 9;
  RunMemory memory;
  memory[{"main", JobKind::Full}] = job;
  job.exit_code.reset();
  job.is_running = true;
  job.succeeded = job.started;
  job.history.end = policy::RunEnd::Interrupted;
  memory[{"other", JobKind::Verify}] = job;
  return memory;
}

TEST_F(RunMemoryTest, IsReadAsItWasWritten) {
  ASSERT_TRUE(save_memory(files().memory(), sample()));
  const auto read = load_memory(files().memory());
  ASSERT_TRUE(read) << read.failure().describe();
  EXPECT_EQ(*read, sample());
}

TEST_F(RunMemoryTest, AbsentIsEmpty) {
  const auto read = load_memory(files().memory());
  ASSERT_TRUE(read);
  EXPECT_TRUE(read->empty());
}

TEST_F(RunMemoryTest, DamagedIsCorruptionOrMemoryButNeverACrash) {
  ASSERT_TRUE(save_memory(files().memory(), sample()));
  const auto whole = *read_file(files().memory(), 1 << 20);
  const auto seed = test_seed();
  SCOPED_TRACE(fmt::format("PGMINT_TEST_SEED={}", seed));
  SeededRandom random(seed);
  unsigned refused = 0;
  for (int i = 0; i < 3000; ++i) {
    auto bytes = whole;
    if (i % 2 == 0) bytes.resize(random.below(bytes.size()));
    else for (auto n = 1 + random.below(4); n > 0; --n) bytes[random.below(bytes.size())] = static_cast<std::byte>(random.next());
    {
      const auto fd = open_file(files().memory(), O_WRONLY | O_TRUNC);
      ASSERT_TRUE(fd && write_all(*fd, bytes, "test"));
    }
    const auto read = load_memory(files().memory());
    if (read) continue;
    ++refused;
    ASSERT_EQ(read.failure().code(), Errc::Corruption);
  }
  EXPECT_GT(refused, 1500U);
}

TEST_F(RunMemoryTest, AJobOfALaterVersionIsPassedOver) {
  ASSERT_TRUE(save_memory(files().memory(), sample()));
  auto text = *read_text_file(files().memory(), 1 << 20);
  text.replace(text.find("\"full\""), 6, "\"wash\"");
  ASSERT_TRUE(write_file_durably(files().memory(), as_bytes(text), 0600));
  const auto read = load_memory(files().memory());
  ASSERT_TRUE(read);
  EXPECT_EQ(read->size(), 1U);
}

TEST_F(RunMemoryTest, ALockIsHadOnceAndAskingTakesNone) {
  const auto file = files().daemon_lock();
  EXPECT_FALSE(*is_locked(file));
  {
    const auto lock = try_lock(file);
    ASSERT_TRUE(lock && *lock);
    EXPECT_TRUE(*is_locked(file));
    const auto second = try_lock(file);
    ASSERT_TRUE(second);
    EXPECT_FALSE(*second);
  }
  EXPECT_FALSE(*is_locked(file));
  EXPECT_TRUE(*try_lock(file));
}

}  // namespace
}  // namespace pgmint::service

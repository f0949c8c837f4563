// What verifications leave of WAL in a real log.
#include "repository/wal_memory.h"

#include <gtest/gtest.h>

#include "repository/repository_fixture.h"
#include "repository/wal_fixture.h"

namespace pgmint::repository {
namespace {

using enum ProofDepth;
const TimePoint kWritten = at_second(0);

class WalMemoryTest : public testing::Test, public RepositoryFixture {
 protected:
  const LogState& log() {
    EXPECT_TRUE(cluster->log().refresh());
    EXPECT_TRUE(cluster->state().void_entries().empty());
    return cluster->state();
  }
  std::uint64_t newest(std::uint64_t number) { return log().wal_proofs().of({wal_place(), number}).newest(Opened, kWritten); }
  TimePoint now() { return repository->environment().clock.now(); }
};

TEST_F(WalMemoryTest, NothingIsWrittenOfNothing) {
  const auto before = log().next_seq();
  WalMemory wal(*cluster);
  ASSERT_TRUE(wal.write(now()));
  wal.sound(stored(3, std::nullopt), Opened);
  ASSERT_TRUE(wal.write(now()));
  EXPECT_EQ(log().next_seq(), before) << "nothing would hold the proof to an object without a time";
}

TEST_F(WalMemoryTest, OneEntryProvesWhatWasReadAndSaysNothingAboutTheTimeToAnybody) {
  const auto activity = log().last_activity();
  WalMemory wal(*cluster);
  for (const std::uint64_t number : {5, 3, 4, 9}) wal.sound(stored(number, kWritten), Opened);
  wal.damaged(stored(6, kWritten), Decompressed);
  const auto before = log().next_seq();
  ASSERT_TRUE(wal.write(now()));
  EXPECT_EQ(log().next_seq(), before + 1);
  for (const std::uint64_t number : {3, 4, 5, 9}) EXPECT_EQ(newest(number), before) << number;
  EXPECT_EQ(log().wal_proofs().of({wal_place(), 6}).damaged, (PackHistory::Damage{Decompressed, before}));
  EXPECT_EQ(log().last_activity(), activity);
  ASSERT_TRUE(cluster->log().for_each([&](std::uint64_t seq, const Result<LogEntry>& entry) -> Status {
    if (seq != before) return ok();
    const auto& audit = std::get<AuditEntry>(entry->content);
    EXPECT_EQ(audit.event, "WAL verified");
    EXPECT_EQ(audit.detail, "opened: 4 WAL segments sound; decompressed: 1 WAL segments damaged");
    EXPECT_FALSE(audit.packs.empty()) << "a reader that does not know of WAL sees that this is the work of a verification";
    return ok();
  }));
}

TEST_F(WalMemoryTest, DamageThatIsKnownIsNotWrittenAgain) {
  WalMemory first(*cluster);
  first.damaged(stored(6, kWritten), Opened);
  ASSERT_TRUE(first.write(now()));
  const auto before = log().next_seq();
  WalMemory second(*cluster);
  second.damaged(stored(6, kWritten), Hashed);
  ASSERT_TRUE(second.write(now()));
  EXPECT_EQ(log().next_seq(), before);
  second.damaged(stored(6, kWritten), Decompressed);
  ASSERT_TRUE(second.write(now()));
  EXPECT_EQ(log().next_seq(), before + 1);
}

TEST_F(WalMemoryTest, MoreRunsThanAnEntryHoldsAreSeveralEntries) {
  WalMemory wal(*cluster, 3);
  for (std::uint64_t number = 0; number < 20; number += 2) wal.sound(stored(number, kWritten), Opened);
  const auto before = log().next_seq();
  ASSERT_TRUE(wal.write(now()));
  EXPECT_EQ(log().next_seq(), before + 4);
  for (std::uint64_t number = 0; number < 20; ++number) EXPECT_EQ(newest(number) != 0, number % 2 == 0) << number;
}


}  // namespace
}  // namespace pgmint::repository

#include "repository/lock_memory.h"

#include <gtest/gtest.h>

#include "base/file.h"
#include "storage/temporary_directory.h"

namespace pgmint::repository {
namespace {

using storage::LockMode;
using storage::ObjectLock;

storage::ObjectVersion version(std::string name, std::string id) {
  storage::ObjectVersion made;
  made.name = std::move(name);
  made.id = std::move(id);
  return made;
}

class LockMemories : public testing::Test {
 protected:
  storage::TemporaryDirectory directory;
  const std::filesystem::path file = directory.path() / "below" / "locks";
  const ObjectLock lock{LockMode::Compliance, *parse_time("2033-01-01T00:00:00Z")};
};

TEST_F(LockMemories, KnowsVersionsApartAcrossProcesses) {
  LockMemory memory;
  memory.note(version("a", "1"), lock);
  ASSERT_TRUE(memory.save(file, true));
  const auto again = LockMemory::load(file);
  EXPECT_EQ(again.find(version("a", "1")), lock);
  EXPECT_FALSE(again.find(version("a", "2")));
  EXPECT_FALSE(again.find(version("b", "1")));
}

TEST_F(LockMemories, ForgetsWhatIsGoneUnlessItSawNotAll) {
  LockMemory memory;
  memory.note(version("a", "1"), lock);
  memory.note(version("b", "1"), lock);
  ASSERT_TRUE(memory.save(file, true));
  auto again = LockMemory::load(file);
  again.note(version("b", "1"), {LockMode::Governance, lock.until});
  ASSERT_TRUE(again.save(file, true));
  EXPECT_TRUE(LockMemory::load(file).find(version("a", "1")));
  EXPECT_EQ(LockMemory::load(file).find(version("b", "1"))->mode, LockMode::Governance) << "the newer word";
  ASSERT_TRUE(again.save(file, false));
  EXPECT_FALSE(LockMemory::load(file).find(version("a", "1")));
}

TEST_F(LockMemories, ADamagedFileIsNoMemory) {
  LockMemory memory;
  memory.note(version("a", "1"), lock);
  ASSERT_TRUE(memory.save(file, true));
  auto bytes = *read_file(file, 1 << 20);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    auto damaged = bytes;
    damaged[i] ^= std::byte{1};
    ASSERT_TRUE(write_file_durably(file, damaged, 0600));
    EXPECT_FALSE(LockMemory::load(file).find(version("a", "1"))) << i;
    ASSERT_TRUE(write_file_durably(file, ByteView(bytes).first(i), 0600));
    EXPECT_FALSE(LockMemory::load(file).find(version("a", "1"))) << i;
  }
}

}  // namespace
}  // namespace pgmint::repository

// Repositories written by earlier versions must stay readable for ever. tests/golden/v1 holds one, object by object.
//
// PGMINT_WRITE_GOLDEN=1 golden_test writes the current format's files anew: only before the first tagged release, or for a new
// version folder beside the old ones.
#include <gtest/gtest.h>

#include <cstdlib>

#include "base/file.h"
#include "fixture/small_repository.h"
#include "storage/memory_store.h"

namespace pgmint::fixture {
namespace {

const fs::path kFolder = "tests/golden/v1";

Status load(storage::BlobStore& store) {
  std::error_code ec;
  for (fs::recursive_directory_iterator it(kFolder, ec), end; it != end; it.increment(ec)) {
    if (!it->is_regular_file()) continue;
    const auto data = TRY(read_file(it->path(), 64 << 20));
    TRY(store.create(it->path().lexically_relative(kFolder).string(), data));
  }
  if (ec) return errno_error(ec.value(), kFolder.string());
  return ok();
}

TEST(Golden, WriteWhenAskedTo) {
  if (std::getenv("PGMINT_WRITE_GOLDEN") == nullptr) GTEST_SKIP() << "set PGMINT_WRITE_GOLDEN=1 to write the files anew";
  auto store = storage::make_memory_store();
  World world(*store, 20261122);
  auto built = build(world);
  ASSERT_TRUE(built) << built.failure().describe();
  fs::remove_all(kFolder);
  auto objects = storage::list_all(*store, "");
  ASSERT_TRUE(objects);
  for (const auto& object : *objects) {
    const auto data = store->read(object.name, object.size);
    ASSERT_TRUE(create_directories((kFolder / object.name).parent_path(), 0755));
    ASSERT_TRUE(write_file_durably(kFolder / object.name, **data, 0644));
  }
}

TEST(Golden, Version1StillReadsAndVerifies) {
  auto store = storage::make_memory_store();
  auto loaded = load(*store);
  ASSERT_TRUE(loaded) << loaded.failure().describe();
  World world(*store);
  auto contents = read_backup(world);
  ASSERT_TRUE(contents) << contents.failure().describe();
  EXPECT_EQ(*contents, expected_contents());
  auto wal = read_wal(world);
  ASSERT_TRUE(wal) << wal.failure().describe();
  for (const auto& [name, content] : *wal) EXPECT_EQ(content, expected_wal(name)) << name;
  std::string why;
  EXPECT_TRUE(verifies(world, &why)) << why;
}

TEST(Golden, Version1TakesANewEntry) {
  auto store = storage::make_memory_store();
  ASSERT_TRUE(load(*store));
  World world(*store, 99);
  std::vector<repository::Unlock> unlocks;
  repository::Unlock passphrase;
  passphrase.provider = repository::KeyProvider::Passphrase;
  passphrase.passphrase = kPassphrase;
  unlocks.push_back(std::move(passphrase));
  auto opened = repository::Repository::open(world.environment(), std::move(unlocks));
  ASSERT_TRUE(opened) << opened.failure().describe();
  auto cluster = (*opened)->find_cluster("main", kSystemId);
  ASSERT_TRUE(cluster && *cluster);
  auto seq = (*cluster)->log().append((*cluster)->actor(), repository::EntryContent(repository::AuditEntry{"golden", "x"}));
  EXPECT_TRUE(seq) << seq.failure().describe();
  EXPECT_TRUE((*cluster)->state().void_entries().empty());
}

}  // namespace
}  // namespace pgmint::fixture

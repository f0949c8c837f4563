// Every byte of a small repository flipped, every object truncated, swapped with another of its kind, or removed: verify finds
// all of it, and reading a backup or WAL never gives wrong content in silence.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "base/test_seed.h"
#include "fixture/small_repository.h"
#include "storage/memory_store.h"

namespace pgmint::fixture {
namespace {

using Objects = std::map<std::string, Bytes>;
using repository::VerifyDepth;

/// What a client that has been here before remembers.
class Remembered final : public repository::SeenMemory {
 public:
  explicit Remembered(std::optional<Head>& head) : head_(head) {}
  Result<std::optional<Head>> load(const repository::RepositoryId&, const repository::ClusterId&) override { return head_; }
  Status store(const repository::RepositoryId&, const repository::ClusterId&, const Head& head) override {
    head_ = head;
    return ok();
  }

 private:
  std::optional<Head>& head_;
};

class Damage : public ::testing::Test {
 protected:
  void SetUp() override {
    auto store = storage::make_memory_store();
    World world(*store, 7);
    world.seen = std::make_unique<Remembered>(head_);
    auto built = build(world);
    ASSERT_TRUE(built) << built.failure().describe();
    const auto listed = storage::list_all(*store, "").value();
    for (const auto& object : listed) objects_[object.name] = **store->read(object.name, object.size);
    std::string why;
    for (auto depth : {VerifyDepth::Open, VerifyDepth::Decompress}) ASSERT_TRUE(verifies(world, &why, depth)) << why;
  }

  /// Puts `objects` into a store of their own and looks at them with every eye there is.
  void expect_noticed(const Objects& objects, const std::string& what) {
    auto store = storage::make_memory_store();
    for (const auto& [name, data] : objects) ASSERT_TRUE(store->create(name, data));
    World world(*store, 8);
    std::optional<repository::SeenMemory::Head> head;
    for (auto depth : {VerifyDepth::Open, VerifyDepth::Decompress}) {
      head = head_;
      world.seen = std::make_unique<Remembered>(head);
      EXPECT_FALSE(verifies(world, nullptr, depth)) << what << (depth == VerifyDepth::Open ? ", opened" : ", decompressed");
    }
    if (auto contents = read_backup(world)) {
      EXPECT_EQ(*contents, expected_contents()) << what;
    }
    if (auto wal = read_wal(world)) {
      for (const auto& [name, content] : *wal) EXPECT_EQ(content, expected_wal(name)) << what;
    }
  }

  /// WAL objects hold two megabytes of plaintext each; their compressed bytes are few.
  Objects objects_;
  std::optional<repository::SeenMemory::Head> head_;
};

TEST_F(Damage, EveryFlippedByteIsFound) {
  // All of what is in clear and how it goes on; of the ciphertext behind it every stride-th byte, beginning with a random one.
  std::size_t stride = 31;
  if (const char* asked = std::getenv("PGMINT_TEST_STRIDE")) stride = std::strtoull(asked, nullptr, 10);
  const auto seed = test_seed();
  SCOPED_TRACE(fmt::format("PGMINT_TEST_SEED={}", seed));
  SeededRandom random(seed);
  std::size_t flips = 0;
  for (const auto& [name, data] : objects_) {
    const auto first = random.below(stride);
    for (std::size_t i = 0; i < data.size(); ++i) {
      if (i > 320 && i % stride != first && i + 96 < data.size()) continue;
      Objects damaged = objects_;
      damaged[name][i] ^= static_cast<std::byte>(1u << (i % 8));
      expect_noticed(damaged, fmt::format("{} byte {}", name, i));
      ++flips;
      if (HasFailure()) FAIL() << name;
    }
  }
  RecordProperty("flips", static_cast<int>(flips));
}

TEST_F(Damage, EveryRemovedObjectIsMissed) {
  for (const auto& [name, data] : objects_) {
    Objects damaged = objects_;
    damaged.erase(name);
    expect_noticed(damaged, name + " removed");
  }
}

TEST_F(Damage, EveryTruncationIsFound) {
  for (const auto& [name, data] : objects_) {
    for (std::size_t keep : {std::size_t{0}, std::size_t{1}, std::size_t{63}, data.size() / 2, data.size() - 1}) {
      Objects damaged = objects_;
      damaged[name].resize(std::min(keep, data.size() - 1));
      expect_noticed(damaged, fmt::format("{} cut to {}", name, keep));
    }
    Objects longer = objects_;
    longer[name].push_back(std::byte{0});
    expect_noticed(longer, name + " with a byte more");
  }
}

TEST_F(Damage, ObjectsOfOneKindThatChangedPlacesAreFound) {
  auto kind = [](const Bytes& data) { return std::to_integer<int>(data.at(10)); };
  std::size_t swaps = 0;
  for (auto a = objects_.begin(); a != objects_.end(); ++a)
    for (auto b = std::next(a); b != objects_.end(); ++b) {
      if (kind(a->second) != kind(b->second) || a->first.starts_with("keys/")) continue;  // slots carry no name: any order serves
      Objects damaged = objects_;
      std::swap(damaged[a->first], damaged[b->first]);
      expect_noticed(damaged, a->first + " and " + b->first);
      ++swaps;
    }
  EXPECT_GT(swaps, 10u);
}

}  // namespace
}  // namespace pgmint::fixture

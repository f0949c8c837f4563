#include "storage/split_store.h"

#include <gtest/gtest.h>

#include "crypto/hash.h"
#include "storage/blob_store_conformance.h"
#include "storage/memory_store.h"

namespace pgmint::storage {
namespace {

/// The side of a name is drawn from its hash, so that neighbours in a listing live apart.
SideRule scattered() {
  return {[](const std::string& name) { return Side{static_cast<int>(std::to_integer<unsigned>(crypto::sha256(as_bytes(name))[0]) % 3)}; }, [](const std::string&) { return Side::Both; }};
}

StoreUnderTest split() { return {{}, make_split_store(make_memory_store(), make_memory_store(), scattered())}; }

INSTANTIATE_TEST_SUITE_P(Split, BlobStoreConformance, testing::Values(StoreFactory{"Split", split}), factory_name);

class SplitStoreTest : public testing::Test {
 protected:
  SplitStoreTest() {
    auto one = std::make_unique<MemoryStore>(), two = std::make_unique<MemoryStore>();
    first = one.get();
    second = two.get();
    const auto side = [](const std::string& name) { return name.starts_with("both/") ? Side::Both : name.starts_with("log/") ? Side::Second : Side::First; };
    store = make_split_store(std::move(one), std::move(two), {side, [side](const std::string& prefix) { return prefix.empty() ? Side::Both : side(prefix); }});
  }
  static std::size_t held(MemoryStore& in, const std::string& name) { return in.snapshot().count(name); }
  MemoryStore *first = nullptr, *second = nullptr;
  std::unique_ptr<BlobStore> store;
};

TEST_F(SplitStoreTest, EachNameLivesWhereTheRuleSays) {
  for (const char* name : {"both/a", "log/a", "p/a"}) ASSERT_TRUE(store->create(name, as_bytes(name)));
  EXPECT_EQ(first->snapshot().size(), 2u);
  EXPECT_EQ(second->snapshot().size(), 2u);
  EXPECT_EQ(held(*second, "log/a") + held(*second, "both/a") + held(*first, "p/a") + held(*first, "both/a"), 4u);
  EXPECT_EQ(list_all(*store, "")->size(), 3u) << "what both keep is listed once";
  ASSERT_TRUE(store->remove_all(std::vector<std::string>{"both/a", "log/a", "p/a"}));
  EXPECT_TRUE(first->snapshot().empty() && second->snapshot().empty());
}

TEST_F(SplitStoreTest, WhatWasCutOffBetweenTheTwoIsReadAndIsMadeWholeByTheNextWhoCreatesIt) {
  ASSERT_TRUE(second->create("both/a", as_bytes("decided")));
  EXPECT_EQ(**store->read("both/a", 100), to_bytes(as_bytes("decided")));
  EXPECT_TRUE(*store->stat("both/a"));
  EXPECT_TRUE(*store->read_front("both/a", 10));
  Bytes part(3);
  EXPECT_TRUE(store->read_range("both/a", 0, part));
  EXPECT_EQ(*store->create("both/a", as_bytes("other")), Created::AlreadyExists);
  EXPECT_EQ(**first->read("both/a", 100), to_bytes(as_bytes("decided")));
}

TEST_F(SplitStoreTest, TwoStoresThatDisagreeAreDamage) {
  ASSERT_TRUE(first->create("both/a", as_bytes("of one repository")));
  ASSERT_TRUE(second->create("both/a", as_bytes("of another")));
  EXPECT_EQ(store->read("both/a", 100).failure().code(), Errc::Corruption);
  EXPECT_EQ(store->create("both/a", as_bytes("x")).failure().code(), Errc::Corruption);
}

TEST_F(SplitStoreTest, WhatTheFirstHasAloneStaysReadable) {
  ASSERT_TRUE(store->create("both/a", as_bytes("content")));
  ASSERT_TRUE(second->remove("both/a"));
  EXPECT_EQ(**store->read("both/a", 100), to_bytes(as_bytes("content")));
}

}  // namespace
}  // namespace pgmint::storage

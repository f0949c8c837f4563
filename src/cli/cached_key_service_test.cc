#include "cli/cached_key_service.h"

#include <gtest/gtest.h>

#include "crypto/kernel_keyring.h"
#include "storage/instant_clock.h"

namespace pgmint::cli {
namespace {

using repository::RepositoryId;
using std::chrono::seconds;

struct FakeService final : repository::KeyService {
  repository::KeyProvider provider() const override { return repository::KeyProvider::AwsKms; }
  Result<repository::ServiceKey> make_key(const RepositoryId&) override { return Error(Errc::Internal, "not asked"); }
  Result<std::optional<crypto::Key256>> unwrap(const std::string&, ByteView, const RepositoryId&) override {
    ++asked;
    if (failing) return Error(*failing, "no answer");
    return std::optional(key.clone());
  }
  SeededRandom random{static_cast<std::uint64_t>(system_clock().now().time_since_epoch().count())};
  crypto::Key256 key = crypto::Key256::generate(random);
  std::optional<Errc> failing;
  int asked = 0;
};

struct CachedKeyServiceTest : testing::Test {
  void SetUp() override {
    const std::string probe = "pgmint-test:probe";
    const auto kept = crypto::KernelKeyring::keep(probe, inner->key, clock.now(), seconds(5));
    if (!kept) GTEST_SKIP() << "no keyrings here: " << kept.failure().describe();
    crypto::KernelKeyring::forget(probe);
  }
  Result<std::optional<crypto::Key256>> unwrap(ByteView of_slot, seconds limit = seconds(60)) {
    return make_cached_key_service(inner, limit, clock)->unwrap("key", of_slot, repository);  // a process of its own each time
  }
  storage::InstantClock clock;
  std::shared_ptr<FakeService> inner = std::make_shared<FakeService>();
  RepositoryId repository = inner->random.id<RepositoryId>();
  Bytes wrapped = Bytes(40, std::byte{7});
};

TEST_F(CachedKeyServiceTest, AsksEachTimeAndGoesOnWithTheLastAnswerWhileTheServiceIsAway) {
  ASSERT_TRUE(unwrap(wrapped));
  ASSERT_TRUE(unwrap(wrapped));
  EXPECT_EQ(inner->asked, 2) << "a refusal must be heard at once";
  inner->failing = Errc::Storage;
  const auto kept = unwrap(wrapped);
  ASSERT_TRUE(kept && *kept);
  EXPECT_TRUE(crypto::equal_constant_time((*kept)->bytes(), inner->key.bytes()));
}

TEST_F(CachedKeyServiceTest, AnotherSlotOrRepositoryGetsNothing) {
  ASSERT_TRUE(unwrap(wrapped));
  inner->failing = Errc::Storage;
  auto changed = wrapped;
  changed[3] ^= std::byte{1};
  EXPECT_EQ(unwrap(changed).failure().code(), Errc::Storage);
  repository = inner->random.id<RepositoryId>();
  EXPECT_EQ(unwrap(wrapped).failure().code(), Errc::Storage);
}

TEST_F(CachedKeyServiceTest, WhatTheServiceRefusesIsForgotten) {
  ASSERT_TRUE(unwrap(wrapped));
  inner->failing = Errc::Key;
  EXPECT_EQ(unwrap(wrapped).failure().code(), Errc::Key);
  inner->failing = Errc::Storage;
  EXPECT_EQ(unwrap(wrapped).failure().code(), Errc::Storage);
}

TEST_F(CachedKeyServiceTest, WithoutAnEarlierAnswerItSaysSo) {
  inner->failing = Errc::Storage;
  const auto nothing = unwrap(wrapped);
  ASSERT_FALSE(nothing);
  EXPECT_NE(nothing.failure().describe().find("no key of it has been used here"), std::string::npos);
}

}  // namespace
}  // namespace pgmint::cli

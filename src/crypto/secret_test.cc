#include "crypto/secret.h"

#include <gtest/gtest.h>

#include "base/test_seed.h"

namespace pgmint::crypto {
namespace {

TEST(Key256, IsMadeOfExactly32Bytes) {
  for (const std::size_t size : {0u, 1u, 31u, 33u, 64u}) {
    const auto key = Key256::from_bytes(Bytes(size, std::byte{7}));
    ASSERT_FALSE(key.has_value()) << size;
    EXPECT_EQ(key.failure().code(), Errc::Corruption);
  }
  const Bytes raw(32, std::byte{7});
  const auto key = Key256::from_bytes(raw);
  ASSERT_TRUE(key.has_value());
  EXPECT_TRUE(std::ranges::equal(key->bytes(), raw));
}

TEST(Key256, MovingWipesTheSource) {
  SeededRandom random(1);
  Key256 first = Key256::generate(random);
  const Bytes raw = to_bytes(first.bytes());
  Key256 second = std::move(first);
  EXPECT_TRUE(first.is_zero());  // NOLINT(bugprone-use-after-move): that is the point
  EXPECT_TRUE(std::ranges::equal(second.bytes(), raw));
  Key256 third;
  third = std::move(second);
  EXPECT_TRUE(second.is_zero());  // NOLINT(bugprone-use-after-move)
  EXPECT_TRUE(std::ranges::equal(third.bytes(), raw));
  Key256& alias = third;
  third = std::move(alias);
  EXPECT_TRUE(std::ranges::equal(third.bytes(), raw));
}

TEST(Key256, DestructionWipes) {
  alignas(Key256) std::byte place[sizeof(Key256)];
  SeededRandom random(1);
  auto* key = new (place) Key256(Key256::generate(random));
  EXPECT_FALSE(key->is_zero());
  key->~Key256();
  const volatile std::byte* left = place;  // volatile: the object is gone, its memory is what is looked at
  for (std::size_t i = 0; i < Key256::kSize; ++i) EXPECT_EQ(std::byte{left[i]}, std::byte{});
}

TEST(Key256, ClonesAreEqualAndGeneratedKeysAreNot) {
  SeededRandom random(1);
  const Key256 first = Key256::generate(random);
  const Key256 second = Key256::generate(random);
  EXPECT_TRUE(equal_constant_time(first.bytes(), first.clone().bytes()));
  EXPECT_FALSE(equal_constant_time(first.bytes(), second.bytes()));
}

TEST(Key256, OneBitIsEnoughNotToBeZero) {
  EXPECT_TRUE(Key256().is_zero());
  for (std::size_t bit = 0; bit < 256; ++bit) {
    Bytes raw(32);
    raw[bit / 8] = static_cast<std::byte>(1 << (bit % 8));
    EXPECT_FALSE(Key256::from_bytes(raw)->is_zero()) << bit;
  }
}

TEST(EqualConstantTime, SeesEveryBitAndEverySize) {
  const Bytes a(40, std::byte{0x5a});
  EXPECT_TRUE(equal_constant_time(a, a));
  EXPECT_TRUE(equal_constant_time({}, {}));
  EXPECT_FALSE(equal_constant_time(a, ByteView(a).first(39)));
  for (std::size_t bit = 0; bit < a.size() * 8; ++bit) {
    Bytes b = a;
    b[bit / 8] ^= static_cast<std::byte>(1 << (bit % 8));
    EXPECT_FALSE(equal_constant_time(a, b)) << bit;
  }
}

TEST(Wipe, LeavesZeros) {
  Bytes bytes(100, std::byte{1});
  wipe(MutableByteView(bytes).first(99));
  EXPECT_EQ(std::ranges::count(bytes, std::byte{}), 99);
  EXPECT_EQ(bytes.back(), std::byte{1});
  wipe({});
}

}  // namespace
}  // namespace pgmint::crypto

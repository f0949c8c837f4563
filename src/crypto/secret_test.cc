#include "crypto/secret.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>

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

/// What /proc/self/smaps says of the memory at `place`.
std::string flags_of(const std::byte* place) {
  std::ifstream maps("/proc/self/smaps");
  bool here = false;
  for (std::string line; std::getline(maps, line);) {
    std::uintptr_t from = 0, to = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx ", &from, &to) == 2) here = from <= reinterpret_cast<std::uintptr_t>(place) && reinterpret_cast<std::uintptr_t>(place) < to;
    if (here && line.starts_with("VmFlags:")) return line + ' ';
  }
  return "none";
}

TEST(Key256, LiesInMemoryThatIsLockedAndInNoCoreDump) {
  SeededRandom random(1);
  const Key256 key = Key256::generate(random);
  ASSERT_TRUE(keys_are_locked()) << "ulimit -l";
  const auto flags = flags_of(key.bytes().data());
  EXPECT_NE(flags.find(" lo "), std::string::npos) << flags << ": not locked";
  EXPECT_NE(flags.find(" dd "), std::string::npos) << flags << ": part of a core dump";
  std::byte elsewhere{};
  EXPECT_EQ(flags_of(&elsewhere).find(" lo "), std::string::npos) << "the look sees the difference";
}

TEST(Key256, DestructionWipes) {
  SeededRandom random(1);
  auto key = std::make_unique<Key256>(Key256::generate(random));
  const Bytes raw = to_bytes(key->bytes());
  const volatile std::byte* left = key->bytes().data();  // of a heap that is never given back
  key.reset();
  std::size_t same = 0;
  for (std::size_t i = 0; i < Key256::kSize; ++i) same += left[i] == raw[i] ? 1 : 0;
  EXPECT_LT(same, 8u) << "the allocator's own list may lie there now";
}

TEST(Key256, ThousandsOfThemAreKeptAllTheSame) {
  SeededRandom random(1);
  std::vector<Key256> many;
  std::vector<Bytes> raw;
  for (int i = 0; i < 20'000; ++i) {
    many.push_back(Key256::generate(random));
    raw.push_back(to_bytes(many.back().bytes()));
  }
  for (std::size_t i = 0; i < many.size(); ++i) ASSERT_TRUE(std::ranges::equal(many[i].bytes(), raw[i])) << i;
  EXPECT_FALSE(keys_are_locked()) << "and it is said that some lie outside";
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

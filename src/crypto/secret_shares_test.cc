#include "crypto/secret_shares.h"

#include <gtest/gtest.h>

#include "base/test_seed.h"

namespace pgmint::crypto {
namespace {

/// Value of the polynomial through the points, at 0, by the textbook: independent of the library, and of its tables.
std::byte at_zero(std::span<const std::pair<unsigned, unsigned>> points) {
  const auto times = [](unsigned a, unsigned b) {
    unsigned product = 0;
    for (; b != 0; b >>= 1, a = (a << 1) ^ ((a & 0x80) != 0 ? 0x11D : 0))
      if ((b & 1) != 0) product ^= a;
    return product & 0xFF;
  };
  const auto inverse = [&](unsigned a) {
    unsigned power = a;  // a^254
    for (int i = 0; i < 253; ++i) power = times(power, a);
    return power;
  };
  unsigned sum = 0;
  for (const auto& [x, y] : points) {
    unsigned term = y;
    for (const auto& [other, ignored] : points)
      if (other != x) term = times(times(term, other), inverse(other ^ x));
    sum ^= term;
  }
  return static_cast<std::byte>(sum);
}

std::vector<const SecretShare*> chosen(const std::vector<SecretShare>& shares, unsigned mask) {
  std::vector<const SecretShare*> some;
  for (std::size_t i = 0; i < shares.size(); ++i)
    if ((mask >> i & 1) != 0) some.push_back(&shares[i]);
  return some;
}

TEST(SecretShares, AnySoManyGiveTheSecretAndFewerDoNot) {
  SeededRandom random(test_seed());
  for (const auto& [needed, count] : {std::pair(2U, 2U), std::pair(2U, 3U), std::pair(3U, 5U), std::pair(5U, 5U), std::pair(4U, 7U)}) {
    const auto secret = Key256::generate(random);
    const auto shares = split_secret(secret, needed, count, random);
    ASSERT_EQ(shares.size(), count);
    for (unsigned mask = 1; mask < 1U << count; ++mask) {
      const auto some = chosen(shares, mask);
      const auto joined = join_shares(some);
      EXPECT_EQ(equal_constant_time(joined.bytes(), secret.bytes()), some.size() >= needed) << needed << " of " << count << ", " << mask;
    }
  }
}

TEST(SecretShares, TheMostThatThereMayBe) {
  SeededRandom random(test_seed());
  const auto secret = Key256::generate(random);
  const auto shares = split_secret(secret, kSharesMax, kSharesMax, random);
  EXPECT_TRUE(equal_constant_time(join_shares(chosen(shares, ~0U)).bytes(), secret.bytes()));
}

TEST(SecretShares, AreWhatTheFormatSays) {
  SeededRandom random(test_seed());
  const auto secret = Key256::generate(random);
  const auto shares = split_secret(secret, 3, 5, random);
  for (std::size_t byte = 0; byte < Key256::kSize; ++byte) {
    std::vector<std::pair<unsigned, unsigned>> points;
    for (const std::size_t i : {4, 0, 2}) points.emplace_back(shares[i].number, std::to_integer<unsigned>(shares[i].value.bytes()[byte]));
    ASSERT_EQ(at_zero(points), secret.bytes()[byte]) << byte;
  }
}

// Two secrets that differ wherever they can: what fewer than `needed` see of them is the same noise.
TEST(SecretShares, OneShareIsAsLikelyForEachSecret) {
  SeededRandom random(test_seed());
  const Bytes low(Key256::kSize, std::byte{0x01}), high(Key256::kSize, std::byte{0xFE});
  std::array<std::array<int, 256>, 2> seen{};
  for (int round = 0; round < 500; ++round)
    for (std::size_t which = 0; which < 2; ++which) {
      const auto shares = split_secret(*Key256::from_bytes(which == 0 ? low : high), 2, 2, random);
      for (const auto b : shares[0].value.bytes()) ++seen[which][std::to_integer<std::size_t>(b)];
    }
  // 16,000 bytes over 256 values: 62.5 of each, give or take 8; 55 is seven times that.
  for (const auto& counts : seen)
    for (const int count : counts) EXPECT_NEAR(count, 62.5, 55);
}

}  // namespace
}  // namespace pgmint::crypto

#include "repository/pack_set.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <set>

#include "base/test_seed.h"

namespace pgmint::repository {
namespace {

std::set<std::uint32_t> numbers_of(const SharedBits& bits) {
  std::set<std::uint32_t> numbers;
  for (auto n = bits.next(0); n != bits.end(); n = bits.next(n + 1)) numbers.insert(n);
  return numbers;
}

TEST(SharedBits, CopiesThatChangeAreWhatSetsWouldBe) {
  const auto seed = test_seed();
  SCOPED_TRACE(fmt::format("PGMINT_TEST_SEED={}", seed));
  SeededRandom random(seed);
  std::vector<std::pair<SharedBits, std::set<std::uint32_t>>> all(1);
  for (int step = 0; step < 400; ++step) {
    if (all.size() < 20) all.push_back(all[random.u64() % all.size()]);
    auto& [bits, numbers] = all[random.u64() % all.size()];
    for (int i = 0; i < 50; ++i) {
      const auto number = static_cast<std::uint32_t>(random.u64() % 20'000);
      if (random.u64() % 3 == 0) {
        bits.erase(number);
        numbers.erase(number);
      } else {
        bits.insert(number);
        numbers.insert(number);
      }
    }
    if (step % 10 == 0) {
      const auto other = all[random.u64() % all.size()];
      bits.insert_all(other.first);
      numbers.insert(other.second.begin(), other.second.end());
    }
  }
  for (const auto& [bits, numbers] : all) {
    EXPECT_EQ(numbers_of(bits), numbers);
    EXPECT_EQ(bits.size(), numbers.size());
    for (std::uint32_t n = 0; n < 20'100; ++n) ASSERT_EQ(bits.contains(n), numbers.contains(n)) << n;
  }
}

TEST(PackTable, NumbersAPackOnce) {
  const auto seed = test_seed();
  SCOPED_TRACE(fmt::format("PGMINT_TEST_SEED={}", seed));
  SeededRandom random(seed);
  PackTable table;
  const PackSummary a{{random.id<SessionId>(), 0}, 10, {}}, b{{a.id.session, 1}, 20, {}};
  EXPECT_EQ(table.number_of(a), 0u);
  EXPECT_EQ(table.number_of(b), 1u);
  EXPECT_EQ(table.number_of(a), 0u);
  EXPECT_EQ(table.at(1), b);
  EXPECT_FALSE(table.find({a.id.session, 2}));
  SharedBits only_b;
  only_b.insert(1);
  EXPECT_EQ(table.find_in(only_b, a.id), nullptr);
  EXPECT_EQ(*table.find_in(only_b, b.id), b);
  const PackSet set(table, only_b);
  EXPECT_EQ(std::vector<PackSummary>(set.begin(), set.end()), std::vector{b});
}

}  // namespace
}  // namespace pgmint::repository

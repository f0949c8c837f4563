#include "codec/crc32c.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/test_seed.h"

namespace pgmint::codec {
namespace {

// RFC 3720, appendix B.4, and the usual check value.
TEST(Crc32c, GivesThePublishedVectors) {
  Bytes rising(32), falling(32);
  for (std::size_t i = 0; i < 32; ++i) {
    rising[i] = static_cast<std::byte>(i);
    falling[i] = static_cast<std::byte>(31 - i);
  }
  for (const auto function : {&crc32c, &crc32c_portable}) {
    EXPECT_EQ(function({}, 0), 0u);
    EXPECT_EQ(function(as_bytes("123456789"), 0), 0xe3069283u);
    EXPECT_EQ(function(Bytes(32), 0), 0x8a9136aau);
    EXPECT_EQ(function(Bytes(32, std::byte{0xff}), 0), 0x62a8ab43u);
    EXPECT_EQ(function(rising, 0), 0x46dd794eu);
    EXPECT_EQ(function(falling, 0), 0x113fdb5cu);
  }
}

TEST(Crc32c, InstructionTableAndPiecesAgreeAtEverySizeAndAlignment) {
  const std::uint64_t seed = test_seed();
  SCOPED_TRACE(fmt::format("PGMINT_TEST_SEED={}", seed));
  if (!crc32c_is_accelerated()) GTEST_LOG_(INFO) << "this CPU has no SSE4.2: the table is compared with itself";
  SeededRandom random(seed);
  const Bytes data = random_bytes(random, 600);
  for (std::size_t from = 0; from < 9; ++from) {
    for (std::size_t size = 0; size <= 500; ++size) {
      const ByteView view = ByteView(data).subspan(from, size);
      const auto start = static_cast<std::uint32_t>(random.next());
      const std::uint32_t whole = crc32c(view, start);
      ASSERT_EQ(whole, crc32c_portable(view, start)) << from << '+' << size;
      const std::size_t cut = random.below(size + 1);
      ASSERT_EQ(whole, crc32c(view.subspan(cut), crc32c(view.first(cut), start)))
          << from << '+' << size << " cut " << cut;
    }
  }
}

TEST(Crc32c, LongDataComesToTheSame) {
  const std::uint64_t seed = test_seed();
  SCOPED_TRACE(fmt::format("PGMINT_TEST_SEED={}", seed));
  SeededRandom random(seed);
  const Bytes data = random_bytes(random, 20'000);
  for (int i = 0; i < 2000; ++i) {
    const std::size_t from = random.below(64), size = i < 100 ? 720 + static_cast<std::size_t>(i) : random.below(data.size() - from + 1);
    const auto start = static_cast<std::uint32_t>(random.next());
    const ByteView view = ByteView(data).subspan(from, size);
    ASSERT_EQ(crc32c(view, start), crc32c_portable(view, start)) << from << '+' << size;
  }
}

TEST(Crc32c, SeesEverySingleBit) {
  Bytes data(64, std::byte{0x33});
  const std::uint32_t crc = crc32c(data);
  for (std::size_t bit = 0; bit < data.size() * 8; ++bit) {
    data[bit / 8] ^= static_cast<std::byte>(1 << (bit % 8));
    EXPECT_NE(crc32c(data), crc) << bit;
    data[bit / 8] ^= static_cast<std::byte>(1 << (bit % 8));
  }
}

}  // namespace
}  // namespace pgmint::codec

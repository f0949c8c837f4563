#include "restore/measured.h"

#include <gtest/gtest.h>

#include "base/test_seed.h"

namespace pgmint::restore {
namespace {

TEST(Measured, IsReadBackWhateverStandsBeforeIt) {
  const auto seed = test_seed();
  SeededRandom random(seed);
  for (int round = 0; round < 500; ++round) {
    const policy::Measure copy{random.next(), std::chrono::milliseconds(static_cast<std::int64_t>(random.next() % 10'000'000'000))};
    std::string before = "20261122T084001Z-full to /srv/";
    for (auto left = random.next() % 40; left > 0; --left) before += "; copied 7 bytes in ms"[random.next() % 22];
    const auto back = parse_measure(before + " (latest)" + format_measure(copy));
    ASSERT_TRUE(back) << "seed " << seed << ": " << before;
    EXPECT_EQ(*back, copy) << "seed " << seed << ": " << before;
  }
}

TEST(Measured, AProofIsReadBack) {
  const auto seed = test_seed();
  SeededRandom random(seed);
  for (int round = 0; round < 500; ++round) {
    Proof proof{"20261122T084001Z-full", random.next() % 2 == 0, random.next() % 100, random.next() % 100, "db2: ", {}};
    for (auto left = random.next() % 30; left > 0; --left) proof.server += "; replayed, on passed:"[random.next() % 22];
    if (random.next() % 2 == 0) proof.replay = policy::Measure{random.next(), std::chrono::milliseconds(static_cast<std::int64_t>(random.next() % 1'000'000))};
    const auto back = parse_proof(format_proof(proof));
    ASSERT_TRUE(back) << "seed " << seed << ": " << format_proof(proof);
    EXPECT_EQ(*back, proof) << "seed " << seed << ": " << format_proof(proof);
  }
  for (const auto* detail : {"", "x: passed", "x: maybe, 1 checks, 2 warnings, on y", "x: passed, 1 checks, two warnings, on y", ": , checks,  warnings, on "})
    EXPECT_FALSE(parse_proof(detail)) << detail;
}

TEST(Measured, WhatIsNoMeasureIsNone) {
  for (const auto* detail : {"", "20261122T084001Z-full to /srv/pg (latest)", "; copied  bytes in  ms", "; copied 1 bytes in 2", "; copied -1 bytes in 2 ms", "; copied 1 bytes in 2x ms",
                             "; copied 1 bytes in 99999999999999999 ms", "; copied ms", "; copied 1 bytes in 2 ms.", " ms", "; copied "})
    EXPECT_FALSE(parse_measure(detail)) << detail;
}

}  // namespace
}  // namespace pgmint::restore

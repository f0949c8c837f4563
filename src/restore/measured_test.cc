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
    Proof proof{"20261122T084001Z-full", random.next() % 2 == 0, random.next() % 100, random.next() % 100, {}, {}, "db2: ", {}};
    if (random.next() % 2 == 0) proof.not_made = random.next() % 100;
    if (random.next() % 2 == 0) proof.restored = TimePoint(std::chrono::seconds(random.next() % 4'000'000'000));
    for (auto left = random.next() % 30; left > 0; --left) proof.server += "; replayed, on passed:"[random.next() % 22];
    if (random.next() % 2 == 0) proof.replay = policy::Measure{random.next(), std::chrono::milliseconds(static_cast<std::int64_t>(random.next() % 1'000'000))};
    const auto back = parse_proof(format_proof(proof));
    ASSERT_TRUE(back) << "seed " << seed << ": " << format_proof(proof);
    EXPECT_EQ(*back, proof) << "seed " << seed << ": " << format_proof(proof);
  }
  for (const auto* detail : {"", "x: passed", "x: maybe, 1 checks, 2 warnings, on y", "x: passed, 1 checks, two warnings, on y", ": , checks,  warnings, on ",
                             "x: passed, 1 checks, y not made, 2 warnings, on y", "x: passed, 1 checks, 2 warnings, restored , on y", "x: passed, 1 checks, 2 warnings, restored 2026-11-22T09:00:00Z"})
    EXPECT_FALSE(parse_proof(detail)) << detail;
}

TEST(Measured, AProofOfAnEarlierBuildIsReadAndClaimsNothingThatItDoesNotSay) {
  const auto proof = parse_proof("20261122T084001Z-full: passed, 12 checks, 1 warnings, on PostgreSQL 15.14 on db2:5433; replayed 12345 bytes in 678 ms");
  ASSERT_TRUE(proof);
  EXPECT_TRUE(proof->passed);
  EXPECT_EQ(proof->checks, 12U);
  EXPECT_EQ(proof->warnings, 1U);
  EXPECT_FALSE(proof->not_made);
  EXPECT_FALSE(proof->restored);
  EXPECT_EQ(proof->server, "PostgreSQL 15.14 on db2:5433");
  EXPECT_EQ(proof->replay->bytes, 12345U);
}

TEST(Measured, OneRestoreIsProvenOnce) {
  const auto at = [](int hours) { return TimePoint(std::chrono::hours(500'000 + hours)); };
  const auto proof = [](std::string backup, std::optional<TimePoint> restored) { return Proof{std::move(backup), true, 5, 0, 0, restored, "db2", {}}; };
  const std::vector<DatedProof> known{{proof("a", at(1)), at(2)}, {proof("b", {}), at(5)}};
  EXPECT_EQ(proof_of_restore(known, "a", at(1)), &known[0]);
  EXPECT_EQ(proof_of_restore(known, "a", at(3)), nullptr) << "another restore of the same backup";
  EXPECT_EQ(proof_of_restore(known, "c", at(1)), nullptr);
  // An entry of an earlier build: of a restore before it, it may be the proof.
  EXPECT_EQ(proof_of_restore(known, "b", at(4)), &known[1]);
  EXPECT_EQ(proof_of_restore(known, "b", at(6)), nullptr);
}

TEST(Measured, TheLastProvenRestoreIsTheNewestRestoreAndNotTheLastLook) {
  const auto at = [](int hours) { return TimePoint(std::chrono::hours(500'000 + hours)); };
  const auto proof = [](std::string backup, std::optional<TimePoint> restored) { return Proof{std::move(backup), true, 5, 0, 0, restored, "db2", {}}; };
  EXPECT_FALSE(newest_restore({}));
  EXPECT_EQ(newest_restore({{proof("b", at(5)), at(6)}, {proof("a", at(1)), at(9)}})->proof.backup, "b");
  EXPECT_EQ(newest_restore({{proof("old form", {}), at(4)}, {proof("a", at(1)), at(9)}})->proof.backup, "old form");
  EXPECT_EQ(newest_restore({{proof("a", at(1)), at(2)}, {proof("a", at(1)), at(9)}})->time, at(9));
}

TEST(Measured, WhatIsNoMeasureIsNone) {
  for (const auto* detail : {"", "20261122T084001Z-full to /srv/pg (latest)", "; copied  bytes in  ms", "; copied 1 bytes in 2", "; copied -1 bytes in 2 ms", "; copied 1 bytes in 2x ms",
                             "; copied 1 bytes in 99999999999999999 ms", "; copied ms", "; copied 1 bytes in 2 ms.", " ms", "; copied "})
    EXPECT_FALSE(parse_measure(detail)) << detail;
}

}  // namespace
}  // namespace pgmint::restore

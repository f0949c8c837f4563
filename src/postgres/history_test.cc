#include "postgres/history.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace pgmint::postgres {
namespace {

// As a real server writes it, with the blank lines that it leaves between ancestors.
constexpr std::string_view kReal =
    "1\t0/5000000\tno recovery target specified\n\n\n2\t0/9000028\tbefore 2026-11-22 08:40:01.123456+00\n";

TEST(History, ReadsARealFile) {
  auto history = TimelineHistory::parse(TimelineId(3), kReal).value();
  ASSERT_EQ(history.switches().size(), 2U);
  EXPECT_EQ(history.switches()[1].timeline, TimelineId(2));
  EXPECT_EQ(history.switches()[1].switch_point, Lsn(0x9000028));
  EXPECT_EQ(history.switches()[1].reason, "before 2026-11-22 08:40:01.123456+00");
  EXPECT_EQ(history.switch_point(TimelineId(1)), Lsn(0x5000000));
  EXPECT_EQ(history.switch_point(TimelineId(3)), std::nullopt);
  EXPECT_EQ(history.begin_of(TimelineId(1)), Lsn(0));
  EXPECT_EQ(history.begin_of(TimelineId(2)), Lsn(0x5000000));
  EXPECT_EQ(history.begin_of(TimelineId(3)), Lsn(0x9000028));
  EXPECT_EQ(history.begin_of(TimelineId(4)), std::nullopt);
}

TEST(History, ContainsWalUpToAndIncludingTheSwitchPointAsAnEnd) {
  auto history = TimelineHistory::parse(TimelineId(3), kReal).value();
  EXPECT_TRUE(history.contains(TimelineId(1), Lsn(0x4FFFFFF)));
  EXPECT_TRUE(history.contains(TimelineId(1), Lsn(0x5000000)));
  EXPECT_FALSE(history.contains(TimelineId(1), Lsn(0x5000001)));
  EXPECT_FALSE(history.contains(TimelineId(2), Lsn(0x4FFFFFF)));
  EXPECT_TRUE(history.contains(TimelineId(2), Lsn(0x9000028)));
  EXPECT_FALSE(history.contains(TimelineId(2), Lsn(0x9000029)));
  EXPECT_TRUE(history.contains(TimelineId(3), Lsn(~std::uint64_t{0})));
  EXPECT_FALSE(history.contains(TimelineId(4), Lsn(0x9000028)));
}

TEST(History, ByteAtASwitchPointBelongsToTheNewTimeline) {
  auto history = TimelineHistory::parse(TimelineId(3), kReal).value();
  EXPECT_EQ(history.timeline_at(Lsn(0)), TimelineId(1));
  EXPECT_EQ(history.timeline_at(Lsn(0x4FFFFFF)), TimelineId(1));
  EXPECT_EQ(history.timeline_at(Lsn(0x5000000)), TimelineId(2));
  EXPECT_EQ(history.timeline_at(Lsn(0x9000028)), TimelineId(3));
}

TEST(History, TimelineWithoutAFileHasNoParents) {
  TimelineHistory history(TimelineId(1));
  EXPECT_TRUE(history.contains(TimelineId(1), Lsn(77)));
  EXPECT_EQ(history.timeline_at(Lsn(77)), TimelineId(1));
  EXPECT_FALSE(history.contains(TimelineId(2), Lsn(77)));
}

TEST(History, RecoveryThatEndedBeforeAnEarlierSwitchPointCutsTheAncestorToo) {
  // Recovery along 2 stopped at 0/4000000, while still replaying 1: nothing of 2 was used.
  auto history = TimelineHistory::parse(TimelineId(3), "1\t0/5000000\tx\n2\t0/4000000\ty\n").value();
  EXPECT_EQ(history.switch_point(TimelineId(1)), Lsn(0x4000000));
  EXPECT_FALSE(history.contains(TimelineId(1), Lsn(0x4800000)));
  EXPECT_FALSE(history.contains(TimelineId(2), Lsn(0x4800000)));
  EXPECT_EQ(history.timeline_at(Lsn(0x4800000)), TimelineId(3));
  EXPECT_EQ(history.timeline_at(Lsn(0x3FFFFFF)), TimelineId(1));
}

TEST(History, CommentsBlanksAndCarriageReturnsArePassedOver) {
  auto history = TimelineHistory::parse(TimelineId(2), "# made by hand\r\n \t\r\n  # more\n1 0/10\r\n").value();
  ASSERT_EQ(history.switches().size(), 1U);
  EXPECT_EQ(history.switches()[0].reason, "");
  EXPECT_TRUE(TimelineHistory::parse(TimelineId(2), "").value().switches().empty());
}

TEST(History, HostileTextIsCorruption) {
  for (std::string_view text : {"x\t0/1\n", "1\n", "1\t\n", "1\t01\n", "1\t0/G\n", "0\t0/1\n", "2\t0/1\n1\t0/2\n",
                                "1\t0/1\n1\t0/2\n", "3\t0/1\n", "4\t0/1\n", "99999999999\t0/1\n", "-1\t0/1\n"}) {
    auto parsed = TimelineHistory::parse(TimelineId(3), text);
    ASSERT_FALSE(parsed) << text;
    EXPECT_EQ(parsed.failure().code(), Errc::Corruption) << text;
  }
}

TEST(History, RandomBytesNeverDoHarm) {
  SeededRandom random(11);
  constexpr std::string_view alphabet = "0123456789ABCDEF/\t\n #x\0";
  for (int round = 0; round < 20000; ++round) {
    std::string text;
    for (auto n = random.below(60); n > 0; --n) text += alphabet[random.below(alphabet.size())];
    auto parsed = TimelineHistory::parse(TimelineId(5), text);
    if (parsed) {
      EXPECT_EQ(parsed->timeline_at(Lsn(~std::uint64_t{0})), TimelineId(5)) << text;
    }
  }
}

}  // namespace
}  // namespace pgmint::postgres

#include "cli/progress.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace pgmint::cli {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

struct Shown {
  ManualClock clock{TimePoint{}};
  std::string text;
  ProgressDisplay display;
  explicit Shown(ProgressMode mode) : display(mode, clock, [this](std::string_view t) { text += t; }) {}
  void at(seconds time, ProgressNews news) {
    clock.set(TimePoint(time));
    display.update(news);
  }
};

TEST(Progress, PlainLinesComeEveryFewSecondsWithRateAndTimeLeft) {
  Shown shown(ProgressMode::Plain);
  shown.at(seconds(0), {"copy", 0, 1000U << 20, 0, ""});
  shown.at(seconds(1), {"copy", 100U << 20, 1000U << 20, 50U << 20, ""});
  EXPECT_EQ(shown.text, "");
  shown.at(seconds(5), {"copy", 500U << 20, 1000U << 20, 250U << 20, ""});
  EXPECT_EQ(shown.text, "pgmint: copy: 50%, 500 MiB of 1000 MiB, 100 MiB/s, ratio 2.0, 5.0 s left\n");
}

TEST(Progress, TheEndOfAPhaseIsTold) {
  Shown shown(ProgressMode::Plain);
  shown.at(seconds(0), {"copy", 0, 10, std::nullopt, ""});
  shown.at(seconds(1), {"copy", 10, 10, std::nullopt, ""});
  shown.display.finish();
  EXPECT_EQ(shown.text, "pgmint: copy: 100%, 10 B of 10 B, 10 B/s\n");
  shown.display.finish();
  EXPECT_EQ(shown.text.size(), std::string("pgmint: copy: 100%, 10 B of 10 B, 10 B/s\n").size()) << "told once";
}

TEST(Progress, APhaseThatIsFollowedByAnotherIsComplete) {
  Shown shown(ProgressMode::Plain);
  shown.at(seconds(0), {"copy", 0, 10, std::nullopt, ""});
  shown.at(seconds(1), {"copy", 7, 10, std::nullopt, ""});
  shown.at(seconds(2), {"sync", 0, 0, std::nullopt, ""});
  EXPECT_EQ(shown.text, "pgmint: copy: 100%, 10 B of 10 B, 5 B/s\n");
}

TEST(Progress, PhasesWithoutBytesAreToldOnlyWhenTheyLast) {
  Shown shown(ProgressMode::Plain);
  shown.at(seconds(0), {"scan", 0, 0, std::nullopt, ""});
  shown.at(seconds(1), {"stop", 0, 0, std::nullopt, ""});
  EXPECT_EQ(shown.text, "");
  shown.at(seconds(1), {"wait-for-wal", 0, 0, std::nullopt, "000000010000000000000003 is missing"});
  shown.at(seconds(3), {"wait-for-wal", 0, 0, std::nullopt, "000000010000000000000003 is missing"});
  EXPECT_EQ(shown.text, "pgmint: wait-for-wal: 000000010000000000000003 is missing\n");
}

TEST(Progress, EventsAreJsonLines) {
  Shown shown(ProgressMode::Events);
  shown.at(seconds(0), {"copy", 0, 100, std::nullopt, ""});
  shown.at(seconds(2), {"copy", 50, 100, 25, ""});
  shown.display.finish();
  std::size_t lines = 0;
  for (std::size_t at = 0; at < shown.text.size(); ++lines) {
    const auto end = shown.text.find('\n', at);
    const auto event = nlohmann::json::parse(shown.text.substr(at, end - at));
    EXPECT_EQ(event["event"], "progress");
    EXPECT_EQ(event["phase"], "copy");
    EXPECT_EQ(event["total_bytes"], 100);
    at = end + 1;
  }
  EXPECT_EQ(lines, 3U);
  EXPECT_NE(shown.text.find("\"rate_bytes_s\":25,\"eta_s\":2.0"), std::string::npos) << shown.text;
}

TEST(Progress, TheBarGoesAwayAtTheEnd) {
  Shown shown(ProgressMode::Bar);
  shown.at(seconds(1), {"copy", 50, 100, std::nullopt, ""});
  EXPECT_NE(shown.text.find("[============            ] 50%"), std::string::npos) << shown.text;
  shown.display.finish();
  EXPECT_TRUE(shown.text.ends_with("\r\033[K"));
  EXPECT_EQ(shown.text.find('\n'), std::string::npos);
}

TEST(Progress, NoneSaysNothing) {
  Shown shown(ProgressMode::None);
  shown.at(seconds(9), {"copy", 50, 100, std::nullopt, ""});
  shown.display.finish();
  EXPECT_EQ(shown.text, "");
}

}  // namespace
}  // namespace pgmint::cli

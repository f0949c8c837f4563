#include "policy/objectives.h"

#include <gtest/gtest.h>

namespace pgmint::policy {
namespace {

using namespace std::chrono_literals;

TEST(Objectives, HangOnTheEnvironmentUnlessGiven) {
  const auto of = [](EnvironmentKind kind) { return std::pair(objectives_of(kind).rpo, objectives_of(kind).rto); };
  EXPECT_EQ(of(EnvironmentKind::Production), std::pair(std::chrono::seconds(1h), std::chrono::seconds(4h)));
  EXPECT_EQ(of(EnvironmentKind::Staging), std::pair(std::chrono::seconds(24h), std::chrono::seconds(24h)));
  EXPECT_EQ(of(EnvironmentKind::Development), std::pair(std::chrono::seconds(48h), std::chrono::seconds(48h)));
  EXPECT_EQ(objectives_of(EnvironmentKind::Staging, 5min).rpo, 5min);
  EXPECT_EQ(objectives_of(EnvironmentKind::Staging, 5min).rto, 24h);
  EXPECT_EQ(objectives_of(EnvironmentKind::Staging, {}, 90s).rto, 90s);
}

TEST(Objectives, DurationsAreNumbersWithAUnit) {
  EXPECT_EQ(parse_duration("90s"), 90s);
  EXPECT_EQ(parse_duration("30min"), 30min);
  EXPECT_EQ(parse_duration("4h"), 4h);
  EXPECT_EQ(parse_duration("2d"), 48h);
  for (const auto* wrong : {"", "4", "h", "0h", "-1h", "1.5h", "4 h", "4h ", "4hours", "4m", "99999999999999999999s", "9223372036854775807d", "36601d"})
    EXPECT_FALSE(parse_duration(wrong)) << wrong;
}

}  // namespace
}  // namespace pgmint::policy

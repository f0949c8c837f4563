#include "cli/option_values.h"

#include <gtest/gtest.h>

namespace pgmint::cli {
namespace {

Arguments verify_with(const std::string& option, const std::string& value) {
  return parse_arguments({"verify", "--read-data", option, value}).value();
}

TEST(OptionValues, ASharesPercentAreMillionths) {
  for (const auto& [text, millionths] : {std::pair("5%", 50'000u), std::pair("0.25%", 2'500u), std::pair("100%", 1'000'000u), std::pair("0.0001%", 1u),
                                         std::pair("33.3333%", 333'333u), std::pair("050%", 500'000u)}) {
    const auto share = share_option(verify_with("--sample", text), "--sample");
    ASSERT_TRUE(share) << text;
    EXPECT_EQ(*share, millionths) << text;
  }
  for (const auto* text : {"5", "%", "0%", "0.00001%", "100.1%", "101%", "1000%", "-5%", "5.%", ".5%", "5,5%", "5 %", "5%%", "1e1%", "0.0%"})
    EXPECT_FALSE(share_option(verify_with("--sample", text), "--sample")) << text;
  EXPECT_EQ(*share_option(parse_arguments({"verify"}).value(), "--sample"), std::nullopt);
}

TEST(OptionValues, AnAgeIsAPeriod) {
  using std::chrono::days;
  for (const auto& [text, age] : {std::pair("30d", days(30)), std::pair("2w", days(14)), std::pair("6mo", days(180)), std::pair("1y", days(365)),
                                  std::pair("18mo", days(365 + 180)), std::pair("0d", days(0))}) {
    const auto parsed = age_option(verify_with("--older-than", text), "--older-than");
    ASSERT_TRUE(parsed) << text;
    EXPECT_EQ(*parsed, std::optional<std::chrono::hours>(age)) << text;
  }
  for (const auto* text : {"30", "d", "-1d", "30 days", "999y"})
    EXPECT_FALSE(age_option(verify_with("--older-than", text), "--older-than")) << text;
  EXPECT_EQ(*age_option(parse_arguments({"verify"}).value(), "--older-than"), std::nullopt);
}

}  // namespace
}  // namespace pgmint::cli

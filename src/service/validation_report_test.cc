#include "service/validation_report.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace pgmint::service {
namespace {

using policy::CheckState;

ValidationReport report() {
  ValidationReport report;
  report.backup = "20261122T084001Z-full";
  report.server = "PostgreSQL 15.14 on /tmp:5433";
  report.checks = {{"rows of <script>alert(1)</script>", CheckState::Failed, "\"a\"&'b'\x01\n"}, {"server", CheckState::Ok, "there"}, {"x", CheckState::Unknown, ""}};
  report.timings = {{"<b>", std::chrono::milliseconds(12), {}}};
  report.data_differ = true;
  return report;
}

TEST(ValidationPage, WhatStandsInNamesIsText) {
  const auto page = validation_page(report(), "<main>");
  EXPECT_EQ(page.find("<script"), std::string::npos);
  EXPECT_EQ(page.find("<b>"), std::string::npos);
  EXPECT_EQ(page.find("<main>"), std::string::npos);
  EXPECT_NE(page.find("&quot;a&quot;&amp;&#39;b&#39; \n"), std::string::npos);
}

TEST(ValidationPage, NeedsNothingFromElsewhere) {
  const auto page = validation_page(report(), "main");
  for (const auto* outside : {"src=", "href=", "url(", "@import", "http:", "https:"}) EXPECT_EQ(page.find(outside), std::string::npos) << outside;
}

TEST(ValidationJson, SaysTheOutcome) {
  auto failed = report();
  EXPECT_FALSE(validation_json(failed)["ok"]);
  failed.data_differ = false;
  EXPECT_TRUE(validation_json(failed)["ok"]);
  failed.refused = true;
  EXPECT_FALSE(validation_json(failed)["ok"]);
}

TEST(CompareRows, OfADumpAreExact) {
  const ExpectedTable table{"public", "t", 10, {}};
  EXPECT_EQ(compare_rows("t", table, true, 10, -1).state, CheckState::Ok);
  for (const std::uint64_t rows : {0, 9, 11}) EXPECT_EQ(compare_rows("t", table, true, rows, -1).state, CheckState::Failed) << rows;
}

TEST(CompareRows, WhatOnlyGrowsMayHaveGrown) {
  const ExpectedTable table{"public", "t", 10, 5000};
  EXPECT_EQ(compare_rows("t", table, false, 10, 5000).state, CheckState::Ok);
  EXPECT_EQ(compare_rows("t", table, false, 11, 5000).state, CheckState::Ok);
  EXPECT_EQ(compare_rows("t", table, false, 9, 5000).state, CheckState::Failed);
}

TEST(CompareRows, EstimatesWarnByAFactorAndAreSilentOnSmallTables) {
  const auto state = [](std::int64_t then, std::int64_t now) { return compare_rows("t", {"public", "t", {}, then}, false, {}, now).state; };
  EXPECT_EQ(state(10'000, 10'000), CheckState::Ok);
  EXPECT_EQ(state(10'000, 5'000), CheckState::Ok);
  EXPECT_EQ(state(10'000, 20'000), CheckState::Ok);
  EXPECT_EQ(state(10'000, 4'999), CheckState::Warning);
  EXPECT_EQ(state(10'000, 20'001), CheckState::Warning);
  EXPECT_EQ(state(10'000, -1), CheckState::Warning);
  EXPECT_EQ(state(999, 0), CheckState::Ok);
  EXPECT_EQ(state(-1, 1'000'000), CheckState::Ok);
}

}  // namespace
}  // namespace pgmint::service

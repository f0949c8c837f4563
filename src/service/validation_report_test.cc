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

TEST(CompareRows, EstimatesWarnByAFactorAndSayNothingOfSmallTables) {
  const auto state = [](std::int64_t then, std::int64_t now) { return compare_rows("t", {"public", "t", {}, then}, false, {}, now).state; };
  EXPECT_EQ(state(10'000, 10'000), CheckState::Ok);
  EXPECT_EQ(state(10'000, 5'000), CheckState::Ok);
  EXPECT_EQ(state(10'000, 20'000), CheckState::Ok);
  EXPECT_EQ(state(1'000, 1'000), CheckState::Ok);
  EXPECT_EQ(state(10'000, 4'999), CheckState::Warning);
  EXPECT_EQ(state(10'000, 20'001), CheckState::Warning);
  EXPECT_EQ(state(10'000, -1), CheckState::Warning);
  for (const std::int64_t then : {-1, 0, 1, 999})
    for (const std::int64_t now : {-1, 0, 999, 1'000'000}) EXPECT_EQ(state(then, now), CheckState::Unknown) << then << ", " << now;
}

TEST(CompareRows, WithoutACountThatWasPromisedNothingIsOk) {
  EXPECT_EQ(compare_rows("t", {"public", "t", {}, {}}, true, {}, 5000).state, CheckState::Unknown);
  EXPECT_EQ(compare_rows("t", {"public", "t", {}, 5000}, true, {}, 5000).state, CheckState::Unknown) << "an estimate is not the rows of a dump";
  EXPECT_EQ(compare_rows("t", {"public", "t", {}, {}}, false, {}, 5000).state, CheckState::Unknown);
}

postgres::Contents contents() {
  postgres::Contents contents;
  contents.databases = {{"shop", 3}, {"shut", 0, false}};
  contents.tables = {{"shop", "public", "a", 5000, 7, false}, {"shop", "public", "b", 5000, {}, false}, {"shop", "public", "late", 5000, {}, true}};
  return contents;
}

TEST(RecordedDatabases, KeepWhatCouldNotBeLookedInto) {
  const auto databases = recorded_databases(contents());
  ASSERT_EQ(databases.size(), 2U);
  EXPECT_TRUE(databases[0].known);
  EXPECT_EQ(databases[0].listed.size(), 3U);
  EXPECT_FALSE(databases[1].known);
}

TEST(Uncounted, NamesEveryCountThatIsNotThere) {
  EXPECT_EQ(uncounted(contents(), {"public.a"}), std::vector<std::string>{R"("shop"."public"."late")"}) << "asked for then, though not now";
  EXPECT_EQ(uncounted(contents(), {"a", "b", "shop:public.late", "shut:public.x"}), (std::vector<std::string>{R"("shop"."public"."b")", R"("shop"."public"."late")", "shut:public.x"}));
  auto whole = contents();
  whole.tables.pop_back();
  EXPECT_TRUE(uncounted(whole, {"shop:a"}).empty());
  EXPECT_TRUE(uncounted(whole, {}).empty());
}

TEST(DefaultCollation, WithoutAVersionIsOkOnlyWhereNoneIsNeeded) {
  const auto state = [](std::string provider, std::string locale, std::optional<std::string> recorded, std::optional<std::string> actual, const std::string& origin) {
    return judge_default_collation({std::move(provider), std::move(locale), std::move(recorded), std::move(actual)}, origin).state;
  };
  for (const auto* locale : {"C", "POSIX", "C.UTF-8", "C.utf8"}) EXPECT_EQ(state("c", locale, {}, {}, ""), CheckState::Ok) << locale;
  EXPECT_EQ(state("b", "C.UTF-8", {}, {}, ""), CheckState::Ok);
  EXPECT_EQ(state("c", "en_US.UTF-8", "2.36", "2.36", ""), CheckState::Ok);
  EXPECT_EQ(state("c", "en_US.UTF-8", "2.28", "2.36", "2.36"), CheckState::Warning);
  EXPECT_EQ(state("c", "en_US.UTF-8", "2.28", {}, "2.36"), CheckState::Unknown);
  // Before 15, and after an upgrade from there: the catalog does not say, the backup may.
  EXPECT_EQ(state("c", "en_US.UTF-8", {}, "2.36", "2.36"), CheckState::Ok);
  EXPECT_EQ(state("c", "en_US.UTF-8", {}, "2.36", "2.28"), CheckState::Warning);
  EXPECT_EQ(state("c", "en_US.UTF-8", {}, "2.36", ""), CheckState::Unknown);
  EXPECT_EQ(state("c", "en_US.UTF-8", {}, {}, "2.36"), CheckState::Unknown);
  EXPECT_EQ(state("i", "en", {}, "153.120", "2.36"), CheckState::Unknown) << "the C library's version says nothing of ICU";
  EXPECT_EQ(state("i", "C", {}, "153.120", ""), CheckState::Unknown);
}

TEST(Proof, IsOfARestoreOfTheseDays) {
  using std::chrono::hours;
  using std::chrono::microseconds;
  EXPECT_EQ(too_old_to_prove(microseconds(0)), "");
  EXPECT_EQ(too_old_to_prove(kProofAgeMax), "");
  EXPECT_NE(too_old_to_prove(kProofAgeMax + microseconds(1)), "");
  EXPECT_NE(too_old_to_prove(hours(24 * 365)).find("7 days"), std::string::npos);
  EXPECT_EQ(too_old_to_prove(-hours(1)), "") << "clocks may differ";
  EXPECT_NE(too_old_to_prove(-hours(1) - microseconds(1)).find("clock"), std::string::npos);
}

TEST(Proof, TakesAPassAndAnOriginAndNoDoubt) {
  auto seen = report();
  seen.data_differ = false;
  seen.is_restored = true;
  EXPECT_TRUE(seen.proves());
  EXPECT_TRUE(validation_json(seen)["proven"]);
  seen.unproven = "it was a year ago";
  EXPECT_FALSE(seen.proves());
  EXPECT_EQ(validation_json(seen)["unproven"], "it was a year ago");
  EXPECT_NE(validation_page(seen, "main").find("it was a year ago"), std::string::npos);
  seen.unproven.clear();
  seen.is_restored = false;
  EXPECT_FALSE(seen.proves());
  seen.is_restored = seen.data_differ = true;
  EXPECT_FALSE(seen.proves());
}

}  // namespace
}  // namespace pgmint::service

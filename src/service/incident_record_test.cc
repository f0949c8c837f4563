#include "service/incident_record.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace pgmint::service {
namespace {

TimePoint at(int second) { return TimePoint(std::chrono::seconds(1'800'000'000 + second)); }

IncidentRecord full() {
  IncidentRecord record;
  record.id = "20270115T080000Z";
  record.plan_name = "Mint | <b>";
  record.plan_file = "/etc/plan.toml";
  record.plan_digest = "ab";
  record.scope = "all of it\nand more";
  record.runs.push_back({"postgres@db1", "ann", "10.0.0.7", "--yes", 77, at(0), at(5), "interrupted", true});
  record.runs.push_back({"postgres@db1", "", "", "", 78, at(60), at(90), "done", false});
  record.steps.push_back({"restore", "d1", StepGroup::Database, "pgmint restore", "is complete", StepState::Done, {{at(1), at(4), "exit 6: gone", 6, false}, {at(61), at(70), "done", 0, true}}, "checked"});
  record.steps.push_back({"api", "d2", StepGroup::Api, "", "http://x answers 200", StepState::Running, {{at(71), std::nullopt, "", std::nullopt, false}}, ""});
  record.warnings = {"nobody was told"};
  return record;
}

TEST(IncidentRecord, ComesBackFromItsJournal) {
  const auto text = journal_text(full());
  const auto back = parse_journal(text);
  ASSERT_TRUE(back) << back.error().describe();
  EXPECT_EQ(journal_text(*back), text);
  EXPECT_EQ(back->runs[0].session, 77);
  EXPECT_TRUE(back->runs[0].logged && !back->runs[1].logged && !back->in_repository());
  EXPECT_EQ(back->steps[0].attempts[0].exit_code, 6);
  EXPECT_EQ(back->steps[1].state, StepState::Running);
  EXPECT_EQ(back->steps[1].attempts[0].ended, std::nullopt);
}

TEST(IncidentRecord, AJournalCutAnywhereIsNotBelieved) {
  const auto text = journal_text(full());
  for (std::size_t length = 0; length < text.size(); ++length) {
    const auto back = parse_journal(std::string_view(text).substr(0, length));
    ASSERT_FALSE(back) << length;
    EXPECT_EQ(back.error().code(), Errc::Corruption);
  }
  EXPECT_FALSE(parse_journal(text + "x"));
}

TEST(IncidentRecord, AJournalWithAnyByteChangedIsNotBelieved) {
  const auto text = journal_text(full());
  for (std::size_t i = 0; i < text.size(); ++i)
    for (const unsigned mask : {1U, 0x20U, 0xFFU}) {
      auto changed = text;
      changed[i] = static_cast<char>(static_cast<unsigned char>(changed[i]) ^ mask);
      ASSERT_FALSE(parse_journal(changed)) << i;
    }
}

TEST(IncidentRecord, ARunIsALineThatFits) {
  const auto record = full();
  EXPECT_EQ(run_line(record, record.runs[0], 4096),
            "20270115T080000Z of plan Mint | <b>: interrupted; by postgres@db1, sudo of ann, from 10.0.0.7; from 2027-01-15T08:00:00Z to 2027-01-15T08:00:05Z; scope: all of it and more; "
            "steps: restore: failed at 2027-01-15T08:00:01Z, 3.0 s;");
  EXPECT_NE(run_line(record, record.runs[1], 4096).find("restore: done at 2027-01-15T08:01:01Z, 9.0 s; api: interrupted"), std::string::npos);
  auto closed = record;
  closed.steps[1].attempts[0].outcome = "interrupted";
  EXPECT_EQ(run_line(closed, closed.runs[1], 4096), run_line(record, record.runs[1], 4096)) << "by the run after it";
  auto wide = record;
  wide.scope.clear();
  for (int i = 0; i < 3000; ++i) wide.scope += "ü";
  for (std::size_t limit = 200; limit < 210; ++limit) {
    const auto line = run_line(wide, wide.runs[0], limit);
    EXPECT_LE(line.size(), limit);
    EXPECT_EQ(static_cast<unsigned char>(line.back()) == 0xC3, false) << "half a character";
  }
}

TEST(IncidentRecord, TheReportCountsStepsThatWereLeftOutAndDoesNotCallThemDone) {
  auto record = full();
  record.state = IncidentState::Ended;
  for (const auto state : {StepState::Skipped, StepState::Waiting}) {
    record.steps[1].state = state;
    EXPECT_NE(report_markdown(record).find("- State: ended, 1 step done, 1 left out\n"), std::string::npos) << report_markdown(record);
  }
  record.steps[1].state = StepState::Done;
  EXPECT_NE(report_markdown(record).find("- State: ended, every step done\n"), std::string::npos);
  record.state = IncidentState::Open;
  EXPECT_NE(report_markdown(record).find("- State: open\n"), std::string::npos) << "a check has not passed";
  record.state = IncidentState::GivenUp;
  EXPECT_NE(report_markdown(record).find("- State: given up\n"), std::string::npos) << "nor was it seen to pass later";
}

TEST(IncidentRecord, TheReportSaysWhoWhenAndWhatAndNothingBreaksItsTables) {
  const auto markdown = report_markdown(full());
  for (const auto* word : {"postgres@db1, sudo of ann", "10.0.0.7", "2027-01-15T08:00:00Z", "exit 6: gone", "restore", "3.0 s", "nobody was told", "Mint \\| \\<b\\>", "all of it and more"})
    EXPECT_NE(markdown.find(word), std::string::npos) << word << " in\n" << markdown;
  const auto json = nlohmann::json::parse(report_json(full()));
  EXPECT_EQ(json.at("steps").at(0).at("attempts").at(0).at("duration_s"), 3.0);
  EXPECT_EQ(json.at("steps").at(1).at("attempts").at(0).at("ended"), nullptr);
  EXPECT_EQ(json.at("began"), "2027-01-15T08:00:00Z");
}

}  // namespace
}  // namespace pgmint::service

#include "cli/runbook_text.h"

#include <gtest/gtest.h>

#include "cli/arguments.h"

namespace pgmint::cli {
namespace {

TimePoint at(int second) { return TimePoint(std::chrono::seconds(1'800'000'000 + second)); }

/// A full installation, with `name` wherever somebody could choose a name.
RunbookFacts facts_with(const std::string& name) {
  RunbookFacts facts;
  facts.now = at(0);
  facts.actor = name;
  facts.version = "1";
  facts.program = {"pgmint", "--config", "/etc/" + name};
  facts.configuration_file = "/etc/" + name;
  facts.configuration_text = "# " + name + "\n";
  facts.repository = facts.state_directory = "/srv/" + name;
  facts.keys = {{"key file", "/k/" + name, name}};
  facts.slots = {{name, "recovery", "root", name, at(1), std::nullopt, false}};
  facts.contacts = {{name, name, name, name}};
  facts.schedule = {{"backup", name, "01:00", name}};
  facts.plan = "/plans/" + name;
  facts.plan_problem = name;
  facts.plan_steps = {{"1", "database", name, name}};
  facts.high = facts.medium = {name};
  facts.warnings = {{"code", name, name}};
  ClusterFacts cluster;
  cluster.name = "main";
  cluster.configured = cluster.in_repository = true;
  cluster.data_directory = "/data/" + name;
  cluster.bin_directory = "/bin/" + name;
  cluster.environment = "production";
  cluster.connection = cluster.retention = cluster.proofs = name;
  cluster.objective = std::chrono::hours(1);
  cluster.exposure = std::chrono::seconds(59);
  cluster.windows = {{at(10), at(500), postgres::TimelineId(3), postgres::Lsn(1), std::nullopt}};
  cluster.newest_backup = "20270115T080000Z-full";
  cluster.newest_started = at(2);
  cluster.newest_dump_database = name;
  cluster.newest_config_backup = "20270115T080000Z-config";
  cluster.problems = {{"code", name, name}};
  cluster.proven = ProvenRestore{at(3), name};
  facts.clusters = {cluster};
  return facts;
}

/// Words as a POSIX shell takes them from a line of blanks, quotes and backslashes.
std::vector<std::string> shell_words(const std::string& line) {
  std::vector<std::string> words;
  std::string word;
  bool inside = false;
  char quote = 0;
  for (std::size_t i = 0; i < line.size(); ++i) {
    const char c = line[i];
    if (quote != 0) {
      if (c == quote) quote = 0;
      else word += c;
    } else if (c == '\'' || c == '"') {
      quote = c;
      inside = true;
    } else if (c == '\\' && i + 1 < line.size()) {
      word += line[++i];
      inside = true;
    } else if (c == ' ') {
      if (inside) words.push_back(std::exchange(word, ""));
      inside = false;
    } else {
      word += c;
      inside = true;
    }
  }
  EXPECT_EQ(quote, 0) << line;
  if (inside) words.push_back(word);
  return words;
}

std::vector<std::string> lines_of(const service::Document& document) {
  std::vector<std::string> lines;
  for (const auto& section : document.sections)
    for (const auto& block : section.blocks)
      if (const auto* commands = std::get_if<service::Commands>(&block))
        for (const auto& one : commands->lines) lines.push_back(one.line);
  return lines;
}

/// Names that a file or a database can have.
const std::vector<std::string>& names() {
  static const std::vector<std::string> all = {"plain", "with blank", "it's", "a\"b", "$(reboot)", "`reboot`", "a;b&c|d", "new\nline", "<script>alert(1)</script>", "back\\slash", "```", "ünïcode", "*", "~x", "#x"};
  return all;
}

TEST(Runbook, EveryCommandParsesWhateverThingsAreCalled) {
  for (const auto& name : names()) {
    std::size_t ours = 0;
    std::set<std::string> verbs;
    bool named = false;
    for (const auto& line : lines_of(runbook(facts_with(name)))) {
      auto words = shell_words(line);
      while (!words.empty() && words[0].find('=') != std::string::npos && words[0].starts_with("PGMINT_")) words.erase(words.begin());
      ASSERT_FALSE(words.empty()) << line;
      named = named || std::ranges::find(words, name) != words.end() || std::ranges::find(words, "/data/" + name) != words.end();
      if (words[0] != "pgmint") continue;
      ++ours;
      words.erase(words.begin());
      EXPECT_EQ(words[1], "/etc/" + name) << line;
      const auto parsed = parse_arguments(words);
      ASSERT_TRUE(parsed) << line << ": " << parsed.error().describe();
      verbs.insert(std::string(parsed->command->verb));
    }
    EXPECT_TRUE(named) << name;
    EXPECT_GE(ours, 20U);
    for (const auto* verb : {"status", "doctor", "list", "restore", "restore-db", "export", "verify", "recover", "key check", "audit verify"}) EXPECT_TRUE(verbs.contains(verb)) << verb;
  }
}

TEST(Runbook, NoNameBecomesMarkup) {
  const auto plain = service::to_html(runbook(facts_with("plain")));
  const auto count = [](const std::string& text) { return std::ranges::count(text, '<'); };
  for (const auto& name : names()) EXPECT_EQ(count(service::to_html(runbook(facts_with(name)))), count(plain)) << name;
}

TEST(Runbook, WhatIsMissingIsSaidLoudly) {
  const auto loud = [](const RunbookFacts& facts) {
    std::string all;
    for (const auto& section : runbook(facts).sections)
      for (const auto& block : section.blocks)
        if (const auto* paragraph = std::get_if<service::Paragraph>(&block); paragraph != nullptr && paragraph->loud) all += paragraph->text + "\n";
    return all;
  };
  auto facts = facts_with("x");
  facts.plan_problem.clear();
  facts.clusters[0].problems.clear();
  facts.slots[0].opened = at(5);
  EXPECT_EQ(loud(facts), "");
  facts.clusters[0].proven.reset();
  EXPECT_NE(loud(facts).find("NO RESTORE HAS EVER BEEN PROVEN"), std::string::npos);
  facts.contacts.clear();
  EXPECT_NE(loud(facts).find("NOBODY IS NAMED"), std::string::npos);
  facts.plan.reset();
  EXPECT_NE(loud(facts).find("NO RECOVERY PLAN"), std::string::npos);
  facts.slots[0].opened.reset();
  EXPECT_NE(loud(facts).find("NEVER BEEN TRIED"), std::string::npos);
  facts.slots[0].on_this_host = true;
  EXPECT_NE(loud(facts).find("EVERY KEY IS A FILE ON A HOST"), std::string::npos);
  facts.clusters[0].newest_backup.reset();
  EXPECT_NE(loud(facts).find("THERE IS NO BACKUP"), std::string::npos);
  facts.repository_problem = "unreachable";
  EXPECT_NE(loud(facts).find("THE REPOSITORY COULD NOT BE READ"), std::string::npos);
}

TEST(Runbook, TheMomentThatItNamesCanBeReached) {
  const auto restore_of = [](TimePoint from, TimePoint to) {
    auto facts = facts_with("x");
    facts.clusters[0].windows[0].from = from;
    facts.clusters[0].windows[0].to = to;
    for (const auto& line : lines_of(runbook(facts)))
      if (line.find(" restore main ") != std::string::npos && line.find("--latest") == std::string::npos) return line.substr(line.find("restored") + 9);
    return std::string();
  };
  const auto us = [](int n) { return std::chrono::microseconds(n); };
  EXPECT_EQ(restore_of(at(0), at(10) + us(5)), "--time '2027-01-15 08:00:10+00'");
  EXPECT_EQ(restore_of(at(0), at(10)), "--time '2027-01-15 08:00:05+00'") << "the newest commit itself cannot be stopped at";
  EXPECT_EQ(restore_of(at(0) + us(10), at(0) + us(30)), "--time '2027-01-15 08:00:00.000020+00'");
  EXPECT_EQ(restore_of(at(0), at(0)), "--immediate");
}

TEST(Runbook, AWindowIsToldByMomentsThatCanBeStoppedAt) {
  const auto text = [](int from_us, int to_us) {
    const auto told = window_text({at(0) + std::chrono::microseconds(from_us), at(0) + std::chrono::microseconds(to_us), postgres::TimelineId(1), postgres::Lsn(1), std::nullopt});
    return told.from + " to " + told.to;
  };
  EXPECT_EQ(text(0, 2'000'001), "2027-01-15 08:00:00+00 to 2027-01-15 08:00:02+00");
  EXPECT_EQ(text(0, 2'000'000), "2027-01-15 08:00:00+00 to 2027-01-15 08:00:01+00") << "the newest commit itself cannot be stopped at";
  EXPECT_EQ(text(0, 1), "2027-01-15 08:00:00+00 to 2027-01-15 08:00:00+00");
  EXPECT_EQ(text(335'419, 2'700'000), "2027-01-15 08:00:01+00 to 2027-01-15 08:00:02+00");
  EXPECT_EQ(text(335'419, 335'419), "2027-01-15 08:00:00.335419+00 to 2027-01-15 08:00:00.335419+00");
  EXPECT_EQ(text(335'419, 900'000), "2027-01-15 08:00:00.335419+00 to 2027-01-15 08:00:00.899999+00") << "no whole second lies in it";
  EXPECT_EQ(text(335'419, 335'420), "2027-01-15 08:00:00.335419+00 to 2027-01-15 08:00:00.335419+00");
  EXPECT_EQ(text(335'419, 1'000'000), "2027-01-15 08:00:00.335419+00 to 2027-01-15 08:00:00.999999+00");
}

TEST(Runbook, NothingIsKnownYetAndItIsWrittenAllTheSame) {
  RunbookFacts facts;
  facts.program = {"pgmint"};
  ClusterFacts cluster;
  cluster.name = "main";
  facts.clusters = {cluster};
  for (const auto& line : lines_of(runbook(facts))) {
    auto words = shell_words(line);
    while (words[0].starts_with("PGMINT_")) words.erase(words.begin());
    if (words[0] != "pgmint") continue;
    words.erase(words.begin());
    EXPECT_TRUE(parse_arguments(words)) << line;
  }
}

}  // namespace
}  // namespace pgmint::cli

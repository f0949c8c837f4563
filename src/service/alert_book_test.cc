#include "service/alert_book.h"

#include <gtest/gtest.h>

#include <deque>
#include <random>
#include <set>

#include "base/test_seed.h"

namespace pgmint::service {
namespace {

using namespace std::chrono_literals;

const TimePoint kStart{std::chrono::sys_days(std::chrono::year(2026) / 11 / 22)};

Finding problem(std::string code, std::string subject = "", Severity severity = Severity::Problem) {
  return {"main", std::move(code), std::move(subject), severity, "message", "hint"};
}

/// Looks and delivers at once, as a check does. What was told comes back as "new wal-gap/x".
class AlertBookTest : public ::testing::Test {
 protected:
  std::vector<std::string> check(const Look& look) {
    book.see(look, now);
    const auto items = book.due(channel, now);
    if (!items.empty()) book.delivered(channel, items, now);
    std::vector<std::string> told;
    for (const auto& item : items)
      told.push_back(std::string(event_name(item.event)) + " " + item.finding.code + (item.finding.subject.empty() ? "" : "/" + item.finding.subject));
    return told;
  }
  std::vector<std::string> check(std::vector<Finding> findings) { return check(Look{std::move(findings), {}}); }

  using Words = std::vector<std::string>;
  AlertBook book;
  ChannelRules channel{.name = "hook"};
  TimePoint now = kStart;
};

TEST_F(AlertBookTest, ANewProblemIsToldAtOnceAndItsEndOnce) {
  EXPECT_EQ(check({problem("wal-gap", "a")}), Words{"new wal-gap/a"});
  now += 5min;
  EXPECT_EQ(check({problem("wal-gap", "a")}), Words{});
  now += 5min;
  EXPECT_EQ(check(std::vector<Finding>{}), Words{"recovered wal-gap/a"});
  now += 5min;
  EXPECT_EQ(check(std::vector<Finding>{}), Words{});
}

TEST_F(AlertBookTest, RemindersComeAfterFourHoursAndThenDaily) {
  std::vector<std::chrono::minutes> told;
  for (now = kStart; now < kStart + 100h; now += 5min)
    if (!check({problem("no-backup")}).empty()) told.push_back(std::chrono::duration_cast<std::chrono::minutes>(now - kStart));
  EXPECT_EQ(told, (std::vector<std::chrono::minutes>{0min, 4h, 28h, 52h, 76h}));
}

TEST_F(AlertBookTest, WarningsAreRepeatedMoreRarely) {
  std::vector<std::chrono::hours> told;
  for (now = kStart; now < kStart + 24h * 20; now += 1h)
    if (!check({problem("key-old", "", Severity::Warning)}).empty()) told.push_back(std::chrono::duration_cast<std::chrono::hours>(now - kStart));
  EXPECT_EQ(told, (std::vector<std::chrono::hours>{0h, 24h, 24h * 8, 24h * 15}));
}

TEST_F(AlertBookTest, RepeatIsTheChannelsOwn) {
  channel.repeat = 1h;
  check({problem("no-backup")});
  now += 1h;
  EXPECT_EQ(check({problem("no-backup")}), Words{"reminder no-backup"});
  channel.repeat = std::nullopt;
  now += 24h * 365;
  EXPECT_EQ(check({problem("no-backup")}), Words{});
}

TEST_F(AlertBookTest, ManyAtOneTimeAreOneMessageWorstFirst) {
  EXPECT_EQ(check({problem("key-old", "", Severity::Warning), problem("wal-gap", "a"), problem("no-backup")}),
            (Words{"new no-backup", "new wal-gap/a", "new key-old"}));
}

TEST_F(AlertBookTest, AChangeOfSeverityIsToldAtOnce) {
  check({problem("disk", "", Severity::Warning)});
  now += 5min;
  EXPECT_EQ(check({problem("disk")}), Words{"worse disk"});
  now += 5min;
  EXPECT_EQ(check({problem("disk", "", Severity::Warning)}), Words{"better disk"});
}

TEST_F(AlertBookTest, AChannelHearsOnlyWhatIsBadEnough) {
  channel.least = Severity::Problem;
  EXPECT_EQ(check({problem("disk", "", Severity::Warning)}), Words{});
  now += 5min;
  EXPECT_EQ(check({problem("disk")}), Words{"new disk"});
  now += 5min;
  EXPECT_EQ(check({problem("disk", "", Severity::Warning)}), Words{"better disk"});
  now += 48h;
  EXPECT_EQ(check({problem("disk", "", Severity::Warning)}), Words{}) << "no reminders of what it does not hear";
  EXPECT_EQ(check(std::vector<Finding>{}), Words{}) << "and no end of it";
}

TEST_F(AlertBookTest, WhatCannotBeLookedAtIsNotOver) {
  check({problem("archiver-failing"), problem("wal-gap", "a")});
  now += 5min;
  EXPECT_EQ(check(Look{{problem("wal-gap", "a")}, {{"main", "archiver-failing"}}}), Words{});
  EXPECT_EQ(check(Look{{{"", "repository-unreachable", "", Severity::Problem, "", ""}}, {{std::nullopt, ""}}}), Words{"new repository-unreachable"});
  EXPECT_EQ(check(Look{{}, {{"other", ""}}}), (Words{"recovered repository-unreachable", "recovered archiver-failing", "recovered wal-gap/a"}));
}

TEST_F(AlertBookTest, WhatComesAndGoesStaysOneProblemUntilItHasBeenAwayForSixHours) {
  Words told;
  for (int i = 0; i < 144; ++i, now += 10min)  // a day, there every second time
    for (const auto& word : check(i % 2 == 0 ? std::vector<Finding>{problem("archiver-failing")} : std::vector<Finding>{})) told.push_back(word);
  EXPECT_EQ(std::ranges::count(told, "new archiver-failing"), 4);
  EXPECT_EQ(std::ranges::count(told, "recovered archiver-failing"), 3);
  EXPECT_LE(told.size(), 12U);
  for (int i = 0; i < 12 * 7; ++i, now += 5min)
    for (const auto& word : check(std::vector<Finding>{})) told.push_back(word);
  EXPECT_EQ(told.back(), "recovered archiver-failing");
  EXPECT_EQ(std::ranges::count(told, "recovered archiver-failing"), 4);
}

TEST_F(AlertBookTest, AFloodOfOneKindIsBounded) {
  std::vector<Finding> findings;
  for (int i = 0; i < 10'000; ++i) findings.push_back(problem("wal-gap", std::to_string(100'000 + i)));
  const auto told = check(findings);
  EXPECT_EQ(told.size(), AlertBook::kFamilyMax);
  EXPECT_TRUE(book.open().front().finding.message.starts_with("9951 more of this kind")) << book.open().front().finding.message;
  now += 5min;
  EXPECT_EQ(check(findings), Words{});
}

TEST_F(AlertBookTest, WhatIsFoldedIntoTheRestIsNotOver) {
  std::vector<Finding> findings;
  for (int i = 0; i < 50; ++i) findings.push_back(problem("wal-gap", std::to_string(200 + i)));
  EXPECT_EQ(check(findings).size(), 50U);
  // One more, of a name that comes first: something has to go into the rest, and nothing has ended.
  for (int i = 0; i < 5; ++i) {
    now += 5min;
    findings.push_back(problem("wal-gap", std::to_string(100 - i)));
    for (const auto& word : check(findings)) EXPECT_FALSE(word.starts_with("recovered")) << word;
    EXPECT_LE(book.open().size(), 51U);
  }
  const auto is_open = [&](const std::string& subject) {
    return std::ranges::any_of(book.open(), [&](const OpenProblem& one) { return one.finding.subject == subject; });
  };
  for (int i = 0; i < 50; ++i) EXPECT_TRUE(is_open(std::to_string(200 + i))) << i;
  EXPECT_TRUE(is_open("+"));
  // What ends while there is a rest is told, and that alone.
  now += 5min;
  findings.erase(findings.begin() + 7);
  Words ended;
  for (const auto& word : check(findings))
    if (word.starts_with("recovered")) ended.push_back(word);
  EXPECT_EQ(ended, Words{"recovered wal-gap/207"});
  // The rest has names of its own again.
  now += 5min;
  findings.erase(findings.begin(), findings.begin() + 10);
  check(findings);
  EXPECT_FALSE(is_open("+"));
  EXPECT_TRUE(is_open("96"));
  EXPECT_EQ(book.open().size(), findings.size());
}

TEST_F(AlertBookTest, AFloodThatMovesStaysBounded) {
  for (int i = 0; i < 300; ++i, now += 5min) {
    std::vector<Finding> findings;
    for (int j = 0; j < 400; ++j) findings.push_back(problem("wal-gap", std::to_string(100'000 - 3 * i + j)));
    check(findings);
    ASSERT_LE(book.open().size(), AlertBook::kFamilyMax + 1);
    ASSERT_TRUE(std::ranges::any_of(book.open(), [](const OpenProblem& one) { return one.finding.subject == "+"; }));
  }
}

TEST_F(AlertBookTest, WhatAChannelDidNotGetIsDueAgain) {
  book.see({{problem("no-backup")}, {}}, now);
  EXPECT_EQ(book.due(channel, now).size(), 1U);
  book.undelivered("hook", "connection refused", now);
  now += 5min;
  ASSERT_EQ(book.failing_channels().size(), 1U);
  EXPECT_EQ(book.failing_channels()[0].subject, "hook");
  Look look{{problem("no-backup")}, {}};
  look.findings.push_back(book.failing_channels()[0]);
  book.see(look, now);
  EXPECT_EQ(book.due(channel, now).size(), 1U) << "it is not told of itself";
  EXPECT_EQ(book.due({.name = "mail"}, now).size(), 2U) << "the others tell that it fails";
  book.delivered(channel, book.due(channel, now), now);
  EXPECT_TRUE(book.failing_channels().empty());
}

TEST_F(AlertBookTest, AChannelThatFailsIsTriedMoreAndMoreRarelyAndAtOnceWithWhatIsNew) {
  std::vector<Finding> findings = {problem("no-backup")};
  std::vector<std::chrono::minutes> tried;
  std::set<std::string> ids;
  const auto look = [&] {
    book = *AlertBook::parse(book.text());  // as the next process does
    book.see({findings, {}}, now);
    const auto items = book.due(channel, now);
    if (items.empty() || book.waits("hook", items, now)) return;
    tried.push_back(std::chrono::duration_cast<std::chrono::minutes>(now - kStart));
    auto id = book.pending_id("hook", items);
    if (id.empty()) id = "id" + std::to_string(ids.size());
    ids.insert(id);
    book.undelivered("hook", "refused", now, id, items);
  };
  for (; now <= kStart + 200min; now += 5min) look();
  EXPECT_EQ(tried, (std::vector<std::chrono::minutes>{0min, 5min, 15min, 35min, 75min, 135min, 195min}));
  EXPECT_EQ(ids.size(), 1U) << "it is one message all the time";
  // What begins a kind of problem does not wait, and what was tried once more does.
  findings.push_back(problem("archiver-failing"));
  look();
  EXPECT_EQ(tried.back(), 205min);
  EXPECT_EQ(ids.size(), 2U);
  now += 5min;
  look();
  EXPECT_EQ(tried.back(), 205min);
  // A clock that was set back does not make it wait for ever.
  now = kStart - 24h * 300;
  look();
  now += 61min;
  look();
  EXPECT_NE(tried.back(), 205min);
  // In a day: not 288 times.
  const auto before = tried.size();
  for (const auto end = now + 24h; now < end; now += 5min) look();
  EXPECT_LE(tried.size() - before, 25U);
  EXPECT_GE(tried.size() - before, 22U);
  // One that was delivered is over.
  const auto items = book.due(channel, now);
  book.delivered(channel, items, now);
  EXPECT_EQ(book.pending_id("hook", items), "");
  EXPECT_FALSE(book.waits("hook", items, now));
}

TEST_F(AlertBookTest, ATestThatFailsPutsNothingOff) {
  book.see({{problem("no-backup")}, {}}, now);
  for (int i = 0; i < 5; ++i) book.undelivered("hook", "refused", now);
  EXPECT_FALSE(book.waits("hook", book.due(channel, now), now));
}

TEST_F(AlertBookTest, ItIsTheSameAfterItWasWrittenDown) {
  check({problem("wal-gap", "a\xC3\xA4\"\\"), problem("key-old", "", Severity::Warning)});
  now += 3h;
  check({problem("wal-gap", "b")});
  book.undelivered("mail", "refused", now);
  const auto again = AlertBook::parse(book.text());
  ASSERT_TRUE(again);
  EXPECT_EQ(again->text(), book.text());
  EXPECT_EQ(again->saved(), now);
}

TEST_F(AlertBookTest, ADamagedBookIsNone) {
  check({problem("wal-gap", "a")});
  const auto text = book.text();
  for (std::size_t cut = 0; cut + 2 < text.size(); ++cut) EXPECT_FALSE(AlertBook::parse(text.substr(0, cut)));
  for (const auto* bad : {"", "[]", "7", "{\"version\": 2}", "{\"version\": 1, \"entries\": [7]}"}) EXPECT_FALSE(AlertBook::parse(bad)) << bad;
  EXPECT_TRUE(AlertBook::parse("{\"version\": 1, \"channels\": 7, \"calms\": {\"a\": []}, \"saved\": -1}"));
}

TEST_F(AlertBookTest, AClockThatIsSetBackDoesNotSilenceReminders) {
  now += 24h * 365;
  check({problem("no-backup")});
  now = kStart;
  check({problem("no-backup")});
  now += 5h;
  EXPECT_EQ(check({problem("no-backup")}), Words{"reminder no-backup"});
}

TEST_F(AlertBookTest, OfAChannelThatIsGoneNothingIsKept) {
  check({problem("no-backup")});
  book.keep_channels({{.name = "other"}});
  EXPECT_TRUE(book.channels().empty());
  EXPECT_TRUE(book.open()[0].told.empty());
}

/// A year of a bad installation: what is wrong comes, goes, changes and flaps at random; the channel fails at times; the state is
/// written and read anew, as another process would. What the channel hears is followed as somebody who reads it would.
TEST(AlertBookYear, NeverAStormNothingNewUntoldEveryEndToldOnce) {
  const auto seed = test_seed();
  SCOPED_TRACE(fmt::format("PGMINT_TEST_SEED={}", seed));
  std::mt19937_64 random(seed);  // a test may
  const auto chance = [&](double p) { return std::uniform_real_distribution<>(0, 1)(random) < p; };
  struct Trouble {
    Finding finding;
    bool present = false;
    double comes = 0, goes = 0;  ///< per look
  };
  std::vector<Trouble> troubles;
  const std::vector<std::string> codes = {"wal-gap", "archiver-failing", "rpo-breached", "run-failed", "data-space"};
  for (const auto& code : codes)
    for (int i = 0; i < 3; ++i) troubles.push_back({problem(code, std::to_string(i)), false, i == 0 ? 0.4 : i == 1 ? 0.01 : 0.0003, i == 0 ? 0.5 : i == 1 ? 0.05 : 0.002});
  const ChannelRules channel{.name = "hook"};
  std::map<std::string, Severity> view;  // what the reader believes to be wrong
  std::deque<TimePoint> messages;
  std::map<std::string, std::deque<TimePoint>> news;  // by family
  std::size_t most = 0, total = 0;
  const auto name_of = [](const Finding& f) { return f.code + "/" + f.subject; };
  const auto knows_family = [&](const std::string& code) {
    return std::ranges::any_of(view, [&](const auto& one) { return one.first.starts_with(code + "/"); });
  };
  auto now = kStart;
  AlertBook book;
  std::size_t looks = 0;
  const auto year = kStart + 24h * 365;
  bool down = false;
  // Then three days in which nothing is wrong.
  for (; now < year + 72h; now += 5min) {
    const bool quiet = now >= year;
    Look look;
    for (auto& one : troubles) {
      one.present = !quiet && (one.present ? !chance(one.goes) : chance(one.comes));
      if (chance(0.02)) one.finding.severity = chance(0.5) ? Severity::Warning : Severity::Problem;
      if (one.present) look.findings.push_back(one.finding);
    }
    down = !quiet && (down ? !chance(0.05) : chance(0.002));
    if (++looks % 16 == 0) book = *AlertBook::parse(book.text());
    book.see(look, now);
    const auto items = book.due(channel, now);
    if (down && !items.empty()) {
      book.undelivered("hook", "down", now);
    } else if (!items.empty()) {
      for (const auto& item : items) {
        const auto name = name_of(item.finding);
        if (item.event == Event::New) {
          ASSERT_FALSE(view.contains(name)) << name << " is told as new, and was told before";
        } else {
          ASSERT_TRUE(view.contains(name)) << event_name(item.event) << " of " << name << ", which was never told, or is told to be over";
        }
        if (item.event == Event::Recovered) view.erase(name);
        else view[name] = item.finding.severity;
      }
      book.delivered(channel, items, now);
      messages.push_back(now);
      ++total;
      while (now - messages.front() >= 24h) messages.pop_front();
      most = std::max(most, messages.size());
    }
    for (const auto& finding : look.findings) {
      ASSERT_TRUE(down || view.contains(name_of(finding)) || knows_family(finding.code)) << finding.code << " is new, and was not told at this look";
    }
  }
  EXPECT_TRUE(view.empty()) << "an end was never told: " << view.begin()->first;
  EXPECT_LE(most, AlertBook::kMessagesPerDay + 16 * codes.size());
  std::printf("in a year of looks every 5 min: %zu messages, in any 24 h at most %zu\n", total, most);
  // Five kinds that come and go all day, every day: three ends of each are told in 24 h, and one beginning more.
  EXPECT_LE(total, 368U * (AlertBook::kMessagesPerDay + 4 * codes.size())) << "that is a storm, day by day";
}

}  // namespace
}  // namespace pgmint::service

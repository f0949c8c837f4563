#include "cli/lock_facts.h"

#include <gtest/gtest.h>

#include "repository/log_fixture.h"

namespace pgmint::cli {
namespace {

using std::chrono::days;
using namespace std::chrono_literals;

class LockProblem : public testing::Test {
 protected:
  LockProblem() { EXPECT_TRUE(log.genesis()); }
  static TimePoint on_day(int day) { return TimePoint(days(20'000 + day)); }
  void backup(unsigned n, int day) {
    log.now = on_day(day);
    ASSERT_TRUE(log.begin(n));
    ASSERT_TRUE(log.write(repository::snap_of(n, {})));
  }
  void look(int day) {
    log.now = on_day(day);
    ASSERT_TRUE(log.write(repository::AuditEntry{std::string(kLockEvent), "some", {}, repository::CommandRun{"lock", "", 0, log.now}}));
  }
  std::string on(int day, int renewed = 35) const {
    const auto looks = log.state.recent_audits(kLockEvent);
    const auto problem = lock_problem(log.state, looks.empty() ? std::nullopt : std::optional(looks.back().time), days(renewed), on_day(day) + 13h);
    return !problem ? "none" : problem->urgent ? "urgent" : "warning";
  }
  repository::LogFixture log;
};

TEST_F(LockProblem, WithoutBackupsThereIsNone) { EXPECT_EQ(on(1000), "none"); }

TEST_F(LockProblem, ALookThatDoesNotComeIsToldBeforeLocksEnd) {
  backup(2, 0);
  EXPECT_EQ(on(30), "none") << "it is not due yet";
  EXPECT_EQ(on(31), "warning");
  EXPECT_EQ(on(33), "warning");
  EXPECT_EQ(on(34), "urgent");
  look(31);
  EXPECT_EQ(on(34), "none");
  EXPECT_EQ(on(61), "none");
  EXPECT_EQ(on(62), "warning");
  EXPECT_EQ(on(65), "urgent");
  backup(3, 64);
  EXPECT_EQ(on(65), "urgent") << "a new backup does not extend what it shares with older ones";
  EXPECT_EQ(on(62, 90), "none") << "longer locks end later";
  EXPECT_EQ(on(31 + 83, 90), "warning");
}

TEST_F(LockProblem, ALookSaysNothingAboutTheTime) {
  backup(2, 0);
  look(31);
  EXPECT_EQ(log.state.last_activity(), on_day(0)) << "expire must not believe a clock that a look has confirmed";
}

}  // namespace
}  // namespace pgmint::cli

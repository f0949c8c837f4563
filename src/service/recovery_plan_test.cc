// Plans as such: what is refused, how commands are shown, what makes a step another one.
#include "service/recovery_plan.h"

#include "service/recovery_fixture.h"

namespace pgmint::service {
namespace {

TEST(RecoveryPlan, OrderNamesAndEmptyStepsAreChecked) {
  RecoveryPlan plan;
  EXPECT_FALSE(check_plan(plan));
  plan.steps = {step("a", StepGroup::Api), step("b", StepGroup::Database)};
  const auto order = check_plan(plan);
  ASSERT_FALSE(order);
  EXPECT_NE(order.error().describe().find("\"b\" (database) stands behind \"a\" (api)"), std::string::npos);
  plan.as_written = true;
  EXPECT_TRUE(check_plan(plan));
  plan.steps[1].name = "a";
  EXPECT_FALSE(check_plan(plan));
  plan.steps[1] = step("c");
  plan.steps[1].command.clear();
  EXPECT_TRUE(check_plan(plan));
  plan.steps[1].check.reset();
  EXPECT_FALSE(check_plan(plan));
}

TEST(RecoveryPlan, CommandsAreShownWithoutPasswords) {
  EXPECT_EQ(shown_command({"psql", "host=a password=geheim", "-c", "SELECT 1"}), "psql 'host=a password=***' -c 'SELECT 1'");
  EXPECT_EQ(shown_command({"app", "--db-password", "geheim", "x"}), "app --db-password *** x");
  EXPECT_EQ(shown_command({"curl", "https://u:geheim@h/"}).find("geheim"), std::string::npos);
  EXPECT_EQ(shown_command({"sh", "-c", "it's"}), "sh -c 'it'\\''s'");
}

TEST(RecoveryPlan, AStepsDigestTellsWhatItDoesFromHowLongItMay) {
  auto one = step("a");
  const auto digest = step_digest(one);
  one.timeout = seconds(1);
  one.retries = 9;
  EXPECT_EQ(step_digest(one), digest);
  one.check = HealthCheck{SqlCheck{"SELECT 1", "", std::nullopt}};
  EXPECT_NE(step_digest(one), digest);
}

}  // namespace
}  // namespace pgmint::service

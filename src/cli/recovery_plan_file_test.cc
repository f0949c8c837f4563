#include "cli/recovery_plan_file.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/file.h"

namespace pgmint::cli {
namespace {

using service::StepGroup;

const Configuration& configured() {
  static const auto configuration =
      parse_configuration("[cluster.main]\ndata_directory = \"/srv/pg\"\nconnection = \"host=/run port=5433\"\n", "pgmint.toml").value();
  return configuration;
}

Result<service::RecoveryPlan> parse(std::string_view text, const Configuration& configuration = configured()) {
  return parse_recovery_plan(text, "plan.toml", {{"/usr/bin/pgmint", "--config", "/c"}, configuration});
}

constexpr std::string_view kTop = "name = \"p\"\n";

std::string step(std::string_view keys) { return fmt::format("{}[[step]]\nname = \"s\"\ngroup = \"database\"\n{}", kTop, keys); }

std::string why(std::string_view text) {
  const auto plan = parse(text);
  return plan ? "accepted" : plan.error().describe();
}

TEST(RecoveryPlanFile, ReadsEveryKey) {
  const auto plan = parse(R"(name = "Mint"
scope = "all of it"
[notify]
command = ["page", "--now"]
[[contact]]
name = "Ann"
role = "dba"
address = "ann@mint.example"
phone = "1"
[[step]]
name = "restore"
group = "database"
restore = { cluster = "main", to = "/srv/pg", time = "2026-11-22 08:40:01+00", jobs = 2, delta = true }
[[step]]
name = "table"
group = "database"
restore = { db = "shop", backup = "latest", table = ["a", "b"], host = "db1", port = 5432, user = "u", from_db = "old" }
check = { sql = "SELECT count(*) > 0 FROM t", expect = true }
[[step]]
name = "start"
group = "application"
command = ["systemctl", "start", "mint"]
check = { http = "https://localhost:1/h", status = 204, ca_file = "/ca", timeout = "10s" }
timeout = "2h"
retries = 3
retry_after = 7
on_failure = "continue"
needs_confirmation = true
[[step]]
name = "port"
group = "jobs"
check = { tcp = "[::1]:99" }
[[step]]
name = "last"
group = "monitoring"
command = ["true"]
check = "none"
)");
  ASSERT_TRUE(plan) << plan.error().describe();
  EXPECT_EQ(plan->contacts[0].role, "dba");
  EXPECT_EQ(plan->notify, (std::vector<std::string>{"page", "--now"}));
  ASSERT_EQ(plan->steps.size(), 5U);
  EXPECT_EQ(service::shown_command(plan->steps[0].command), "/usr/bin/pgmint --config /c restore main --to /srv/pg --time '2026-11-22 08:40:01+00' --delta --jobs 2");
  EXPECT_TRUE(plan->steps[0].restores);
  EXPECT_EQ(plan->steps[0].restores_to, "") << "over what is there";
  EXPECT_EQ(plan->steps[0].timeout, std::chrono::hours(6));
  EXPECT_EQ(std::get<service::DataDirectoryCheck>(plan->steps[0].check->look).path, "/srv/pg");
  EXPECT_EQ(service::shown_command(plan->steps[1].command),
            "/usr/bin/pgmint --config /c restore-db --db shop --backup latest --from-db old --host db1 --port 5432 --user u --table a --table b");
  const auto& sql = std::get<service::SqlCheck>(plan->steps[1].check->look);
  EXPECT_EQ(sql.connection, "host=/run port=5433");
  EXPECT_EQ(sql.expect, "t");
  const auto& start = plan->steps[2];
  EXPECT_EQ(start.group, StepGroup::Application);
  EXPECT_EQ(start.timeout, std::chrono::hours(2));
  EXPECT_EQ(start.retries, 3U);
  EXPECT_EQ(start.retry_after, std::chrono::seconds(7));
  EXPECT_TRUE(start.goes_on && start.needs_confirmation && !start.restores);
  EXPECT_EQ(start.check->limit, std::chrono::seconds(10));
  EXPECT_EQ(std::get<service::TcpCheck>(plan->steps[3].check->look).port, 99U);
  EXPECT_FALSE(plan->steps[4].check);
}

TEST(RecoveryPlanFile, WhatIsWrongIsNamedWithItsLine) {
  const std::vector<std::pair<std::string, std::string>> wrong = {
      {"", "plan.toml: \"name\" is missing"},
      {"name = \"p\"\n", "no [[step]]"},
      {"name = \"p\"\nstep = 3\n", "plan.toml:2: \"step\" in the top level must be tables [[step]]"},
      {"name = \"p\"\n[[steps]]\n", "the nearest known one is \"step\""},
      {"name = \"p\"\nscop = \"x\"\n", "plan.toml:2: unknown key \"scop\" in the top level: the nearest known one is \"scope\""},
      {step("comand = [\"a\"]\n"), "plan.toml:5: unknown key \"comand\" in [[step]] \"s\": the nearest known one is \"command\""},
      {step("connection = \"x\"\n"), "unknown key \"connection\""},
      {step("command = [\"a\"]\n"), "lacks \"check\""},
      {step("command = []\n"), "is empty"},
      {step("command = \"a b\"\n"), "must be a list of texts"},
      {step("check = \"nothing\"\n"), "or \"none\""},
      {step("check = \"none\"\n"), "neither a command nor a check"},
      {step("check = { tcp = \"x\" }\n"), "\"x\" is no host:port"},
      {step("check = { tcp = \"x:1\", http = \"http://x/\" }\n"), "one of sql, http, tcp and command"},
      {step("check = { http = \"x\" }\n"), "is no http:// or https:// URL"},
      {step("check = { tcp = \"x:1\", status = 3 }\n"), "must be from 100 to 599"},
      {step("check = { tcp = \"x:1\", status = 200 }\n"), "status and ca_file go with http"},
      {step("check = { tcp = \"x:1\", timeout = \"11s\" }\n"), "must be from 1 s to 10 s"},
      {step("check = { tpc = \"x:1\" }\n"), "plan.toml:5: unknown key \"tpc\" in check of [[step]] \"s\": the nearest known one is \"tcp\""},
      {step("check = { sql = \"SELECT 1\", connection = \"host\" }\n"), "check of [[step]] \"s\""},
      {step("check = { tcp = \"x:1\" }\ntimeout = \"10 m\"\n"), "must be a number of seconds, or a text such as"},
      {step("check = { tcp = \"x:1\" }\ntimeout = \"99999999999999999999s\"\n"), "must be"},
      {step("check = { tcp = \"x:1\" }\ntimeout = \"9223372036854775807d\"\n"), "must be from"},
      {step("check = { tcp = \"x:1\" }\ntimeout = 0\n"), "must be from"},
      {step("check = { tcp = \"x:1\" }\non_failure = \"ignore\"\n"), "must be \"stop\" or \"continue\""},
      {step("restore = { }\n"), "\"to\" says where the cluster goes"},
      {step("restore = { to = \"srv\" }\n"), "must be an absolute path"},
      {step("restore = { to = \"/s\", time = \"yesterday\" }\n"), "yesterday"},
      {step("restore = { to = \"/s\", cluster = \"other\" }\n"), "no cluster \"other\" is configured"},
      {step("restore = { to = \"/s\", db = \"x\" }\n"), "do not go with db"},
      {step("restore = { to = \"/s\" }\ncommand = [\"a\"]\n"), "has both command and restore"},
      {"name = \"p\"\n[[step]]\nname = \"s\"\ngroup = \"databse\"\n", "the nearest is database"},
      {"name = \"p\"\n[[step]]\ngroup = \"api\"\n", "lacks \"name\""},
      {"name = \"p\"\n[[step]]\nname = \"s\"\n", "lacks \"group\""},
      {step("check = { tcp = \"x:1\" }\n[[step]]\nname = \"s\"\ngroup = \"api\"\ncheck = { tcp = \"x:1\" }\n"), "two steps are named \"s\""},
      {"name = \"p\"\n[[step]]\nname = \"a\"\ngroup = \"api\"\ncheck = { tcp = \"x:1\" }\n[[step]]\nname = \"b\"\ngroup = \"database\"\ncheck = { tcp = \"x:1\" }\n", "stands behind \"a\""},
      {"name = \"p\"\n[[contact]]\nphone = \"1\"\n", "[[contact]] lacks \"name\""},
      {"name = \"p\"\n[notify]\ncomand = [\"x\"]\n", "the nearest known one is \"command\""},
      {"name = [\n", "plan.toml:"},
  };
  for (const auto& [text, expected] : wrong) EXPECT_NE(why(text).find(expected), std::string::npos) << text << "\n-> " << why(text);
}

TEST(RecoveryPlanFile, AnotherOrderMustBeMeant) {
  const std::string steps = "[[step]]\nname = \"a\"\ngroup = \"api\"\ncheck = { tcp = \"x:1\" }\n[[step]]\nname = \"b\"\ngroup = \"database\"\ncheck = { tcp = \"x:1\" }\n";
  EXPECT_EQ(why("name = \"p\"\norder = \"as written\"\n" + steps), "accepted");
  EXPECT_NE(why("name = \"p\"\norder = \"reverse\"\n" + steps).find("must be \"by group\" or \"as written\""), std::string::npos);
}

TEST(RecoveryPlanFile, ASqlCheckWithoutAConnectionNeedsTheOneCluster) {
  const Configuration none;
  const auto plan = parse(step("check = { sql = \"SELECT 1\" }\n"), none);
  ASSERT_FALSE(plan);
  EXPECT_NE(plan.error().describe().find("\"connection\" is missing"), std::string::npos);
}

TEST(RecoveryPlanFile, TheExampleIsAPlan) {
  const auto text = read_text_file("packaging/recovery-plan.example.toml", 1 << 20);
  ASSERT_TRUE(text) << text.error().describe();
  const auto plan = parse_recovery_plan(*text, "recovery-plan.example.toml", {{"pgmint"}, configured()});
  ASSERT_TRUE(plan) << plan.error().describe();
  std::set<StepGroup> groups;
  for (const auto& one : plan->steps) groups.insert(one.group);
  EXPECT_EQ(groups.size(), 5U) << "every group of the runbook's order";
}

}  // namespace
}  // namespace pgmint::cli

#include "cli/schedule_plan.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

namespace pgmint::cli {
namespace {

using service::JobKind;

constexpr std::string_view kCluster = "[cluster.main]\ndata_directory = \"/d\"\n";

Configuration read(const std::string& text) {
  auto parsed = parse_configuration(text, "test.toml");
  EXPECT_TRUE(parsed) << (parsed ? "" : parsed.error().describe());
  return parsed ? *parsed : Configuration();
}

std::string refusal(const std::string& text) {
  const auto parsed = parse_configuration(text, "test.toml");
  if (parsed) return "accepted";
  EXPECT_EQ(parsed.error().code(), Errc::Configuration);
  return parsed.error().describe();
}

std::map<std::string, std::string> lines(const Configuration& configuration, const std::string& cluster) {
  std::map<std::string, std::string> found;
  const auto jobs = scheduled_jobs(configuration, "db1");
  EXPECT_TRUE(jobs) << (jobs ? "" : jobs.error().describe());
  if (jobs)
    for (const auto& one : *jobs)
      if (one.job.cluster == cluster) found[std::string(service::spec_of(one.job.kind).name)] = fmt::format("{} ({})", one.job.schedule.cron(), source_name(one.source));
  return found;
}

TEST(SchedulePlan, TheDefaultIsThatOfTheRunbook) {
  const std::map<std::string, std::string> expected = {
      {"full", "0 1 * * * (default)"},       {"incremental", "0 */6 * * * (default)"}, {"logical", " (default)"}, {"config", "0 2 * * 0 (default)"},
      {"expire", "30 4 * * * (default)"},    {"collect", "0 5 * * * (default)"},       {"verify", "30 5 * * 0 (default)"}};
  EXPECT_EQ(lines(read(std::string(kCluster)), "main"), expected);
  EXPECT_EQ(plan_of(read(std::string(kCluster)), "db1")->jobs.size(), 6U);
  EXPECT_TRUE(plan_of(read(std::string(kCluster)), "db1")->hooks.empty());
}

TEST(SchedulePlan, MirrorsAreCopiedToEachHourForTheWholeRepository) {
  const std::string mirror = "[[mirror]]\nname = \"far\"\nurl = \"/far\"\n";
  const auto plan = plan_of(read(std::string(kCluster) + mirror), "db1");
  ASSERT_EQ(plan->jobs.size(), 7U);
  EXPECT_EQ(plan->jobs.back().cluster, service::kRepositoryJobs);
  EXPECT_EQ(plan->jobs.back().schedule.cron(), "0 * * * *");
  EXPECT_EQ(service::job_arguments(plan->jobs.back().kind, plan->jobs.back().cluster, false), (std::vector<std::string>{"replicate", "--progress", "none"}));
  // A host that has nothing but the two stores.
  EXPECT_EQ(plan_of(read(mirror), "db1")->jobs.size(), 1U);
  EXPECT_TRUE(plan_of(read(fmt::format("{}{}", mirror, "[schedule]\nreplicate = \"never\"\n")), "db1")->jobs.empty());
  EXPECT_NE(refusal(fmt::format("{}{}", kCluster, "[cluster.main.schedule]\nreplicate = \"hourly\"\n")).find("belongs to [schedule]"), std::string::npos);
}

TEST(SchedulePlan, EachOfSeveralRepositoriesHasJobsOfItsOwn) {
  const auto jobs = scheduled_jobs(read(fmt::format("{}{}", "[[repository]]\nname = \"near\"\nurl = \"/near\"\n[[repository]]\nname = \"far\"\nurl = \"/far\"\n", kCluster)), "db1");
  ASSERT_TRUE(jobs) << jobs.failure().describe();
  std::map<std::string, std::set<service::JobKind>> kinds;
  for (const auto& one : *jobs) kinds[one.job.cluster].insert(one.job.kind);
  ASSERT_EQ(kinds.size(), 2U);
  EXPECT_EQ(kinds.at("main@near"), kinds.at("main@far"));
  EXPECT_EQ(service::job_arguments(service::JobKind::Full, "main@far", false),
            (std::vector<std::string>{"backup", "main", "--type", "full", "--progress", "none", "--repository", "far", "--reuse", "7200"}))
      << "the database is read for the first one";
  EXPECT_EQ(service::job_arguments(service::JobKind::Verify, "main@far", false),
            (std::vector<std::string>{"verify", "main", "--read-data", "--older-than", "30d", "--progress", "none", "--repository", "far"}));
  EXPECT_EQ(refusal("[[repository]]\nname = \"a@b\"\nurl = \"/x\"\n").find("is no name for a repository") == std::string::npos, false);
}

TEST(SchedulePlan, LocksAreExtendedWhereObjectsAreLocked) {
  const std::string locked = "[repository.s3]\nobject_lock = \"governance\"\n";
  EXPECT_EQ(lines(read(fmt::format("repository = \"s3://b/p\"\n[s3]\nobject_lock = \"governance\"\n{}", kCluster)), "main").at("lock"), "0 6 1 * * (default)");
  EXPECT_FALSE(lines(read(fmt::format("repository = \"s3://b/p\"\n{}", kCluster)), "main").contains("lock"));
  const auto both = read(fmt::format("[[repository]]\nname = \"near\"\nurl = \"/near\"\n[[repository]]\nname = \"far\"\nurl = \"s3://b/p\"\n{}{}", locked, kCluster));
  EXPECT_FALSE(lines(both, "main@near").contains("lock"));
  EXPECT_TRUE(lines(both, "main@far").contains("lock"));
  EXPECT_EQ(service::job_arguments(service::JobKind::Lock, "main@far", false), (std::vector<std::string>{"lock", "main", "--progress", "none", "--repository", "far"}));
  EXPECT_NE(refusal("[s3]\nobject_lock_days = 20\n").find("object_lock_days"), std::string::npos) << "a look each month would come too late";
  EXPECT_NE(refusal("[s3]\nobject_lock = \"some\"\n").find("object_lock"), std::string::npos);
}

TEST(SchedulePlan, AlertsAreLookedAfterWhereThereIsSomebodyToTell) {
  const auto plan = plan_of(read(fmt::format("{}{}", kCluster, "[[alert]]\nname = \"page\"\ntype = \"command\"\ncommand = [\"/bin/true\"]\n")), "db1");
  ASSERT_EQ(plan->hooks.size(), 1U);
  EXPECT_EQ(plan->hooks[0].arguments, (std::vector<std::string>{"alert", "check"}));
}

TEST(SchedulePlan, AClustersOwnScheduleBeatsTheGeneralOneKeyByKey) {
  const auto configuration = read("[schedule]\nfull = \"weekly on Sunday at 01:00\"\nlogical = \"0 1 * * *\"\n[cluster.a]\ndata_directory = \"/a\"\n[cluster.a.schedule]\nfull = \"never\"\n"
                                  "[cluster.b]\ndata_directory = \"/b\"\n");
  auto own = lines(configuration, "a");
  EXPECT_EQ(own["full"], " (cluster)");
  EXPECT_EQ(own["logical"], "0 1 * * * (general)");
  EXPECT_EQ(own["expire"], "30 4 * * * (default)");
  EXPECT_EQ(lines(configuration, "b")["full"], "0 1 * * 0 (general)");
}

TEST(SchedulePlan, ZonesAndJitterAreTheClustersOwnOrTheGeneralOnes) {
  const auto configuration = read("[schedule]\ntimezone = \"Europe/Berlin\"\njitter = \"1 h\"\n[cluster.a]\ndata_directory = \"/a\"\n[cluster.a.schedule]\ntimezone = \"Asia/Tokyo\"\njitter = \"0\"\n"
                                  "[cluster.b]\ndata_directory = \"/b\"\n");
  std::set<std::chrono::seconds> delays;
  const auto jobs = scheduled_jobs(configuration, "db1"), others = scheduled_jobs(configuration, "db2");
  ASSERT_TRUE(jobs && others);
  for (const auto& one : *jobs) {
    EXPECT_EQ(one.job.zone.name(), one.job.cluster == "a" ? "Asia/Tokyo" : "Europe/Berlin");
    if (one.job.cluster == "b") delays.insert(one.job.delay);
    EXPECT_TRUE(one.job.cluster == "b" || one.job.delay.count() == 0);
  }
  EXPECT_EQ(delays.size(), 1U) << "all jobs of a cluster by the same delay";
  EXPECT_NE(*delays.begin(), others->back().job.delay);
}

TEST(SchedulePlan, WrongValuesSayWhatWouldBeRight) {
  const std::pair<const char*, const char*> pairs[] = {
      {"[schedule]\nfull = \"sometimes\"\n", "daily at 01:00"},       {"[schedule]\nfull = \"0 1 * *\"\n", "five fields"},
      {"[schedule]\nfull = 1\n", "text in quotes"},                   {"[schedule]\nful = \"daily\"\n", "\"full\""},
      {"[schedule]\njitter = \"5\"\n", "5 min"},                      {"[schedule]\njitter = \"2 d\"\n", "at most 12 h"},
      {"[cluster.x]\ndata_directory = \"/d\"\n[cluster.x.schedule]\nverify = \"every 5 h\"\n", "come out even"},
      {"schedule = \"daily\"\n", "must be a table"},
  };
  for (const auto& [text, expected] : pairs) {
    EXPECT_NE(refusal(text).find(expected), std::string::npos) << text << refusal(text);
    EXPECT_NE(refusal(text).find("test.toml:"), std::string::npos);
  }
  EXPECT_NE(refusal("[cluster.x]\ndata_directory = \"/d\"\n[cluster.x.schedule]\nfull = \"x\"\n").find("[cluster.x.schedule]"), std::string::npos);
  const auto unknown_zone = scheduled_jobs(read("[schedule]\ntimezone = \"Europe/Atlantis\"\n" + std::string(kCluster)), "db1");
  ASSERT_FALSE(unknown_zone);
  EXPECT_EQ(unknown_zone.error().code(), Errc::Configuration);
  EXPECT_EQ(scheduled_jobs(read(""), "db1").error().code(), Errc::Configuration);
}

TEST(SchedulePlan, TimesAreThoseOfTheWall) {
  const auto time = *parse_time("2026-11-27 00:03:12.7Z");
  EXPECT_EQ(wall_text(time, *TimeZone::named("Europe/Berlin")), "2026-11-27 01:03:12+01:00");
  EXPECT_EQ(wall_text(time, *TimeZone::named("America/St_Johns")), "2026-11-26 20:33:12-03:30");
  EXPECT_EQ(wall_text(time, TimeZone::utc()), "2026-11-27 00:03:12+00:00");
}

}  // namespace
}  // namespace pgmint::cli

#include "service/unit_file.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace pgmint::service {
namespace {

InstallFacts facts() {
  InstallFacts facts;
  facts.program = {"/usr/bin/pgmint", "--config", "/etc/pgmint/pgmint.toml"};
  facts.user = "postgres";
  facts.state_directory = "/var/lib/postgresql/.local/state/pgmint";
  facts.written = {"/var/lib/pgmint"};
  facts.read = {"/var/lib/postgresql/15/main"};
  facts.socket_places = {"/var/run/postgresql"};
  return facts;
}

std::string unit_of(const InstallFacts& facts) { return unit_file(facts).value(); }

bool has_line(const std::string& text, const std::string& line) { return ("\n" + text).find("\n" + line + "\n") != std::string::npos; }

TEST(UnitFile, RunsTheDaemonAndWritesNowhereElse) {
  const auto unit = unit_of(facts());
  EXPECT_TRUE(unit.starts_with(kWrittenByUs));
  EXPECT_TRUE(has_line(unit, "ExecStart=/usr/bin/pgmint --config /etc/pgmint/pgmint.toml daemon"));
  EXPECT_TRUE(has_line(unit, "ReadWritePaths=/var/lib/pgmint /var/lib/postgresql/.local/state/pgmint"));
  EXPECT_TRUE(has_line(unit, "RequiresMountsFor=/var/lib/pgmint"));
  for (const auto* line : {"Type=notify", "User=postgres", "ProtectSystem=strict", "CapabilityBoundingSet=", "NoNewPrivileges=yes", "PrivateTmp=yes", "ProtectHome=yes", "Restart=on-failure"})
    EXPECT_TRUE(has_line(unit, line)) << line;
}

TEST(UnitFile, APrivateTmpWouldHideASocketOrARepositoryThere) {
  for (const auto* place : {"/tmp", "/tmp/sockets", "/var/tmp/pg"}) {
    auto with = facts();
    with.socket_places = {place};
    EXPECT_TRUE(has_line(unit_of(with), "PrivateTmp=no")) << place;
  }
  auto with = facts();
  with.written = {"/var/tmp/../tmp/repository"};
  EXPECT_TRUE(has_line(unit_of(with), "PrivateTmp=no"));
  with = facts();
  with.read = {"/home/pg/data"};
  EXPECT_TRUE(has_line(unit_of(with), "ProtectHome=no"));
  with.read = {"/homestead/pg"};
  EXPECT_TRUE(has_line(unit_of(with), "ProtectHome=yes"));
}

TEST(UnitFile, WhatAnInstalledUnitWithholdsIsTold) {
  const auto before = unit_of(facts());
  EXPECT_EQ(user_of(before), "postgres");
  EXPECT_TRUE(withheld(before, before).empty());
  auto now = facts();
  now.written = {"/srv/my backups", "/srv/100%", "/var/lib/pgmint"};
  now.read = {"/home/app/*.conf"};
  now.socket_places = {"/tmp"};
  EXPECT_EQ(withheld(before, unit_of(now)),
            (std::vector<std::string>{"writing to \"/srv/my backups\"", "writing to /srv/100%%", "/home, /root and /run/user", "/tmp and /var/tmp"}));
  EXPECT_TRUE(withheld(unit_of(now), before).empty()) << "more than is needed withholds nothing";
  EXPECT_TRUE(withheld("", before).empty()) << "no unit";
  now.user = "backup";
  EXPECT_TRUE(withheld(before, unit_of(now)).empty()) << "of another user";
  now.user = "postgres";
  now.program.back() = "/etc/pgmint/other.toml";
  EXPECT_TRUE(withheld(before, unit_of(now)).empty()) << "of another configuration";
}

TEST(UnitFile, WordsAreQuotedAsSystemdReadsThem) {
  EXPECT_EQ(unit_quoted("/usr/bin/pgmint"), "/usr/bin/pgmint");
  EXPECT_EQ(unit_quoted("/srv/my backups"), "\"/srv/my backups\"");
  EXPECT_EQ(unit_quoted("/srv/100%/\"x\"\\$HOME"), R"("/srv/100%%/\"x\"\\$$HOME")");
}

TEST(Crontab, HasALineForEachJobThatLocksItsCluster) {
  std::vector<PlannedJob> jobs = {{"main", JobKind::Full, *policy::Schedule::parse("daily at 01:00"), TimeZone::utc(), {}},
                                  {"main", JobKind::Incremental, *policy::Schedule::parse("every 6 h"), TimeZone::utc(), {}}};
  const std::map<std::string, fs::path> locks = {{"main", "/var/lib/postgresql/15/main"}};
  const auto text = crontab(facts(), jobs, {}, locks, false).value();
  EXPECT_TRUE(text.starts_with(kWrittenByUs));
  EXPECT_TRUE(has_line(text, "0 1 * * * flock -w 86400 -E 75 /var/lib/postgresql/15/main /usr/bin/pgmint --config /etc/pgmint/pgmint.toml --log-level warning backup main --type full "
                             "--progress none >/dev/null || { [ $? -ne 75 ] || echo 'pgmint: the full backup of main did not begin: other jobs of it took a day' >&2; }"));
  EXPECT_TRUE(has_line(text, "0 */6 * * * flock -n -E 0 /var/lib/postgresql/15/main /usr/bin/pgmint --config /etc/pgmint/pgmint.toml --log-level warning backup main --type "
                             "incremental --progress none >/dev/null"));
  EXPECT_NE(crontab(facts(), jobs, {}, locks, true).value().find("0 1 * * * postgres flock "), std::string::npos);
}

TEST(Crontab, RunsTheAlertCheckToo) {
  const std::vector<Hook> hooks = {{"alerts", {"alert", "check"}, std::chrono::minutes(5)}};
  EXPECT_TRUE(has_line(crontab(facts(), {}, hooks, {}, false).value(),
                       "*/5 * * * * /usr/bin/pgmint --config /etc/pgmint/pgmint.toml --log-level warning alert check >/dev/null"));
  EXPECT_TRUE(has_line(crontab(facts(), {}, hooks, {}, true).value(),
                       "*/5 * * * * postgres /usr/bin/pgmint --config /etc/pgmint/pgmint.toml --log-level warning alert check >/dev/null"));
}

/// A name with a line feed would be a line of its own in what root installs.
TEST(UnitFile, RefusesWhatDoesNotFitOnALine) {
  const auto spoil = [](auto change) {
    auto with = facts();
    change(with);
    const auto unit = unit_file(with);
    ASSERT_FALSE(unit);
    EXPECT_EQ(unit.failure().code(), Errc::Configuration);
    const std::vector<PlannedJob> jobs = {{"main", JobKind::Full, *policy::Schedule::parse("@daily"), TimeZone::utc(), {}}};
    const bool is_in_crontab = with.program != facts().program || with.user != facts().user;
    EXPECT_EQ(!crontab(with, jobs, {}, {{"main", "/d"}}, true), is_in_crontab);
  };
  spoil([](InstallFacts& with) { with.written = {"/srv/x\nExecStartPre=/bin/sh"}; });
  spoil([](InstallFacts& with) { with.state_directory = "/srv/x\rUser=root"; });
  spoil([](InstallFacts& with) { with.program.push_back("/etc/\n[Service]"); });
  spoil([](InstallFacts& with) { with.user = "postgres\nUser=root"; });
  spoil([](InstallFacts& with) { with.written = {"/srv/\x1b[2J"}; });
  const std::vector<PlannedJob> jobs = {{"main", JobKind::Full, *policy::Schedule::parse("@daily"), TimeZone::utc(), {}}};
  EXPECT_FALSE(crontab(facts(), jobs, {}, {{"main", "/d\n* * * * * root /bin/sh"}}, true));
}

TEST(Crontab, AShellAndCronReadTheWordsAsTheyAre) {
  auto with = facts();
  with.program = {"/opt/it's here/pgmint", "--config", "/etc/100%.toml"};
  const auto text = crontab(with, {{"main", JobKind::Expire, *policy::Schedule::parse("@daily"), TimeZone::utc(), {}}}, {}, {{"main", "/d"}}, false).value();
  EXPECT_NE(text.find(R"('/opt/it'\''s here/pgmint' --config '/etc/100\%.toml')"), std::string::npos) << text;
}

}  // namespace
}  // namespace pgmint::service

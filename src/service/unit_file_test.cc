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

bool has_line(const std::string& text, const std::string& line) { return ("\n" + text).find("\n" + line + "\n") != std::string::npos; }

TEST(UnitFile, RunsTheDaemonAndWritesNowhereElse) {
  const auto unit = unit_file(facts());
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
    EXPECT_TRUE(has_line(unit_file(with), "PrivateTmp=no")) << place;
  }
  auto with = facts();
  with.written = {"/var/tmp/../tmp/repository"};
  EXPECT_TRUE(has_line(unit_file(with), "PrivateTmp=no"));
  with = facts();
  with.read = {"/home/pg/data"};
  EXPECT_TRUE(has_line(unit_file(with), "ProtectHome=no"));
  with.read = {"/homestead/pg"};
  EXPECT_TRUE(has_line(unit_file(with), "ProtectHome=yes"));
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
  const auto text = crontab(facts(), jobs, locks, false);
  EXPECT_TRUE(text.starts_with(kWrittenByUs));
  EXPECT_TRUE(has_line(text, "0 1 * * * flock -w 86400 /var/lib/postgresql/15/main /usr/bin/pgmint --config /etc/pgmint/pgmint.toml --log-level warning backup main --type full "
                             "--progress none >/dev/null"));
  EXPECT_TRUE(has_line(text, "0 */6 * * * flock -n -E 0 /var/lib/postgresql/15/main /usr/bin/pgmint --config /etc/pgmint/pgmint.toml --log-level warning backup main --type "
                             "incremental --progress none >/dev/null"));
  EXPECT_NE(crontab(facts(), jobs, locks, true).find("0 1 * * * postgres flock "), std::string::npos);
}

TEST(Crontab, AShellAndCronReadTheWordsAsTheyAre) {
  auto with = facts();
  with.program = {"/opt/it's here/pgmint", "--config", "/etc/100%.toml"};
  const auto text = crontab(with, {{"main", JobKind::Expire, *policy::Schedule::parse("@daily"), TimeZone::utc(), {}}}, {{"main", "/d"}}, false);
  EXPECT_NE(text.find(R"('/opt/it'\''s here/pgmint' --config '/etc/100\%.toml')"), std::string::npos) << text;
}

}  // namespace
}  // namespace pgmint::service

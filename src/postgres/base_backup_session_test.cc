#include "postgres/base_backup_session.h"

#include <gtest/gtest.h>

#include "postgres/control_file.h"
#include "postgres/test_server.h"

namespace pgmint::postgres {
namespace {

using testing::TestServer;

BackupSessionOptions options_for(const TestServer& server) {
  return {.connect = server.connect_options(),
          .label = "it's a test",
          .data_directory = server.data_directory(),
          .system_identifier = read_control_file(server.data_directory())->control.system_identifier};
}

/// One server per major, with an included file, small WAL segments and checksums.
class BackupSessionOfEachMajor : public ::testing::TestWithParam<int> {
 public:
  static void TearDownTestSuite() { servers_.clear(); }

 protected:
  static TestServer& server() {
    auto& server = servers_[GetParam()];
    if (!server) {
      server = std::make_unique<TestServer>(TestServer::Options{
          .major = GetParam(),
          .initdb = {"-k", "--wal-segsize=1"},
          .configuration = "max_connections = 33\nmin_wal_size = 2MB\nmax_wal_size = 64MB\ninclude 'extra.conf'"});
      auto extra = server->data_directory() / "extra.conf";
      EXPECT_TRUE(write_file_durably(extra, as_bytes("work_mem = '5MB'\n"), 0600));
      server->give_to_server(extra);
      server->start();
    }
    return *server;
  }

 private:
  static std::map<int, std::unique_ptr<TestServer>> servers_;
};
std::map<int, std::unique_ptr<TestServer>> BackupSessionOfEachMajor::servers_;

TEST_P(BackupSessionOfEachMajor, StartsAnswersAndStops) {
  TestServer& server = BackupSessionOfEachMajor::server();
  auto session = BackupSession::start(options_for(server));
  ASSERT_TRUE(session) << session.failure().describe();
  EXPECT_FALSE(session->on_standby());
  EXPECT_EQ(session->timeline(), TimelineId(1));
  auto control = read_control_file(server.data_directory())->control;
  EXPECT_EQ(session->start_lsn(), control.redo) << "the backup starts at its checkpoint's redo point";
  server.sql({"CREATE TABLE t AS SELECT generate_series(1, 1000)"});
  auto lsn = session->page_check_lsn();
  ASSERT_TRUE(lsn) << lsn.failure().describe();
  EXPECT_GT(*lsn, session->start_lsn());
  EXPECT_TRUE(session->check_alive());
  auto stop = std::move(*session).stop();
  ASSERT_TRUE(stop) << stop.failure().describe();
  EXPECT_GT(stop->stop_lsn, *lsn);
  EXPECT_NE(stop->label_file.find("LABEL: it's a test\n"), std::string::npos) << stop->label_file;
  EXPECT_NE(stop->label_file.find(GetParam() < 14 ? "BACKUP FROM: master" : "BACKUP FROM: primary"), std::string::npos);
  EXPECT_EQ(stop->tablespace_map, "");
}

TEST_P(BackupSessionOfEachMajor, FactsAreThoseOfTheServer) {
  TestServer& server = BackupSessionOfEachMajor::server();
  auto connection = server.connect();
  auto facts = server_facts(connection);
  ASSERT_TRUE(facts) << facts.failure().describe();
  auto control = read_control_file(server.data_directory())->control;
  EXPECT_EQ(facts->system_identifier, control.system_identifier);
  EXPECT_EQ(facts->version_num / 10000, GetParam());
  EXPECT_EQ(facts->data_directory, server.data_directory().string());
  EXPECT_EQ(facts->config_file, (server.data_directory() / "postgresql.conf").string());
  EXPECT_EQ(facts->included_files, (std::vector<std::string>{(server.data_directory() / "extra.conf").string()}));
  EXPECT_EQ(facts->wal_segment_size.bytes(), 1U << 20);
  EXPECT_EQ(facts->block_size, 8192U);
  EXPECT_TRUE(facts->data_checksums);
  EXPECT_TRUE(facts->full_page_writes);
  EXPECT_FALSE(facts->in_recovery);
  EXPECT_EQ(facts->timeline, TimelineId(1));
  EXPECT_EQ(facts->wal_level, "replica");
  EXPECT_EQ(facts->archive_command, "");
  EXPECT_EQ(facts->server_encoding, "UTF8");
  EXPECT_EQ(facts->settings.at("max_connections"), "33");
  EXPECT_EQ(facts->databases.size(), 3U);
  auto before = current_lsn(connection).value();
  EXPECT_GE(create_restore_point(connection, "before lunch").value(), before);
  EXPECT_GT(switch_wal(connection).value(), before);
}

INSTANTIATE_TEST_SUITE_P(Majors, BackupSessionOfEachMajor, ::testing::ValuesIn(testing::installed_majors()),
                         [](const auto& name) { return std::to_string(name.param); });

class BackupSessionTest : public ::testing::Test {
 public:
  static void SetUpTestSuite() {
    server_ = std::make_unique<TestServer>(TestServer::Options{});
    server_->start();
  }
  static void TearDownTestSuite() { server_.reset(); }

 protected:
  static std::unique_ptr<TestServer> server_;
};
std::unique_ptr<TestServer> BackupSessionTest::server_;

TEST_F(BackupSessionTest, AnotherClustersDirectoryIsRefusedBeforeAnythingStarts) {
  auto options = options_for(*server_);
  options.system_identifier = SystemIdentifier(1);
  auto session = BackupSession::start(options);
  ASSERT_FALSE(session);
  EXPECT_EQ(session.failure().code(), Errc::Precondition);
  options = options_for(*server_);
  options.data_directory = "/tmp";
  session = BackupSession::start(options);
  ASSERT_FALSE(session);
  EXPECT_EQ(session.failure().code(), Errc::Precondition);
  EXPECT_FALSE(session.failure().hint().empty());
}

TEST_F(BackupSessionTest, LinkToTheDataDirectoryIsTheSameDirectory) {
  auto options = options_for(*server_);
  auto link = server_->base() / "link";
  fs::create_symlink(server_->data_directory(), link);
  options.data_directory = link;
  EXPECT_TRUE(BackupSession::start(options));
}

TEST_F(BackupSessionTest, DroppedSessionEndsTheBackupOnTheServer) {
  {
    auto session = BackupSession::start(options_for(*server_));
    ASSERT_TRUE(session);
  }
  // The backend says so when it goes; waiting for its exit is waiting for the abort.
  while (server_->value(
             "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgmint' AND pid <> pg_backend_pid()") !=
         "0") {
  }
  auto log = read_text_file(server_->base() / "log", 1 << 24).value();
  EXPECT_NE(log.find("aborting backup due to backend exiting"), std::string::npos);
}

TEST_F(BackupSessionTest, KilledSessionIsAnErrorEverywhere) {
  auto session = BackupSession::start(options_for(*server_));
  ASSERT_TRUE(session);
  server_->sql(
      {"SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE application_name = 'pgmint' AND pid <> "
       "pg_backend_pid()"});
  EXPECT_EQ(session->check_alive().failure().code(), Errc::Postgres);
  EXPECT_EQ(session->page_check_lsn().failure().code(), Errc::Postgres);
  auto stop = std::move(*session).stop();
  ASSERT_FALSE(stop);
  EXPECT_EQ(stop.failure().code(), Errc::Postgres);
}

TEST_F(BackupSessionTest, RoleWithoutPermissionGetsTheGrants) {
  server_->sql({"CREATE ROLE backup_weak LOGIN", "GRANT pg_read_all_settings TO backup_weak"});
  auto options = options_for(*server_);
  options.connect = server_->connect_options("user=backup_weak");
  auto session = BackupSession::start(options);
  ASSERT_FALSE(session);
  EXPECT_EQ(sqlstate_of(session.failure()), "42501");
  server_->sql({"GRANT EXECUTE ON FUNCTION pg_backup_start, pg_backup_stop TO backup_weak"});
  auto allowed = BackupSession::start(options);
  EXPECT_TRUE(allowed) << allowed.failure().describe();
}

TEST_F(BackupSessionTest, MinimalWalIsRefused) {
  TestServer minimal({.initdb = {}, .configuration = "wal_level = minimal\nmax_wal_senders = 0", .hba = ""});
  minimal.start();
  auto session = BackupSession::start(options_for(minimal));
  ASSERT_FALSE(session);
  EXPECT_EQ(session.failure().code(), Errc::Precondition);
}

TEST_F(BackupSessionTest, StandbyGivesABackupAndThePrimarySwitchesItsWal) {
  auto standby = server_->make_standby();
  standby->start();
  auto session = BackupSession::start(options_for(*standby));
  ASSERT_TRUE(session) << session.failure().describe();
  EXPECT_TRUE(session->on_standby());
  ASSERT_TRUE(session->page_check_lsn());
  auto identifier = session->facts().system_identifier;
  auto stop = std::move(*session).stop();
  ASSERT_TRUE(stop) << stop.failure().describe();
  EXPECT_NE(stop->label_file.find("BACKUP FROM: standby"), std::string::npos);
  auto switched = switch_wal_on_primary(server_->connect_options(), identifier);
  ASSERT_TRUE(switched) << switched.failure().describe();
  EXPECT_GE(*switched, stop->stop_lsn);
  EXPECT_EQ(switch_wal_on_primary(standby->connect_options(), identifier).failure().code(), Errc::Precondition);
  EXPECT_EQ(switch_wal_on_primary(server_->connect_options(), SystemIdentifier(1)).failure().code(),
            Errc::Precondition);
}

TEST_F(BackupSessionTest, PromotionVoidsAStandbysBackup) {
  auto standby = server_->make_standby();
  standby->start();
  auto session = BackupSession::start(options_for(*standby));
  ASSERT_TRUE(session) << session.failure().describe();
  standby->run("pg_ctl", {"-D", standby->data_directory().string(), "-w", "promote"});
  auto stop = std::move(*session).stop();
  ASSERT_FALSE(stop);
  EXPECT_EQ(stop.failure().code(), Errc::Postgres);
}

}  // namespace
}  // namespace pgmint::postgres

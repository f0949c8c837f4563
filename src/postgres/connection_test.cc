#include "postgres/connection.h"

#include <gtest/gtest.h>

#include <thread>

#include "postgres/test_server.h"

namespace pgmint::postgres {
namespace {

class ConnectionTest : public ::testing::Test {
 public:
  static void SetUpTestSuite() {
    server_ = std::make_unique<testing::TestServer>(testing::TestServer::Options{
        .initdb = {},
        .configuration = "",
        .hba = "local all locked scram-sha-256\nlocal all peered peer\nlocal nowhere all reject\n"});
    server_->start();
    server_->sql({"CREATE ROLE locked LOGIN PASSWORD 'sesame-4711'", "CREATE ROLE peered LOGIN",
                  "CREATE ROLE weak LOGIN", "ALTER ROLE postgres SET statement_timeout = '7s'",
                  "ALTER ROLE postgres SET idle_session_timeout = '7s'",
                  "ALTER ROLE postgres SET idle_in_transaction_session_timeout = '7s'",
                  "ALTER ROLE postgres SET lock_timeout = '7s'", "ALTER ROLE postgres SET search_path = weird"});
  }
  static void TearDownTestSuite() { server_.reset(); }

 protected:
  static Error refused(const std::string& more) {
    auto connection = Connection::open(server_->connect_options(more));
    EXPECT_FALSE(connection) << more;
    return connection ? Error(Errc::Internal, "connected") : connection.failure();
  }
  static std::unique_ptr<testing::TestServer> server_;
};
std::unique_ptr<testing::TestServer> ConnectionTest::server_;

TEST_F(ConnectionTest, QueriesWithParametersAndNulls) {
  auto connection = server_->connect();
  auto rows = connection.query("SELECT $1::text AS a, $2::int + 1 AS b, NULL AS c", {"it's \\ \n", "41"}).value();
  EXPECT_EQ(rows.columns, (std::vector<std::string>{"a", "b", "c"}));
  ASSERT_EQ(rows.rows.size(), 1U);
  EXPECT_EQ(rows.rows[0][0], "it's \\ \n");
  EXPECT_EQ(rows.rows[0][1], "42");
  EXPECT_EQ(rows.rows[0][2], std::nullopt);
  EXPECT_EQ(connection.value("SELECT $1::text IS NULL", {std::nullopt}).value(), "t");
  EXPECT_EQ(connection.version().major, 15);
  EXPECT_EQ(connection.server_version_num() / 10000, 15);
  EXPECT_EQ(connection.value("SELECT application_name FROM pg_stat_activity WHERE pid = pg_backend_pid()").value(),
            "pgmint");
}

TEST(Transport, ASocketAndThisHostAreLocalAndNothingElseIs) {
  for (const Transport& local : {Transport{"", "", "prefer", false}, Transport{"/var/run/postgresql", "", "prefer", false}, Transport{"@abstract", "", "prefer", false},
                                 Transport{"localhost", "127.0.0.1", "prefer", false}, Transport{"::1", "::1", "prefer", false}, Transport{"db.example.com", "127.0.0.1", "prefer", false}})
    EXPECT_TRUE(local.is_local()) << local.host << ' ' << local.address;
  for (const Transport& remote : {Transport{"db.example.com", "192.0.2.7", "prefer", true}, Transport{"192.0.2.7", "", "disable", false}, Transport{"localhost", "192.0.2.7", "prefer", false},
                                  Transport{"127.example.com", "", "prefer", false}, Transport{"db", "2001:db8::1", "verify-full", true}})
    EXPECT_FALSE(remote.is_local()) << remote.host << ' ' << remote.address;
}

TEST_F(ConnectionTest, KnowsHowItsBytesTravel) {
  auto connection = server_->connect();
  const auto transport = connection.transport();
  EXPECT_TRUE(transport.is_local());
  EXPECT_TRUE(transport.host.starts_with('/')) << transport.host;
  EXPECT_FALSE(transport.encrypted);
  EXPECT_FALSE(transport.sslmode.empty());
}

TEST_F(ConnectionTest, TimeoutsOfTheRoleAreLifted) {
  auto connection = server_->connect();
  for (auto name : {"statement_timeout", "lock_timeout", "idle_session_timeout", "idle_in_transaction_session_timeout"})
    EXPECT_EQ(connection.value(fmt::format("SHOW {}", name)).value(), "0") << name;
  EXPECT_EQ(connection.value("SHOW search_path").value(), "");
}

TEST_F(ConnectionTest, ServerErrorsKeepTheirStateAndTheSessionLives) {
  auto connection = server_->connect();
  auto failed = connection.query("SELECT 1/0");
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.failure().code(), Errc::Postgres);
  EXPECT_EQ(sqlstate_of(failed.failure()), "22012");
  EXPECT_NE(failed.failure().message().find("division by zero"), std::string::npos);
  EXPECT_EQ(connection.value("SELECT 1").value(), "1");
  EXPECT_EQ(connection.value("SELECT 1 WHERE false").failure().code(), Errc::Postgres);
}

TEST_F(ConnectionTest, NoticesAreCollected) {
  auto connection = server_->connect();
  ASSERT_TRUE(connection.execute("DO $$ BEGIN RAISE WARNING 'mind the gap'; END $$"));
  EXPECT_EQ(connection.take_notices(), (std::vector<std::string>{"mind the gap"}));
  EXPECT_TRUE(connection.take_notices().empty());
}

TEST_F(ConnectionTest, WrongPasswordIsNamedAndNotShown) {
  auto error = refused("user=locked password=open-sesame");
  EXPECT_EQ(error.code(), Errc::Postgres);
  EXPECT_EQ(sqlstate_of(error), "28P01");
  EXPECT_EQ(error.describe().find("open-sesame"), std::string::npos);
  EXPECT_NE(error.hint().find("pgpass"), std::string::npos);
  EXPECT_TRUE(Connection::open(server_->connect_options("user=locked password=sesame-4711")));
}

TEST_F(ConnectionTest, MissingPasswordPeerDatabaseAndRoleEachHaveTheirHint) {
  EXPECT_NE(refused("user=locked passfile=/nonexistent").hint().find("pgpass"), std::string::npos);
  EXPECT_NE(refused("user=peered").hint().find("peer"), std::string::npos);
  EXPECT_EQ(sqlstate_of(refused("dbname=nonesuch")), "3D000");
  EXPECT_NE(refused("dbname=nonesuch").hint().find("dbname"), std::string::npos);
  EXPECT_EQ(sqlstate_of(refused("user=nobody_here")), "28000");
  EXPECT_EQ(sqlstate_of(refused("dbname=nowhere")), "28000");
}

TEST_F(ConnectionTest, MissingPermissionHintsAtTheGrants) {
  auto connection = Connection::open(server_->connect_options("user=weak")).value();
  auto failed = connection.query("SELECT pg_backup_start('x', true)");
  ASSERT_FALSE(failed);
  EXPECT_EQ(sqlstate_of(failed.failure()), "42501");
  EXPECT_FALSE(failed.failure().hint().empty());
}

TEST_F(ConnectionTest, ServerDownIsSaidSo) {
  auto connection = Connection::open({.conninfo = "host=/nonexistent port=1 user=postgres"});
  ASSERT_FALSE(connection);
  EXPECT_EQ(connection.failure().code(), Errc::Postgres);
  EXPECT_NE(connection.failure().hint().find("running"), std::string::npos);
  EXPECT_EQ(sqlstate_of(connection.failure()), std::nullopt);
}

TEST_F(ConnectionTest, MalformedConninfoIsAConfigurationErrorThatQuotesNothing) {
  for (auto conninfo :
       {"host=/tmp password=first secondhalf", "postgresql://u:secr%zzet@/x", "nonsense=secret", "password='secret"}) {
    auto connection = Connection::open({.conninfo = conninfo});
    ASSERT_FALSE(connection) << conninfo;
    EXPECT_EQ(connection.failure().code(), Errc::Configuration);
    EXPECT_EQ(connection.failure().describe().find("sec"), std::string::npos) << connection.failure().describe();
  }
}

TEST_F(ConnectionTest, UriAndDatabaseOverrideWork) {
  auto options = server_->connect_options();
  options.database = "template1";
  EXPECT_EQ(Connection::open(options)->value("SELECT current_database()").value(), "template1");
  options.conninfo = fmt::format("postgresql:///postgres?host={}&port={}&user=postgres", server_->base().string(),
                                 server_->value("SHOW port"));
  EXPECT_EQ(Connection::open(options)->value("SELECT current_database()").value(), "template1");
}

TEST_F(ConnectionTest, CancelEndsAQueryHereAndOnTheServer) {
  CancelToken cancel;
  auto connection = Connection::open(server_->connect_options(), &cancel).value();
  std::thread canceller([&] {
    // Not before the query runs, so that the server has something to cancel.
    while (server_->value("SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(600)'") == "0") {
    }
    cancel.cancel();
  });
  auto before = std::chrono::steady_clock::now();
  auto slept = connection.query("SELECT pg_sleep(600)");
  canceller.join();
  ASSERT_FALSE(slept);
  EXPECT_EQ(slept.failure().code(), Errc::Cancelled);
  EXPECT_LT(std::chrono::steady_clock::now() - before, std::chrono::seconds(60));
}

TEST_F(ConnectionTest, LostServerIsNoticed) {
  auto connection = server_->connect();
  auto pid = connection.value("SELECT pg_backend_pid()").value();
  EXPECT_TRUE(connection.alive());
  server_->sql({fmt::format("SELECT pg_terminate_backend({}, 60000)", pid)});
  EXPECT_FALSE(connection.alive());
  auto failed = connection.query("SELECT 1");
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.failure().code(), Errc::Postgres);
}

}  // namespace
}  // namespace pgmint::postgres

#include "postgres/one_moment.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "postgres/test_server.h"

namespace pgmint::postgres {
namespace {

using namespace std::chrono_literals;
using testing::TestServer;

std::vector<int> majors_whose_standby_says_when_replay_stands() {
  auto majors = testing::installed_majors();
  std::erase_if(majors, [](int major) { return major < 14; });
  return majors;
}

class OneMomentOfEachMajor : public ::testing::TestWithParam<int> {
 public:
  static void TearDownTestSuite() { servers_.clear(); }

 protected:
  static TestServer& server() {
    auto& server = servers_[GetParam()];
    if (!server) {
      server = std::make_unique<TestServer>(TestServer::Options{.major = GetParam(), .configuration = "max_prepared_transactions = 5"});
      server->start();
      server->sql({"CREATE DATABASE a", "CREATE DATABASE b"});
      for (const auto* database : {"a", "b"}) {
        auto link = Connection::open(in(*server, database));
        EXPECT_TRUE(link);
        EXPECT_TRUE(link->execute("CREATE TABLE public.counter AS SELECT 0 AS n"));
        EXPECT_TRUE(link->execute("CREATE TABLE public.bulk AS SELECT generate_series(1, 100) AS n"));
      }
    }
    return *server;
  }
  static ConnectOptions in(const TestServer& server, const std::string& database) {
    auto options = server.connect_options();
    options.database = database;
    return options;
  }
  static OneMoment::Settings settings(const TestServer& server, std::chrono::milliseconds patience = 20s) {
    return {.connect = server.connect_options(), .databases = {"a", "b"}, .patience = patience};
  }
  /// What a session sees that has taken over a snapshot, as pg_dump does.
  static std::string seen(const TestServer& server, const std::string& database, const std::string& snapshot, const std::string& sql) {
    auto link = Connection::open(in(server, database));
    EXPECT_TRUE(link);
    EXPECT_TRUE(link->execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"));
    auto taken = link->execute("SET TRANSACTION SNAPSHOT '" + snapshot + "'");
    EXPECT_TRUE(taken) << taken.failure().describe();
    auto value = link->value(sql);
    EXPECT_TRUE(value) << value.failure().describe();
    return value.value_or("");
  }

 private:
  static std::map<int, std::unique_ptr<TestServer>> servers_;
};
std::map<int, std::unique_ptr<TestServer>> OneMomentOfEachMajor::servers_;

/// Counts up in a, then in b: a moment shows as many in a as in b, or one more.
class Writer {
 public:
  explicit Writer(ConnectOptions a, ConnectOptions b)
      : thread_([this, a, b] {
          auto first = Connection::open(a), second = Connection::open(b);
          while (!stop_ && first && second && first->execute("UPDATE public.counter SET n = n + 1") && second->execute("UPDATE public.counter SET n = n + 1")) {
            ++rounds_;
            rounds_.notify_all();
          }
          ended_ = true;
          ++rounds_;
          rounds_.notify_all();
        }) {
    for (int seen = rounds_; seen < 10 && !ended_; seen = rounds_) rounds_.wait(seen);
    EXPECT_FALSE(ended_);
  }
  ~Writer() {
    stop_ = true;
    thread_.join();
  }

 private:
  std::atomic<bool> stop_{false}, ended_{false};
  std::atomic<int> rounds_{0};
  std::thread thread_;
};

TEST_P(OneMomentOfEachMajor, DatabasesThatAreWrittenAllTheTimeShowTheSameTransactions) {
  auto& server = OneMomentOfEachMajor::server();
  const Writer writer(in(server, "a"), in(server, "b"));
  auto moment = OneMoment::open(settings(server));
  ASSERT_TRUE(moment) << moment.failure().describe();
  for (int i = 0; i < 20; ++i) {
    auto taken = moment->take();
    ASSERT_TRUE(taken) << taken.failure().describe();
    ASSERT_EQ(moment->ids().size(), 2U);
    const auto a = std::stoi(seen(server, "a", moment->ids()[0], "SELECT n::text FROM public.counter"));
    const auto b = std::stoi(seen(server, "b", moment->ids()[1], "SELECT n::text FROM public.counter"));
    EXPECT_GE(a, b);
    EXPECT_LE(a, b + 1);
  }
}

TEST_P(OneMomentOfEachMajor, SnapshotsBetweenWhichATransactionEndedAreTakenAgain) {
  auto& server = OneMomentOfEachMajor::server();
  auto link = Connection::open(in(server, "a"));
  ASSERT_TRUE(link);
  int commits = 3;
  auto chosen = settings(server);
  chosen.between = [&] {
    if (commits-- > 0) {
      EXPECT_TRUE(link->execute("UPDATE public.counter SET n = n + 1"));
    }
  };
  auto moment = OneMoment::open(chosen);
  ASSERT_TRUE(moment);
  ASSERT_TRUE(moment->take());
  EXPECT_EQ(moment->attempts(), 3U) << "commits in two attempts, one of them between the snapshots and one behind";
}

TEST_P(OneMomentOfEachMajor, AServerThatNeverStandsStillIsRefusedInTime) {
  auto& server = OneMomentOfEachMajor::server();
  auto link = Connection::open(in(server, "a"));
  ASSERT_TRUE(link);
  auto chosen = settings(server, 300ms);
  chosen.between = [&] { EXPECT_TRUE(link->execute("UPDATE public.counter SET n = n + 1")); };
  auto moment = OneMoment::open(chosen);
  ASSERT_TRUE(moment);
  const auto taken = moment->take();
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.failure().code(), Errc::Precondition);
  EXPECT_NE(taken.failure().describe().find("attempts"), std::string::npos) << taken.failure().describe();
  EXPECT_TRUE(moment->out_of_patience());
}

TEST_P(OneMomentOfEachMajor, APreparedTransactionThatEndsBetweenIsSeen) {
  auto& server = OneMomentOfEachMajor::server();
  auto link = Connection::open(in(server, "b"));
  ASSERT_TRUE(link);
  for (const auto* sql : {"BEGIN", "UPDATE public.counter SET n = n", "PREPARE TRANSACTION 'two'"}) ASSERT_TRUE(link->execute(sql));
  bool is_first = true;
  auto chosen = settings(server);
  chosen.between = [&] {
    if (std::exchange(is_first, false)) {
      EXPECT_TRUE(link->execute("COMMIT PREPARED 'two'"));
    }
  };
  auto moment = OneMoment::open(chosen);
  ASSERT_TRUE(moment);
  ASSERT_TRUE(moment->take());
  EXPECT_EQ(moment->attempts(), 2U);
}

TEST_P(OneMomentOfEachMajor, TablesThatWereTruncatedOrDroppedSinceAreNamed) {
  auto& server = OneMomentOfEachMajor::server();
  auto link = Connection::open(in(server, "b"));
  ASSERT_TRUE(link);
  ASSERT_TRUE(link->execute("CREATE TABLE public.gone AS SELECT 1 AS n"));
  auto moment = OneMoment::open(settings(server));
  ASSERT_TRUE(moment);
  ASSERT_TRUE(moment->take());
  ASSERT_TRUE(link->execute("INSERT INTO public.counter SELECT 0 WHERE false"));
  ASSERT_TRUE(link->execute("CREATE TABLE public.newer (n int)"));
  auto changed = moment->rewritten();
  ASSERT_TRUE(changed) << changed.failure().describe();
  EXPECT_TRUE(changed->empty()) << changed->front();

  ASSERT_TRUE(moment->take());
  ASSERT_TRUE(link->execute("TRUNCATE public.bulk"));
  EXPECT_EQ(seen(server, "b", moment->ids()[1], "SELECT count(*)::text FROM public.bulk"), "0") << "why this has to be asked";
  ASSERT_TRUE(link->execute("DROP TABLE public.gone"));
  changed = moment->rewritten();
  ASSERT_TRUE(changed);
  std::ranges::sort(*changed);
  EXPECT_EQ(*changed, (std::vector<std::string>{"b: public.bulk", "b: public.gone"}));
  ASSERT_TRUE(link->execute("DROP TABLE public.newer"));
  ASSERT_TRUE(link->execute("INSERT INTO public.bulk SELECT generate_series(1, 100)"));
}

INSTANTIATE_TEST_SUITE_P(Postgres, OneMomentOfEachMajor, ::testing::ValuesIn(testing::installed_majors()), [](const auto& each) { return "pg" + std::to_string(each.param); });

class OneMomentOfAStandby : public OneMomentOfEachMajor {
 public:
  static void TearDownTestSuite() {
    standbys_.clear();
    OneMomentOfEachMajor::TearDownTestSuite();
  }

 protected:
  void SetUp() override {
    auto& standby = standbys_[GetParam()];
    if (!standby) {
      standby = server().make_standby();
      standby->start();
    }
    standby_ = standby.get();
    standby_->sql({"SELECT pg_wal_replay_resume()"});
  }
  std::string state() const { return standby_->value("SELECT pg_get_wal_replay_pause_state()"); }
  TestServer* standby_ = nullptr;

 private:
  static std::map<int, std::unique_ptr<TestServer>> standbys_;
};
std::map<int, std::unique_ptr<TestServer>> OneMomentOfAStandby::standbys_;

TEST_P(OneMomentOfAStandby, ReplayStopsForTheSnapshotsAndGoesOn) {
  const Writer writer(in(server(), "a"), in(server(), "b"));
  auto moment = OneMoment::open(settings(*standby_));
  ASSERT_TRUE(moment) << moment.failure().describe();
  EXPECT_TRUE(moment->on_standby());
  for (int i = 0; i < 10; ++i) {
    auto taken = moment->take();
    ASSERT_TRUE(taken) << taken.failure().describe();
    EXPECT_EQ(state(), "not paused");
    const auto a = std::stoi(seen(*standby_, "a", moment->ids()[0], "SELECT n::text FROM public.counter"));
    const auto b = std::stoi(seen(*standby_, "b", moment->ids()[1], "SELECT n::text FROM public.counter"));
    EXPECT_GE(a, b);
    EXPECT_LE(a, b + 1);
  }
}

TEST_P(OneMomentOfAStandby, RowsStayUntilTheSnapshotIsReleased) {
  const Writer writer(in(server(), "a"), in(server(), "b"));
  auto moment = OneMoment::open(settings(*standby_));
  ASSERT_TRUE(moment);
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(moment->take());
    standby_->sql({"SELECT pg_sleep(0.05)"});  // replay comes to the removal of what the snapshot shows, and waits
    auto link = Connection::open(in(*standby_, "a"));
    ASSERT_TRUE(link);
    ASSERT_TRUE(link->execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"));
    ASSERT_TRUE(link->execute("SET TRANSACTION SNAPSHOT '" + moment->ids()[0] + "'"));
    ASSERT_TRUE(moment->rewritten());
    standby_->sql({"SELECT pg_sleep(0.05)"});
    EXPECT_EQ(*link->value("SELECT count(*)::text FROM public.counter"), "1");
  }
  EXPECT_TRUE(moment->release(0));
  EXPECT_TRUE(moment->release(1));
}

TEST_P(OneMomentOfAStandby, ASnapshotWhoseSessionWasEndedBeforeIsNotSaidToBeWhole) {
  auto moment = OneMoment::open(settings(*standby_));
  ASSERT_TRUE(moment);
  ASSERT_TRUE(moment->take());
  standby_->sql({"SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = 'b' AND state = 'idle in transaction'"});
  EXPECT_TRUE(moment->release(0));
  const auto released = moment->release(1);
  ASSERT_FALSE(released);
  EXPECT_EQ(released.failure().code(), Errc::Postgres);
  EXPECT_NE(released.failure().describe().find("not held"), std::string::npos);
}

TEST_P(OneMomentOfAStandby, SnapshotsThatLoseTransactionsWhenTheyAreExportedAreNotTaken) {
  auto link = Connection::open(in(server(), "a"));
  ASSERT_TRUE(link);
  ASSERT_TRUE(link->execute("BEGIN"));
  ASSERT_TRUE(link->execute("UPDATE public.counter SET n = n"));
  const auto follow = [&] {
    server().sql({"CREATE TABLE public.later (n int)", "DROP TABLE public.later"});  // ended later than the other began
    const auto lsn = server().value("SELECT pg_current_wal_lsn()");
    for (int i = 0; i < 500 && standby_->value("SELECT (pg_last_wal_replay_lsn() >= '" + lsn + "')::text") != "true"; ++i) standby_->sql({"SELECT pg_sleep(0.02)"});
  };
  follow();
  auto some = OneMoment::open(settings(*standby_, 2s));
  ASSERT_TRUE(some);
  EXPECT_TRUE(some->take()) << "a transaction in progress, whose id is exported";
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(link->execute("SAVEPOINT s"));
    ASSERT_TRUE(link->execute("UPDATE public.bulk SET n = n WHERE n = 1"));
  }
  follow();
  auto many = OneMoment::open(settings(*standby_, 300ms));
  ASSERT_TRUE(many);
  const auto taken = many->take();
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.failure().code(), Errc::Precondition);
  ASSERT_TRUE(link->execute("COMMIT"));
  follow();
  auto after = OneMoment::open(settings(*standby_));
  ASSERT_TRUE(after);
  EXPECT_TRUE(after->take());
}

TEST_P(OneMomentOfAStandby, APauseOfSomebodyElseStays) {
  standby_->sql({"SELECT pg_wal_replay_pause()"});
  auto moment = OneMoment::open(settings(*standby_));
  ASSERT_TRUE(moment);
  ASSERT_TRUE(moment->take());
  EXPECT_EQ(state(), "paused");
}

TEST_P(OneMomentOfAStandby, AFailureOrACancellationInBetweenLetsReplayGoOn) {
  CancelToken cancel;
  auto chosen = settings(*standby_);
  chosen.cancel = &cancel;
  chosen.between = [&] {
    EXPECT_EQ(state(), "paused");
    cancel.cancel();
  };
  auto moment = OneMoment::open(chosen);
  ASSERT_TRUE(moment);
  const auto taken = moment->take();
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.failure().code(), Errc::Cancelled);
  EXPECT_EQ(state(), "not paused");
}

TEST_P(OneMomentOfAStandby, ThePausesOwnSessionMayBeLost) {
  auto chosen = settings(*standby_);
  chosen.between = [&] { standby_->sql({"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_get_wal_replay_pause_state(), %' AND pid <> pg_backend_pid()"}); };
  auto moment = OneMoment::open(chosen);
  ASSERT_TRUE(moment);
  const auto taken = moment->take();
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.failure().code(), Errc::Postgres) << taken.failure().describe();
  EXPECT_EQ(state(), "not paused");
}

TEST_P(OneMomentOfAStandby, WhoMayNotStopReplayIsToldSo) {
  server().sql({"CREATE ROLE dumper LOGIN", "GRANT pg_read_all_data TO dumper"});
  const auto lsn = server().value("SELECT pg_current_wal_lsn()");
  for (int i = 0; i < 500 && standby_->value("SELECT (pg_last_wal_replay_lsn() >= '" + lsn + "')::text") != "true"; ++i) standby_->sql({"SELECT pg_sleep(0.02)"});
  auto chosen = settings(*standby_);
  chosen.connect = standby_->connect_options("user=dumper");
  const auto moment = OneMoment::open(chosen);
  server().sql({"DROP ROLE dumper"});
  ASSERT_FALSE(moment);
  EXPECT_EQ(moment.failure().code(), Errc::Precondition);
  EXPECT_NE(moment.failure().describe().find("dumper"), std::string::npos) << moment.failure().describe();
  EXPECT_EQ(state(), "not paused");
}

INSTANTIATE_TEST_SUITE_P(Postgres, OneMomentOfAStandby, ::testing::ValuesIn(majors_whose_standby_says_when_replay_stands()),
                         [](const auto& each) { return "pg" + std::to_string(each.param); });

}  // namespace
}  // namespace pgmint::postgres

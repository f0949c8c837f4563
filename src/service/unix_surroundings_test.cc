#include "service/unix_surroundings.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

namespace pgmint::service {
namespace {

using namespace std::chrono_literals;

class UnixSurroundingsTest : public ::testing::Test {
 protected:
  UnixSurroundingsTest() {
    char name[] = "/tmp/pgmint-service-XXXXXX";
    EXPECT_NE(::mkdtemp(name), nullptr);
    directory_ = name;
  }
  ~UnixSurroundingsTest() override { fs::remove_all(directory_); }

  std::unique_ptr<UnixSurroundings> open() {
    auto world = UnixSurroundings::open(system_clock(), {.program = {"/bin/sh", "-c"}, .state_directory = directory_, .load_plan = [] { return Plan(); }, .watched = watched_});
    EXPECT_TRUE(world) << (world ? "" : world.failure().describe());
    return world ? std::move(*world) : nullptr;
  }
  /// The next event that is not only the passing of time.
  static DaemonEvent next(UnixSurroundings& world) {
    const auto until = world.now() + 20s;
    while (world.now() < until)
      if (const auto event = world.wait(until); event.kind != DaemonEvent::Kind::Time) return event;
    ADD_FAILURE() << "nothing has happened";
    return {};
  }

  fs::path directory_;
  std::vector<Watched> watched_;
};

TEST_F(UnixSurroundingsTest, ChildrenEndWithTheirCodes) {
  const auto world = open();
  ASSERT_TRUE(world);
  const auto seven = world->start({"exit 7"}, "main");
  ASSERT_TRUE(seven);
  auto event = next(*world);
  EXPECT_EQ(event.kind, DaemonEvent::Kind::Ended);
  EXPECT_EQ(event.child, *seven);
  EXPECT_EQ(event.exit_code, 7);
  ASSERT_TRUE(world->start({"kill -9 $$"}, "main"));
  EXPECT_EQ(next(*world).exit_code, 128 + 9);
}

TEST_F(UnixSurroundingsTest, AChildStartsWithSignalsAsTheyUsuallyAreAndWithoutOurDescriptors) {
  const auto world = open();
  ASSERT_TRUE(world);
  // TERM ends it, though it is blocked here; of what is open it has its streams and the lock.
  const auto sleeper = world->start({"exec sleep 60"}, "main");
  ASSERT_TRUE(sleeper);
  world->end(*sleeper, false);
  EXPECT_EQ(next(*world).exit_code, 128 + 15);
  ASSERT_TRUE(world->start({"cd /proc/$$/fd; for fd in *; do readlink $fd; done | grep -q 'signalfd\\|daemon.lock' && exit 1; [ \"$(readlink 0)\" = /dev/null ] || exit 2; "
                            "case $(readlink 3) in */cluster-main.lock) exit 0 ;; esac; exit 3"}, "main"));
  EXPECT_EQ(next(*world).exit_code, 0);
}

TEST_F(UnixSurroundingsTest, AChildStartsWithoutALockThatCannotBeMade) {
  const auto world = open();
  ASSERT_TRUE(world);
  // As on a file system that has become read-only: the lock cannot be opened for writing.
  fs::create_directory(ServiceFiles(directory_).cluster_lock("main"));
  const auto child = world->start({"exit 7"}, "main");
  ASSERT_TRUE(child) << child.failure().describe();
  EXPECT_EQ(next(*world).exit_code, 7);
}

TEST_F(UnixSurroundingsTest, WhatAChildHasStartedEndsWithItWhenItIsToBeAtOnce) {
  const auto world = open();
  ASSERT_TRUE(world);
  const auto note = directory_ / "pid";
  const auto parent = world->start({"sleep 60 & echo $! > " + note.string() + ".tmp; mv " + note.string() + ".tmp " + note.string() + "; wait"}, "main");
  ASSERT_TRUE(parent);
  const auto until = world->now() + 20s;
  while (!fs::exists(note) && world->now() < until) system_clock().sleep(5ms);  // a real process makes it
  const int grandchild = std::atoi(read_text_file(note, 100)->c_str());
  ASSERT_GT(grandchild, 1);
  world->end(*parent, true);
  EXPECT_EQ(next(*world).exit_code, 128 + 9);
  const auto is_alive = [&] {
    const auto stat = read_text_file("/proc/" + std::to_string(grandchild) + "/stat", 4096);
    return stat && stat->find(") Z") == std::string::npos;
  };
  while (is_alive() && world->now() < until) system_clock().sleep(5ms);
  EXPECT_FALSE(is_alive());
}

TEST_F(UnixSurroundingsTest, AClustersLockIsHeldByTheChildAndNotByTheDaemon) {
  std::optional<ChildId> child;
  {
    const auto first = open();
    ASSERT_TRUE(first);
    child = *first->start({"exec sleep 60 </dev/null"}, "main");
    EXPECT_EQ(first->start({"exit 0"}, "main").failure().code(), Errc::Busy);
    EXPECT_TRUE(first->start({"exit 0"}, "other"));
    EXPECT_TRUE(first->start({"exit 0"}, ""));
    // The daemon dies; what it has started lives on.
    EXPECT_TRUE(*is_locked(ServiceFiles(directory_).cluster_lock("main")));
    const auto second = UnixSurroundings::open(system_clock(), {.program = {"/bin/sh"}, .state_directory = directory_, .load_plan = [] { return Plan(); }});
    ASSERT_FALSE(second);
    EXPECT_EQ(second.failure().code(), Errc::Busy);
    EXPECT_NE(second.failure().describe().find(std::to_string(::getpid())), std::string::npos);
    EXPECT_EQ(*running_daemon(directory_), ::getpid());
    first->end(*child, true);
  }
  // A child may hold the daemon's own lock too, until it has become a shell: that keeps no daemon from beginning, and passes.
  const auto later = open();
  ASSERT_TRUE(later);
  const auto until = later->now() + 20s;
  while (*is_locked(ServiceFiles(directory_).cluster_lock("main")) && later->now() < until) system_clock().sleep(5ms);
  EXPECT_TRUE(later->start({"exit 0"}, "main"));
}

TEST_F(UnixSurroundingsTest, OfADaemonThatHasEndedNothingRuns) {
  open().reset();
  EXPECT_EQ(*running_daemon(directory_), std::nullopt);
}

TEST_F(UnixSurroundingsTest, SignalsAreEventsInTheirOrder) {
  const auto world = open();
  ASSERT_TRUE(world);
  ::kill(::getpid(), SIGHUP);
  EXPECT_EQ(next(*world).kind, DaemonEvent::Kind::Reload);
  ::kill(::getpid(), SIGTERM);
  EXPECT_EQ(next(*world).kind, DaemonEvent::Kind::Stop);
  ::kill(::getpid(), SIGINT);
  EXPECT_EQ(next(*world).kind, DaemonEvent::Kind::StopNow);
}

TEST_F(UnixSurroundingsTest, WaitingIsForATimeOrForWhatIsWatched) {
  int pipe[2];
  ASSERT_EQ(::pipe(pipe), 0);
  unsigned served = 0;
  watched_.push_back({pipe[0], [&] {
                        char byte = 0;
                        EXPECT_EQ(::read(pipe[0], &byte, 1), 1);
                        ++served;
                      }});
  const auto world = open();
  ASSERT_TRUE(world);
  const auto begin = world->now();
  // A signal may end a turn early, such as that of a child of an earlier test; but turns are few.
  unsigned turns = 0;
  for (; world->now() < begin + 30ms; ++turns) EXPECT_EQ(world->wait(begin + 30ms).kind, DaemonEvent::Kind::Time);
  EXPECT_LE(turns, 5U);
  EXPECT_EQ(world->wait(begin - 30ms).kind, DaemonEvent::Kind::Time);
  ASSERT_EQ(::write(pipe[1], "x", 1), 1);
  for (const auto until = world->now() + 20s; served == 0 && world->now() < until;) EXPECT_EQ(world->wait(until).kind, DaemonEvent::Kind::Time);
  EXPECT_EQ(served, 1U);
  ::close(pipe[0]);
  ::close(pipe[1]);
}

TEST_F(UnixSurroundingsTest, TheServiceManagerIsToldAndItsWatchdogFed) {
  const auto path = (directory_ / "notify").string();
  const Fd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  ASSERT_EQ(::bind(socket.get(), static_cast<const sockaddr*>(static_cast<const void*>(&address)), sizeof address), 0);
  ::setenv("NOTIFY_SOCKET", path.c_str(), 1);
  ::setenv("WATCHDOG_USEC", "100000", 1);
  const auto world = open();
  ASSERT_TRUE(world);
  EXPECT_EQ(std::getenv("NOTIFY_SOCKET"), nullptr) << "children must not speak for the service";
  world->tell("READY=1");
  const auto begin = world->now();
  std::vector<std::string> heard;
  char buffer[256];
  while (std::ranges::count(heard, "WATCHDOG=1") < 3 && world->now() < begin + 20s) {
    EXPECT_EQ(world->wait(begin + 40s).kind, DaemonEvent::Kind::Time) << "for the watchdog's sake";
    for (ssize_t got = 0; (got = ::recv(socket.get(), buffer, sizeof buffer, 0)) > 0;) heard.emplace_back(buffer, static_cast<std::size_t>(got));
  }
  ASSERT_FALSE(heard.empty());
  EXPECT_EQ(heard[0], "READY=1");
  EXPECT_GE(std::ranges::count(heard, "WATCHDOG=1"), 3);
}

TEST_F(UnixSurroundingsTest, AMemoryThatIsDamagedIsNone) {
  const auto world = open();
  ASSERT_TRUE(world);
  RunMemory memory;
  memory[{"main", JobKind::Full}].started = *parse_time("2026-11-26 01:00Z");
  ASSERT_TRUE(world->save(memory));
  EXPECT_EQ(world->recalled().size(), 1U);
  ASSERT_TRUE(write_file_durably(ServiceFiles(directory_).memory(), as_bytes("{\"version\":1,"), 0600));
  EXPECT_TRUE(world->recalled().empty());
}

}  // namespace
}  // namespace pgmint::service

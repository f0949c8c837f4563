#include "base/process_group.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>

namespace pgmint {
namespace {

struct Folder {
  Folder() {
    char name[] = "/tmp/pgmint-group-XXXXXX";
    path = ::mkdtemp(name);
  }
  ~Folder() { fs::remove_all(path); }
  std::string text(const std::string& name) const { return read_text_file(path / name, 1 << 20).value_or(""); }
  fs::path path;
};

bool wait_for(const std::function<bool()>& condition) {
  for (int i = 0; i < 2000; ++i) {
    if (condition()) return true;
    system_clock().sleep(std::chrono::milliseconds(5));
  }
  return false;
}

int status_of(ProcessGroup& group) {
  std::optional<int> status;
  EXPECT_TRUE(wait_for([&] { return (status = group.poll().value()).has_value(); }));
  return status.value_or(-1);
}

bool lives(int pid) { return pid > 0 && ::kill(pid, 0) == 0; }

TEST(ProcessGroup, TakesInputEnvironmentAndAppendsOutputAndErrors) {
  Folder folder;
  for (int i = 0; i < 2; ++i) {
    auto group = ProcessGroup::start({.arguments = {"sh", "-c", "cat; echo $NAME; echo bad >&2; exit 3"}, .environment = {{"NAME", "value"}},
                                      .output = folder.path / "out", .input = "told\n"}, system_clock());
    ASSERT_TRUE(group) << group.failure().describe();
    EXPECT_EQ(status_of(**group), 3);
    EXPECT_EQ((*group)->poll().value(), 3) << "the status stays until it is left";
    (*group)->leave();
  }
  EXPECT_EQ(folder.text("out"), "told\nvalue\nbad\ntold\nvalue\nbad\n");
}

TEST(ProcessGroup, WhatIsNotThereIsNotFound) {
  EXPECT_EQ(ProcessGroup::start({.arguments = {"no-such-program-here"}}, system_clock()).failure().code(), Errc::NotFound);
  EXPECT_EQ(ProcessGroup::start({.arguments = {"/no/such/program"}}, system_clock()).failure().code(), Errc::NotFound);
  EXPECT_EQ(find_program("/etc/passwd"), std::nullopt);
  EXPECT_EQ(find_program("/tmp"), std::nullopt);
  EXPECT_TRUE(find_program("sh"));
}

TEST(ProcessGroup, EndsChildrenAlsoThoseThatIgnoreSigtermAndThoseWhoseParentIsGone) {
  Folder folder;
  // The leader ends at once; one child would go on, another does not heed SIGTERM.
  const auto cwd = fs::current_path();
  fs::current_path(folder.path);
  auto group = ProcessGroup::start({.arguments = {"sh", "-c", "sleep 600 & echo $! >a; (trap '' TERM; echo ready >c; while :; do sleep 600; done) & echo $! >b"}}, system_clock());
  fs::current_path(cwd);
  ASSERT_TRUE(group);
  EXPECT_EQ(status_of(**group), 0);
  ASSERT_TRUE(wait_for([&] { return !folder.text("a").empty() && !folder.text("b").empty() && !folder.text("c").empty(); }));
  const int a = std::stoi(folder.text("a")), b = std::stoi(folder.text("b"));
  EXPECT_TRUE(lives(a) && lives(b));
  (*group)->end(std::chrono::milliseconds(200));
  // Whoever adopts them may not have reaped them yet: a zombie has ended.
  const auto ended = [](int pid) {
    const auto stat = read_text_file(fmt::format("/proc/{}/stat", pid), 4096);
    return !stat || stat->find(") Z ") != std::string::npos;
  };
  EXPECT_TRUE(ended(a) && ended(b));
}

TEST(ProcessGroup, WhatIsLeftLivesOn) {
  Folder folder;
  auto group = ProcessGroup::start({.arguments = {"sh", "-c", "sleep 600 & echo $!"}, .environment = {}, .output = folder.path / "out"}, system_clock());
  ASSERT_TRUE(group);
  EXPECT_EQ(status_of(**group), 0);
  (*group)->leave();
  group->reset();
  const int child = std::stoi(folder.text("out"));
  EXPECT_TRUE(lives(child));
  ::kill(child, SIGKILL);
}

TEST(ProcessGroup, MarkedProcessesOfThisSessionAreEndedAndNoOthers) {
  Folder folder;
  const auto marked = [&](const std::string& value, const std::string& script) {
    auto group = ProcessGroup::start({.arguments = {"sh", "-c", script}, .environment = {{"PGMINT_TEST_MARK", value}}, .output = folder.path / value}, system_clock());
    EXPECT_TRUE(group);
    EXPECT_TRUE(wait_for([&] { return !folder.text(value).empty(); }));
    return std::move(*group);
  };
  auto mine = marked("a", "sleep 600 & echo $!; wait");
  auto other = marked("b", "echo $$; sleep 600");
  auto moved = marked("c", "setsid sh -c 'echo $$; exec sleep 600' & wait");
  EXPECT_EQ(end_marked_processes("PGMINT_TEST_MARK", "a", ::getsid(0), system_clock())->found, 2U);
  EXPECT_EQ(end_marked_processes("PGMINT_TEST_MARK", "a", ::getsid(0), system_clock())->found, 0U);
  EXPECT_EQ(status_of(*mine), 128 + SIGTERM);
  EXPECT_EQ(other->poll().value(), std::nullopt);
  EXPECT_EQ(end_marked_processes("PGMINT_TEST_MARK", "c", ::getsid(0), system_clock())->found, 1U) << "the shell, not what moved away";
  const int away = std::stoi(folder.text("c"));
  EXPECT_TRUE(lives(away));
  ::kill(away, SIGKILL);
}

TEST(ProcessGroup, MarkedProcessesThatAreStillThereAreNamed) {
  Folder folder;
  auto group = ProcessGroup::start({.arguments = {"sh", "-c", "trap '' TERM; echo $$; while :; do sleep 600; done"}, .environment = {{"PGMINT_TEST_MARK", "d"}},
                                    .output = folder.path / "d", .input = {}}, system_clock());
  ASSERT_TRUE(group);
  ASSERT_TRUE(wait_for([&] { return !folder.text("d").empty(); }));
  // With a clock that runs out before anything is killed, as with a process that the kernel does not let go.
  struct LeapingClock final : Clock {
    TimePoint now() const override { return at += std::chrono::hours(1); }
    void sleep(std::chrono::microseconds) override {}
    mutable TimePoint at{};
  } leaping;
  const auto ended = end_marked_processes("PGMINT_TEST_MARK", "d", ::getsid(0), leaping);
  ASSERT_TRUE(ended);
  EXPECT_GE(ended->found, 1U);
  EXPECT_TRUE(std::ranges::find(ended->left, std::stoi(folder.text("d"))) != ended->left.end());
  (*group)->end(std::chrono::milliseconds(0));
  EXPECT_TRUE(end_marked_processes("PGMINT_TEST_MARK", "d", ::getsid(0), system_clock())->left.empty());
}

}  // namespace
}  // namespace pgmint

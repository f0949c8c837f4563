#include "base/child_process.h"

#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <thread>

namespace pgmint {
namespace {

using Options = ChildProcess::Options;
using std::chrono::steady_clock;

std::string read_all(ChildProcess& child) {
  std::string text;
  ByteArray<777> buffer;
  for (;;) {
    const auto got = child.read(buffer);
    if (!got || *got == 0) return text;
    text += as_text(ByteView(buffer).first(*got));
  }
}

TEST(ChildProcess, TakesArgumentsAndEnvironmentAndGivesOutputErrorsAndStatus) {
  auto child = ChildProcess::start({.arguments = {"/bin/sh", "-c", "echo \"$0 $NAME\"; echo problem >&2; exit 3", "an argument"},
                                    .environment = {{"NAME", "a value"}},
                                    .pipe_output = true});
  ASSERT_TRUE(child) << child.failure().describe();
  EXPECT_EQ(read_all(**child), "an argument a value\n");
  EXPECT_EQ((*child)->wait().value(), 3);
  EXPECT_EQ((*child)->errors(), "problem\n");
}

TEST(ChildProcess, WhatIsWrittenArrivesWhateverItsLength) {
  auto child = ChildProcess::start({.arguments = {"/bin/sh", "-c", "wc -c"}, .pipe_input = true, .pipe_output = true});
  ASSERT_TRUE(child) << child.failure().describe();
  const Bytes piece(3'000'001, std::byte{'x'});
  for (int i = 0; i < 3; ++i) EXPECT_TRUE((*child)->write(piece).value());
  (*child)->close_input();
  EXPECT_EQ(read_all(**child), "9000003\n");
  EXPECT_EQ((*child)->wait().value(), 0);
}

TEST(ChildProcess, AChildThatStopsReadingIsNoError) {
  std::signal(SIGPIPE, SIG_IGN);  // as install_signal_handlers() does
  auto child = ChildProcess::start({.arguments = {"/bin/sh", "-c", "exit 0"}, .pipe_input = true});
  ASSERT_TRUE(child);
  const Bytes piece(8 << 20, std::byte{'x'});
  EXPECT_FALSE((*child)->write(piece).value());
  EXPECT_EQ((*child)->wait().value(), 0);
}

TEST(ChildProcess, AMissingProgramAndASignalAreTold) {
  const auto missing = ChildProcess::start({.arguments = {"/nonexistent/program"}});
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.failure().code(), Errc::NotFound);
  auto killed = ChildProcess::start({.arguments = {"/bin/sh", "-c", "kill -9 $$"}});
  ASSERT_TRUE(killed);
  EXPECT_EQ((*killed)->wait().value(), 128 + 9);
}

TEST(ChildProcess, CancellationEndsEveryWaitAndTheChild) {
  CancelToken cancel;
  auto child = ChildProcess::start({.arguments = {"/bin/sleep", "60"}, .pipe_output = true, .cancel = &cancel});
  ASSERT_TRUE(child);
  std::thread later([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    cancel.cancel();
  });
  const auto started = steady_clock::now();
  ByteArray<16> buffer;
  const auto got = (*child)->read(buffer);
  ASSERT_FALSE(got);
  EXPECT_EQ(got.failure().code(), Errc::Cancelled);
  child->reset();
  later.join();
  EXPECT_LT(steady_clock::now() - started, std::chrono::seconds(5));
}

TEST(ChildProcess, OnlyTheEndOfManyErrorsIsKept) {
  auto child = ChildProcess::start({.arguments = {"/bin/sh", "-c", "i=0; while [ $i -lt 20000 ]; do echo line $i >&2; i=$((i+1)); done"}});
  ASSERT_TRUE(child);
  EXPECT_EQ((*child)->wait().value(), 0);
  const auto errors = (*child)->errors();
  EXPECT_LE(errors.size(), std::size_t{64} << 10);
  EXPECT_TRUE(errors.ends_with("line 19999\n"));
}

}  // namespace
}  // namespace pgmint

#include "service/run_notes.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "storage/temporary_directory.h"

namespace pgmint::service {
namespace {

using namespace std::chrono_literals;

const TimePoint kStart{std::chrono::sys_days(std::chrono::year(2026) / 11 / 22)};
const RunKey kBackup{"backup", "main", ""};

class RunNotesTest : public ::testing::Test {
 protected:
  RunNote only() {
    const auto all = notes.all();
    EXPECT_TRUE(all);
    EXPECT_EQ(all->size(), 1U);
    return all->empty() ? RunNote{} : all->front();
  }
  storage::TemporaryDirectory place;
  ManualClock clock{kStart};
  RunNotes notes{place.path() / "runs", clock};
};

TEST_F(RunNotesTest, NothingWasRunYet) {
  const auto all = notes.all();
  ASSERT_TRUE(all);
  EXPECT_TRUE(all->empty());
}

TEST_F(RunNotesTest, ARunIsRunningThenEnded) {
  ASSERT_TRUE(notes.begin(kBackup));
  EXPECT_TRUE(only().running);
  EXPECT_FALSE(only().failed());
  clock.sleep(1h);
  ASSERT_TRUE(notes.end(kBackup, 9, "server: password=hunter2 refused", "look at it"));
  auto note = only();
  EXPECT_FALSE(note.running);
  EXPECT_TRUE(note.failed());
  EXPECT_EQ(note.exit, 9);
  EXPECT_EQ(note.message, "server: password=*** refused");
  EXPECT_EQ(note.started, kStart);
  EXPECT_EQ(note.ended, kStart + 1h);
  EXPECT_FALSE(note.succeeded);
}

TEST_F(RunNotesTest, SuccessOfTheSameVerbClearsAFailure) {
  ASSERT_TRUE(notes.end(kBackup, 9, "refused", ""));
  EXPECT_EQ(open_failures(*notes.all(), clock.now()).size(), 1U);
  clock.sleep(1h);
  ASSERT_TRUE(notes.end({"verify", "main", ""}, 0, "", ""));
  EXPECT_EQ(open_failures(*notes.all(), clock.now()).size(), 1U);
  ASSERT_TRUE(notes.end(kBackup, 0, "", ""));
  EXPECT_TRUE(open_failures(*notes.all(), clock.now()).empty());
  clock.sleep(1h);
  ASSERT_TRUE(notes.end(kBackup, 6, "disk full", ""));
  EXPECT_EQ((*notes.all())[0].succeeded, kStart + 1h) << "a failure does not forget when it last went well";
}

TEST_F(RunNotesTest, ARunForAllCoversOneButNotTheOtherWayRound) {
  const RunKey part{"backup logical", "main", "shop"}, whole{"backup logical", "main", ""}, other{"backup logical", "main", "web"};
  ASSERT_TRUE(notes.end(part, 9, "refused", ""));
  clock.sleep(1s);
  ASSERT_TRUE(notes.end(other, 0, "", ""));
  EXPECT_EQ(open_failures(*notes.all(), clock.now()).size(), 1U) << "another database's dump says nothing of this one";
  clock.sleep(1s);
  ASSERT_TRUE(notes.end(whole, 0, "", ""));
  EXPECT_TRUE(open_failures(*notes.all(), clock.now()).empty());
  clock.sleep(1s);
  ASSERT_TRUE(notes.end(whole, 9, "refused", ""));
  clock.sleep(1s);
  ASSERT_TRUE(notes.end(part, 0, "", ""));
  EXPECT_EQ(open_failures(*notes.all(), clock.now()).size(), 1U) << "one database is not all of them";
}

TEST_F(RunNotesTest, AnEarlierSuccessOfAllDoesNotHideALaterFailureOfOne) {
  ASSERT_TRUE(notes.end({"expire", "", ""}, 0, "", ""));
  clock.sleep(1s);
  ASSERT_TRUE(notes.end({"expire", "main", ""}, 4, "clock", ""));
  EXPECT_EQ(open_failures(*notes.all(), clock.now()).size(), 1U);
}

TEST_F(RunNotesTest, ADeeperVerificationCoversAShallowOneButNotTheOtherWayRound) {
  const RunKey shallow{"verify", "main", ""}, deep{"verify --read-data", "main", ""};
  ASSERT_TRUE(notes.end(deep, 8, "damage", ""));
  clock.sleep(1s);
  ASSERT_TRUE(notes.end(shallow, 0, "", ""));
  EXPECT_EQ(open_failures(*notes.all(), clock.now()).size(), 1U);
  ASSERT_TRUE(notes.end(shallow, 8, "damage", ""));
  clock.sleep(1s);
  ASSERT_TRUE(notes.end(deep, 0, "", ""));
  EXPECT_TRUE(open_failures(*notes.all(), clock.now()).empty());
}

TEST_F(RunNotesTest, ACommandLineThatIsWrongIsNoRun) {
  ASSERT_TRUE(notes.begin(kBackup));
  ASSERT_TRUE(notes.never_began(kBackup));
  EXPECT_TRUE(notes.all()->empty());
  ASSERT_TRUE(notes.end(kBackup, 9, "refused", ""));
  ASSERT_TRUE(notes.begin(kBackup));
  ASSERT_TRUE(notes.never_began(kBackup));
  EXPECT_EQ(only().exit, 9);
  EXPECT_FALSE(only().running);
}

TEST_F(RunNotesTest, WhetherARunEverWentWellIsKnown) {
  EXPECT_FALSE(notes.has_succeeded(kBackup));
  ASSERT_TRUE(notes.end(kBackup, 9, "refused", ""));
  EXPECT_FALSE(notes.has_succeeded(kBackup));
  ASSERT_TRUE(notes.end(kBackup, 0, "", ""));
  ASSERT_TRUE(notes.end(kBackup, 9, "refused", ""));
  EXPECT_TRUE(notes.has_succeeded(kBackup));
}

TEST_F(RunNotesTest, ASuccessFromAClockThatWasAheadCoversNothingThatComes) {
  const RunKey all{"backup", "", ""};
  clock.sleep(24h * 365);
  ASSERT_TRUE(notes.end(all, 0, "", ""));
  clock.sleep(-24h * 365);
  ASSERT_TRUE(notes.end(kBackup, 9, "refused", ""));
  EXPECT_EQ(open_failures(*notes.all(), clock.now()).size(), 1U);
  clock.sleep(1h);
  ASSERT_TRUE(notes.end(all, 0, "", ""));
  EXPECT_TRUE(open_failures(*notes.all(), clock.now()).empty());
}

TEST_F(RunNotesTest, OfTwoRunsAtATimeTheOneThatGoesOnStaysAndIsMissedWhenItIsKilled) {
  int to_child[2], to_parent[2];
  ASSERT_EQ(::pipe(to_child), 0);
  ASSERT_EQ(::pipe(to_parent), 0);
  const pid_t first = ::fork();
  if (first == 0) {
    char byte = notes.begin(kBackup) ? 'y' : 'n';
    (void)!::write(to_parent[1], &byte, 1);
    (void)!::read(to_child[0], &byte, 1);
    ::_exit(0);  // without an end, as one that is killed
  }
  char byte = 0;
  ASSERT_EQ(::read(to_parent[0], &byte, 1), 1);
  ASSERT_EQ(byte, 'y');
  // A second run that was none, and one that ends: the first goes on.
  ASSERT_TRUE(notes.begin(kBackup));
  ASSERT_TRUE(notes.never_began(kBackup));
  EXPECT_TRUE(only().running);
  ASSERT_TRUE(notes.begin(kBackup));
  ASSERT_TRUE(notes.end(kBackup, 5, "busy", ""));
  EXPECT_TRUE(only().running) << "the other still runs";
  EXPECT_EQ(only().exit, 5);
  ASSERT_EQ(::write(to_child[1], "x", 1), 1);
  int status = 0;
  ASSERT_EQ(::waitpid(first, &status, 0), first);
  EXPECT_FALSE(only().running);
  EXPECT_TRUE(only().lost) << "it was killed, and nothing went well since";
  EXPECT_EQ(open_failures(*notes.all(), clock.now()).size(), 1U);
  for (const int fd : {to_child[0], to_child[1], to_parent[0], to_parent[1]}) ::close(fd);
}

TEST_F(RunNotesTest, AKilledRunIsAFailure) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(notes.begin(kBackup) ? 0 : 1);
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_EQ(status, 0);
  EXPECT_TRUE(only().lost);
  EXPECT_TRUE(only().failed());
  ASSERT_TRUE(notes.begin(kBackup));
  EXPECT_FALSE(only().failed()) << "the next run is under way: it will tell";
  ASSERT_TRUE(notes.end(kBackup, 0, "", ""));
  EXPECT_FALSE(only().failed());
}

TEST_F(RunNotesTest, ANoteThatIsDamagedIsNamedAndReplaced) {
  ASSERT_TRUE(notes.end(kBackup, 0, "", ""));
  fs::path file;
  for (const auto& entry : fs::directory_iterator(place.path() / "runs")) file = entry.path();
  for (const std::string_view damage : {"", "{", "[]", "{\"verb\": 7}", "{\"verb\": \"\", \"exit\": -1}"}) {
    ASSERT_TRUE(write_file_durably(file, as_bytes(damage), 0600));
    std::vector<std::string> unreadable;
    EXPECT_TRUE(notes.all(&unreadable)->empty());
    EXPECT_EQ(unreadable, std::vector<std::string>{file.string()});
  }
  ASSERT_TRUE(notes.end(kBackup, 9, "refused", ""));
  EXPECT_EQ(only().exit, 9);
}

TEST_F(RunNotesTest, NamesFromOutsideStayInTheDirectory) {
  ASSERT_TRUE(notes.end({"backup logical", "main", "../../etc/passwd"}, 9, "no such database\xFF", ""));
  EXPECT_EQ(only().key.part, "../../etc/passwd");
  EXPECT_EQ(std::distance(fs::directory_iterator(place.path()), {}), 1);
}

TEST_F(RunNotesTest, ADismissedFailureIsNoNewsAndTheNextOneIs) {
  clock.sleep(1234567us);  // a moment that is no whole second
  ASSERT_TRUE(notes.end(kBackup, 9, "refused", ""));
  EXPECT_EQ(open_failures({only()}, clock.now()).size(), 1U);
  EXPECT_TRUE(*notes.dismiss(kBackup));
  EXPECT_TRUE(open_failures({only()}, clock.now()).empty());
  EXPECT_EQ(only().exit, 9) << "it did fail";
  ASSERT_TRUE(notes.begin(kBackup));
  EXPECT_TRUE(open_failures({only()}, clock.now()).empty()) << "that a new run goes on is no failure";
  clock.sleep(1min);
  ASSERT_TRUE(notes.end(kBackup, 9, "refused", ""));
  EXPECT_EQ(open_failures({only()}, clock.now()).size(), 1U);
}

TEST_F(RunNotesTest, WhatDidNotFailCannotBeDismissed) {
  EXPECT_FALSE(*notes.dismiss(kBackup));
  ASSERT_TRUE(notes.end(kBackup, 0, "", ""));
  EXPECT_FALSE(*notes.dismiss(kBackup));
  clock.sleep(1min);
  ASSERT_TRUE(notes.end(kBackup, 9, "refused", ""));
  EXPECT_EQ(open_failures({only()}, clock.now()).size(), 1U);
}

TEST_F(RunNotesTest, AKilledRunIsDismissedUntilTheNextIsKilled) {
  const auto killed = [&] {
    const auto child = ::fork();
    if (child == 0) ::_exit(notes.begin(kBackup) ? 0 : 1);
    int status = 1;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
  };
  killed();
  ASSERT_TRUE(only().lost);
  EXPECT_TRUE(*notes.dismiss(kBackup));
  EXPECT_TRUE(open_failures({only()}, clock.now()).empty());
  clock.sleep(1min);
  killed();
  EXPECT_EQ(open_failures({only()}, clock.now()).size(), 1U);
}

TEST_F(RunNotesTest, ForgettingRemovesOne) {
  ASSERT_TRUE(notes.end(kBackup, 9, "refused", ""));
  EXPECT_EQ(*notes.forget({"verify", "main", ""}), 0U);
  EXPECT_EQ(*notes.forget(kBackup), 1U);
  EXPECT_TRUE(notes.all()->empty());
}

}  // namespace
}  // namespace pgmint::service

#include "wal/ahead_notes.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "wal/testing_wal.h"

namespace pgmint::wal {
namespace {

using namespace std::chrono_literals;
using std::chrono::nanoseconds;

struct AheadNotesTest : testing::WalTest {
  /// Five seconds after the files of the test were written, as far as notes can tell.
  MachineTime now{"boot-1", 1000s, machine_time()->since_epoch + 5s};
  bool stamping = true;
  fs::path notes_directory = directory.path() / "state" / "wal-ahead";
  fs::path file = data / "pg_wal" / "000000010000000000000007";
  const std::string name = "000000010000000000000007";
  const crypto::Digest mac{std::byte{7}, std::byte{8}};

  AheadNotesTest() {
    fs::create_directories(directory.path() / "state");
    write(file, testing::make_segment(1, 7));
  }
  AheadNotes::Surroundings surroundings() {
    return {[this]() -> std::optional<MachineTime> { return now; }, [this](const Fd&) { return stamping; }};
  }
  AheadNotes notes() { return {notes_directory, *cluster, identity, surroundings()}; }
  void pass(nanoseconds time) {
    now.since_boot += time;
    now.since_epoch += time;
  }
  static Fd opened(const fs::path& path) { return std::move(*open_file(path, O_RDONLY)); }
  /// As a run that pushes ahead. @return whether there is a note
  bool note(const std::function<void()>& meanwhile = [] {}) {
    const auto fd = opened(file);
    const auto watch = notes().watch(fd);
    meanwhile();
    if (watch) notes().note(name, *watch, fd, mac);
    return fs::exists(note_file());
  }
  fs::path note_file() {
    return notes_directory / fmt::format("{}-{:016x}-{:08x}", cluster->id().hex(), identity.system_id, identity.incarnation.value()) / name;
  }
  bool recalls(const fs::path& path) {
    const auto recalled = notes().recall(name, opened(path));
    EXPECT_TRUE(!recalled || *recalled == mac);
    return recalled.has_value();
  }
  bool recalls() { return recalls(file); }
  static void set_mtime(const fs::path& path, const struct stat& like) {
    const timespec times[2] = {like.st_atim, like.st_mtim};
    ASSERT_EQ(::utimensat(AT_FDCWD, path.c_str(), times, 0), 0);
  }
  static struct stat stat_of(const fs::path& path) {
    struct stat info {};
    EXPECT_EQ(::stat(path.c_str(), &info), 0);
    return info;
  }
  void overwrite_in_place(std::uint8_t salt) {
    const auto fd = std::move(*open_file(file, O_WRONLY));
    ASSERT_TRUE(write_at(fd, testing::make_segment(1, 7, testing::kSystemId, salt), 0, "test"));
  }
};

TEST_F(AheadNotesTest, AnUnchangedFileIsRecalledUntilItIsForgotten) {
  EXPECT_FALSE(recalls());
  ASSERT_TRUE(note());
  pass(9min);
  EXPECT_TRUE(recalls());
  EXPECT_EQ(stat_of(note_file()).st_mode & 0777, 0600u);
  notes().forget(name);
  EXPECT_FALSE(recalls());
}

TEST_F(AheadNotesTest, AFileThatWasWrittenToIsRead) {
  ASSERT_TRUE(note());
  overwrite_in_place(5);
  EXPECT_FALSE(recalls());
}

/// mtime and size can be made to look as before; ctime cannot.
TEST_F(AheadNotesTest, AWriteWithItsTimePutBackIsNoticed) {
  const auto before = stat_of(file);
  ASSERT_TRUE(note());
  overwrite_in_place(5);
  set_mtime(file, before);
  EXPECT_EQ(stat_of(file).st_mtim.tv_nsec, before.st_mtim.tv_nsec);
  EXPECT_FALSE(recalls());
}

TEST_F(AheadNotesTest, ADirectoryRestoredWithItsTimesIsRead) {
  ASSERT_TRUE(note());
  const auto before = stat_of(file);
  fs::remove(file);
  write(file, testing::make_segment(1, 7));
  set_mtime(file, before);
  EXPECT_FALSE(recalls());
}

TEST_F(AheadNotesTest, ARecycledSegmentIsRead) {
  ASSERT_TRUE(note());
  const auto elsewhere = data / "pg_wal" / "000000010000000000000009";
  fs::rename(file, elsewhere);
  EXPECT_FALSE(recalls(elsewhere));
  fs::rename(elsewhere, file);  // the same inode under the same name, with nothing written: still a change
  EXPECT_FALSE(recalls());
}

TEST_F(AheadNotesTest, AnotherFileUnderTheNameIsRead) {
  ASSERT_TRUE(note());
  const auto copy = data / "copy";
  fs::copy_file(file, copy);
  set_mtime(copy, stat_of(file));
  EXPECT_FALSE(recalls(copy));
  EXPECT_TRUE(recalls());
}

TEST_F(AheadNotesTest, WhatChangesWhileItIsReadIsNotNoted) {
  EXPECT_FALSE(note([&] { overwrite_in_place(5); }));
  now.since_epoch += 5s;  // that write is old enough again
  EXPECT_FALSE(note([&] { now.since_epoch -= 2s; })) << "the clock was set";
  EXPECT_FALSE(note([&] { now.boot = "boot-2"; }));
  EXPECT_TRUE(note());
}

/// Kernels stamp with a clock that may stand still for some milliseconds: a write right after the look would leave no trace.
TEST_F(AheadNotesTest, WhatWasChangedAMomentAgoIsNotNoted) {
  const auto changed = stat_of(file).st_ctim;
  const auto ctime = std::chrono::seconds(changed.tv_sec) + nanoseconds(changed.tv_nsec);
  for (const auto age : {nanoseconds(0), nanoseconds(1ms), nanoseconds(1999ms), nanoseconds(-5s), nanoseconds(-24h)}) {
    now.since_epoch = ctime + age;
    EXPECT_FALSE(note()) << age.count();
  }
  now.since_epoch = ctime + 2s;
  EXPECT_TRUE(note());
}

TEST_F(AheadNotesTest, AClockThatWasSetVoidsNotes) {
  ASSERT_TRUE(note());
  const auto then = now;
  for (const auto step : {nanoseconds(-24h), nanoseconds(-1001ms), nanoseconds(1001ms), nanoseconds(24h)}) {
    now = then;
    pass(10s);
    now.since_epoch += step;
    EXPECT_FALSE(recalls()) << step.count();
  }
  now = then;
  pass(10s);
  now.since_epoch += 500ms;  // slewing
  EXPECT_TRUE(recalls());
}

TEST_F(AheadNotesTest, NotesDoNotOutliveTheBootNorTheirTime) {
  ASSERT_TRUE(note());
  const auto then = now;
  now.boot = "boot-2";
  EXPECT_FALSE(recalls());
  now.boot = "";
  EXPECT_FALSE(recalls());
  now = then;
  pass(10min + 1ns);
  EXPECT_FALSE(recalls());
  now = then;
  pass(-1ns);
  EXPECT_FALSE(recalls());
  now = then;
  EXPECT_TRUE(recalls());
}

TEST_F(AheadNotesTest, FileSystemsWhoseStampsAreNotOursAreNotTrusted) {
  stamping = false;
  EXPECT_FALSE(note());
  stamping = true;
  ASSERT_TRUE(note());
  stamping = false;
  EXPECT_FALSE(recalls());
  const auto proc = opened("/proc/self/status");
  EXPECT_FALSE(stamps_changes(proc));
}

TEST_F(AheadNotesTest, AMachineThatDoesNotTellTheTimeNotesNothing) {
  ASSERT_TRUE(note());
  auto silent = surroundings();
  silent.time = []() -> std::optional<MachineTime> { return std::nullopt; };
  const AheadNotes blind(notes_directory, *cluster, identity, silent);
  EXPECT_FALSE(blind.watch(opened(file)));
  EXPECT_FALSE(blind.recall(name, opened(file)));
}

TEST_F(AheadNotesTest, ANoteThatWasChangedByAByteIsNone) {
  ASSERT_TRUE(note());
  const auto good = content(note_file());
  for (std::size_t i = 0; i < good.size(); ++i) {
    auto bad = good;
    bad[i] ^= static_cast<std::byte>(1u << (i % 8));
    write(note_file(), bad);
    EXPECT_FALSE(recalls()) << i;
  }
  for (std::size_t length : {std::size_t{0}, good.size() / 2, good.size() - 1}) {
    write(note_file(), ByteView(good).first(length));
    EXPECT_FALSE(recalls()) << length;
  }
  auto longer = good;
  longer.push_back({});
  write(note_file(), longer);
  EXPECT_FALSE(recalls());
  write(note_file(), good);
  EXPECT_TRUE(recalls());
}

TEST_F(AheadNotesTest, ANoteHoldsForItsNameClusterIncarnationAndRepositoryOnly) {
  ASSERT_TRUE(note());
  const auto good = content(note_file());
  const auto note_of = [&](const repository::Cluster& of, const repository::WalIdentity& who) {
    return notes_directory / fmt::format("{}-{:016x}-{:08x}", of.id().hex(), who.system_id, who.incarnation.value());
  };
  const auto recalled_by = [&](const repository::Cluster& of, const repository::WalIdentity& who, const std::string& as) {
    fs::create_directories(note_of(of, who));
    write(note_of(of, who) / as, good);
    return AheadNotes(notes_directory, of, who, surroundings()).recall(as, opened(file)).has_value();
  };
  EXPECT_TRUE(recalled_by(*cluster, identity, name));
  EXPECT_FALSE(recalled_by(*cluster, identity, "000000010000000000000008"));
  EXPECT_FALSE(recalled_by(*cluster, {testing::kSystemId, repository::Incarnation(2)}, name));
  EXPECT_FALSE(recalled_by(*cluster, {testing::kSystemId + 1, repository::Incarnation(1)}, name));
  const auto other = std::move(*repository->create_cluster("other", testing::kSystemId + 1));
  EXPECT_FALSE(recalled_by(*other, identity, name));
}

TEST_F(AheadNotesTest, WithoutADirectoryThereAreNoNotes) {
  const AheadNotes none({}, *cluster, identity, surroundings());
  EXPECT_FALSE(none.watch(opened(file)));
  EXPECT_FALSE(none.recall(name, opened(file)));
  none.forget(name);
  none.sweep();
}

TEST_F(AheadNotesTest, OldNotesAreSweptAway) {
  ASSERT_TRUE(note());
  notes().sweep();
  EXPECT_TRUE(fs::exists(note_file()));
  auto old = stat_of(note_file());
  old.st_mtim.tv_sec -= 11 * 60;
  set_mtime(note_file(), old);
  notes().sweep();
  EXPECT_FALSE(fs::exists(note_file()));
}

TEST(MachineTime, TellsOneBootAndTimesThatRunTogether) {
  const auto one = machine_time();
  const auto other = machine_time();
  ASSERT_TRUE(one && other);
  EXPECT_EQ(one->boot, other->boot);
  EXPECT_GE(other->since_boot, one->since_boot);
}

}  // namespace
}  // namespace pgmint::wal

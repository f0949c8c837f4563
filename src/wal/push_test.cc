#include "storage/forwarding_store.h"
#include "wal/push.h"

#include "postgres/wal_summary.h"
#include "repository/layout.h"
#include "wal/testing_wal.h"

namespace pgmint::wal {
namespace {

using repository::WalPut;
using testing::kSegmentSize;
using testing::kSystemId;
using testing::make_segment;
using testing::name_of;

struct PushTest : testing::WalTest {
  Result<PushReport> push_path(const std::string& path, unsigned ahead = 32) { return push(*cluster, identity, TRY(request_for(path, ahead))); }
  Result<PushRequest> request_for(const std::string& path, unsigned ahead = 32) {
    auto source = inspect(path, data);
    if (!source) return std::move(source).failure();
    PushRequest request;
    request.source = std::move(*source);
    request.ahead_max = ahead;
    request.clock = &clock;
    request.notes_directory = notes_directory;
    request.surroundings = {[this]() -> std::optional<MachineTime> { return now; }, [](const Fd&) { return true; }};
    return request;
  }
  /// Two segments, of which the second was stored ahead of its turn and is returned.
  std::string pushed_ahead() {
    add_ready(1, 7);
    const auto next = add_ready(1, 8);
    now.since_epoch = machine_time()->since_epoch + std::chrono::seconds(5);
    const auto report = push_path("pg_wal/" + name_of(1, 7));
    EXPECT_TRUE(report) << report.failure().describe();
    EXPECT_TRUE(stored(next));
    return next;
  }
  std::string object(const std::string& file_name) {
    return repository::wal_name(cluster->id(), kSystemId, identity.incarnation, file_name);
  }
  /// Absent in most tests: every run reads what it acknowledges.
  fs::path notes_directory;
  MachineTime now{"boot", std::chrono::seconds(1000), {}};
  bool stored(const std::string& file_name) {
    const auto info = archive().info(file_name);
    EXPECT_TRUE(info) << info.failure().describe();
    return info && *info;
  }
};

TEST_F(PushTest, StoresASegmentWithItsSummary) {
  const auto name = add_ready(1, 7);
  const auto report = push_path("pg_wal/" + name);
  ASSERT_TRUE(report) << report.failure().describe();
  EXPECT_EQ(report->outcome, WalPut::Stored);
  EXPECT_EQ(report->raw_bytes, kSegmentSize);
  EXPECT_EQ(**archive().get(name), make_segment(1, 7));
  const auto summary = archive().summary(name);
  ASSERT_TRUE(summary && *summary);
  const auto decoded = postgres::decode_summary(**summary);
  ASSERT_TRUE(decoded) << decoded.failure().describe();
  EXPECT_EQ(decoded->system_identifier.value(), kSystemId);
  EXPECT_EQ(decoded->segment.value(), 7u);
}

TEST_F(PushTest, TakesAbsolutePathsToo) {
  const auto name = add_ready(1, 7);
  const auto report = push_path((data / "pg_wal" / name).string());
  ASSERT_TRUE(report) << report.failure().describe();
  EXPECT_TRUE(stored(name));
}

TEST_F(PushTest, TheSameAgainIsSuccessAndOtherContentIsRefused) {
  const auto name = add_ready(1, 7);
  ASSERT_TRUE(push_path("pg_wal/" + name));
  const auto again = push_path("pg_wal/" + name);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->outcome, WalPut::Duplicate);
  write(data / "pg_wal" / name, make_segment(1, 7, kSystemId, 9));
  const auto conflict = push_path("pg_wal/" + name);
  ASSERT_FALSE(conflict);
  EXPECT_EQ(conflict.failure().code(), Errc::Corruption);
  EXPECT_EQ(push_exit_code(conflict.failure()), 8);
  EXPECT_EQ(**archive().get(name), make_segment(1, 7));
}

TEST_F(PushTest, AnotherClustersSegmentIsRefused) {
  write(data / "pg_wal" / name_of(1, 7), make_segment(1, 7, kSystemId + 1));
  const auto report = push_path("pg_wal/" + name_of(1, 7));
  ASSERT_FALSE(report);
  EXPECT_EQ(report.failure().code(), Errc::Precondition);
  EXPECT_NE(report.failure().message().find(std::to_string(kSystemId + 1)), std::string::npos);
  EXPECT_FALSE(stored(name_of(1, 7)));
}

TEST_F(PushTest, ASegmentThatIsNotThisServersIsRefused) {
  write_control(kSystemId + 1);
  add_ready(1, 7);
  const auto report = push_path("pg_wal/" + name_of(1, 7));
  ASSERT_FALSE(report);
  EXPECT_EQ(report.failure().code(), Errc::Precondition);
}

TEST_F(PushTest, ASegmentMustBeWhatItsNameSays) {
  const auto name = name_of(1, 7);
  const auto refused = [&](ByteView bytes) {
    write(data / "pg_wal" / name, bytes);
    const auto report = push_path("pg_wal/" + name);
    return !report && (report.failure().code() == Errc::Precondition || report.failure().code() == Errc::Corruption);
  };
  EXPECT_TRUE(refused(make_segment(1, 8)));   // another address
  EXPECT_TRUE(refused(make_segment(2, 7)));   // a later timeline than the name's
  EXPECT_TRUE(refused(ByteView(make_segment(1, 7)).first(kSegmentSize / 2)));
  EXPECT_TRUE(refused(ByteView(make_segment(1, 7)).first(10)));
  EXPECT_TRUE(refused({}));
  EXPECT_TRUE(refused(Bytes(kSegmentSize)));
  auto longer = make_segment(1, 7);
  longer.resize(longer.size() + 8192);
  EXPECT_TRUE(refused(longer));
  EXPECT_FALSE(stored(name));
}

TEST_F(PushTest, NamesThatAreNotWalAreAUsageError) {
  write(data / "pg_wal" / "notes.txt", {});
  EXPECT_EQ(push_path("pg_wal/notes.txt").failure().code(), Errc::Usage);
  EXPECT_EQ(push_path("pg_wal/" + name_of(1, 7)).failure().code(), Errc::NotFound);
}

TEST_F(PushTest, PartialHistoryAndBackupFilesGoUnderTheirOwnNames) {
  write_control();
  const auto partial = name_of(1, 7) + ".partial";
  write(data / "pg_wal" / partial, make_segment(1, 7));
  write(data / "pg_wal" / "00000002.history", as_bytes("1\t0/780000\treason\n"));
  // pg_control says 16 MiB, and so must this name.
  write(data / "pg_wal" / "000000010000000000000007.00000028.backup", as_bytes("START WAL LOCATION: 0/7000028"));
  for (const auto& name : {partial, std::string("00000002.history"), std::string("000000010000000000000007.00000028.backup")}) {
    const auto report = push_path("pg_wal/" + name);
    ASSERT_TRUE(report) << report.failure().describe();
    EXPECT_TRUE(stored(name));
  }
  EXPECT_FALSE(stored(name_of(1, 7)));
  EXPECT_FALSE(*archive().summary(partial));
}

TEST_F(PushTest, AHistoryFileNeedsToKnowWhoseItIs) {
  write(data / "pg_wal" / "00000002.history", as_bytes("1\t0/780000\treason\n"));
  EXPECT_EQ(push_path("pg_wal/00000002.history").failure().code(), Errc::Precondition);
  write_control(kSystemId + 1);
  EXPECT_EQ(push_path("pg_wal/00000002.history").failure().code(), Errc::Precondition);
}

TEST_F(PushTest, StoresReadySegmentsAheadAndLeavesTheirStatusAlone) {
  for (std::uint64_t s = 7; s < 17; ++s) add_ready(1, s);
  const auto report = push_path("pg_wal/" + name_of(1, 7), 6);
  ASSERT_TRUE(report) << report.failure().describe();
  EXPECT_EQ(report->ahead_stored, 6u);
  EXPECT_EQ(report->ahead_failed, 0u);
  for (std::uint64_t s = 7; s < 17; ++s) {
    EXPECT_EQ(stored(name_of(1, s)), s < 14) << s;
    EXPECT_TRUE(fs::exists(data / "pg_wal" / "archive_status" / (name_of(1, s) + ".ready"))) << s;
  }
  // Their own turn finds them stored, compares, and pushes nothing.
  const auto own = push_path("pg_wal/" + name_of(1, 8));
  ASSERT_TRUE(own);
  EXPECT_EQ(own->outcome, WalPut::Duplicate);
  EXPECT_EQ(own->ahead_stored, 0u);
  EXPECT_FALSE(stored(name_of(1, 14)));
}

TEST_F(PushTest, WhatWasPushedAheadIsComparedBeforeItIsAcknowledged) {
  add_ready(1, 7);
  const auto next = add_ready(1, 8);
  ASSERT_TRUE(push_path("pg_wal/" + name_of(1, 7)));
  ASSERT_TRUE(stored(next));
  write(data / "pg_wal" / next, make_segment(1, 8, kSystemId, 5));
  const auto own = push_path("pg_wal/" + next);
  ASSERT_FALSE(own);
  EXPECT_EQ(own.failure().code(), Errc::Corruption);
}

TEST_F(PushTest, WhatWasPushedAheadAndDidNotChangeIsNotReadAgain) {
  notes_directory = directory.path() / "notes";
  const auto next = pushed_ahead();
  const auto own = push_path("pg_wal/" + next);
  ASSERT_TRUE(own) << own.failure().describe();
  EXPECT_EQ(own->outcome, WalPut::Duplicate);
  EXPECT_TRUE(own->recalled);
  EXPECT_EQ(own->ahead_stored, 0u);
  const auto again = push_path("pg_wal/" + next);  // the note served once
  ASSERT_TRUE(again);
  EXPECT_EQ(again->outcome, WalPut::Duplicate);
  EXPECT_FALSE(again->recalled);
}

TEST_F(PushTest, WhatChangedSinceItWasPushedAheadIsReadAndRefused) {
  notes_directory = directory.path() / "notes";
  const auto next = pushed_ahead();
  write(data / "pg_wal" / next, make_segment(1, 8, kSystemId, 5));
  const auto own = push_path("pg_wal/" + next);
  ASSERT_FALSE(own);
  EXPECT_EQ(own.failure().code(), Errc::Corruption);
}

/// The same repository, as one that is far away.
struct FarPushTest : PushTest {
  FarPushTest() {
    notes_directory = directory.path() / "notes";
    now.since_epoch = machine_time()->since_epoch + std::chrono::seconds(5);
    repository::Unlock secret;
    secret.key = crypto::Key256::generate(random);
    PGMINT_ASSERT(repository->add_slot(secret, repository::Role::Root, "far", nullptr));
    reopen(memory, std::move(secret));
  }
  /// @param over  in the place of `memory`
  void reopen(storage::BlobStore& over, repository::Unlock secret) {
    std::vector<repository::Unlock> unlocks;
    unlocks.push_back(std::move(secret));
    far = std::move(*repository::Repository::open({over, clock, random, *seen, "tester@host", "test", nullptr, 8}, std::move(unlocks)));
    cluster = std::move(*far->open_cluster(cluster->id()));
  }
  bool was_ahead(const std::string& name) {
    const auto request = request_for("pg_wal/" + name);
    EXPECT_TRUE(request);
    const auto known = was_stored_ahead(*cluster, identity, *request);
    EXPECT_TRUE(known) << known.failure().describe();
    return known && *known;
  }
  /// The cluster, through a store that does something of its own, over what `memory` holds now.
  template <class Store>
  std::unique_ptr<Store> reopen_over_a_copy() {
    repository::Unlock secret;
    secret.key = crypto::Key256::generate(random);
    PGMINT_ASSERT(repository->add_slot(secret, repository::Role::Root, "copy", nullptr));
    auto copy = storage::make_memory_store();
    copy->restore(memory.snapshot());
    auto over = std::make_unique<Store>(std::move(copy));
    reopen(*over, std::move(secret));
    return over;
  }
  std::unique_ptr<repository::Repository> far;
};

TEST_F(FarPushTest, WhatWasStoredAheadAndListedIsAcknowledgedWithoutAQuestion) {
  const auto first = add_ready(1, 7), next = add_ready(1, 8), changed = add_ready(1, 9);
  ASSERT_TRUE(push_path("pg_wal/" + first));
  write(data / "pg_wal" / changed, make_segment(1, 9, kSystemId, 5));
  EXPECT_FALSE(was_ahead(changed)) << "the file is another one now";
  EXPECT_TRUE(was_ahead(next));
  EXPECT_FALSE(was_ahead(next)) << "a note serves once";
  EXPECT_FALSE(was_ahead(first)) << "of what was pushed in its own turn there is none";
}

TEST_F(FarPushTest, ANoteOfWhatNoListingHasShownIsForgotten) {
  const auto first = add_ready(1, 7), next = add_ready(1, 8), lost = add_ready(1, 9);
  // A store that loses what it said it had stored.
  struct Losing final : storage::ForwardingStore {
    using ForwardingStore::ForwardingStore;
    std::string loses;
    Result<storage::Created> create(const std::string& name, ByteView data) override {
      if (name.ends_with(loses)) return storage::Created::Yes;
      return ForwardingStore::create(name, data);
    }
  };
  const auto losing = reopen_over_a_copy<Losing>();
  losing->loses = lost;
  ASSERT_TRUE(push_path("pg_wal/" + first));
  EXPECT_TRUE(was_ahead(next));
  EXPECT_FALSE(was_ahead(lost));
}

/// Counts questions for single objects of WAL, and can leave an object out of listings.
struct AskedStore final : storage::ForwardingStore {
  using ForwardingStore::ForwardingStore;
  std::atomic<int> count{0};
  std::string hidden = "none";
  bool fails_to_list = false;

  Status read_range(const std::string& name, std::uint64_t offset, MutableByteView out) override {
    note(name);
    return ForwardingStore::read_range(name, offset, out);
  }
  Result<std::optional<Bytes>> read(const std::string& name, std::uint64_t limit) override {
    note(name);
    return ForwardingStore::read(name, limit);
  }
  Result<std::optional<storage::BlobInfo>> stat(const std::string& name) override {
    note(name);
    return ForwardingStore::stat(name);
  }
  Status list(const std::string& prefix, const std::string& after, const std::function<Status(const storage::BlobInfo&)>& visit) override {
    if (fails_to_list) return Error(Errc::Storage, "no list today");
    return ForwardingStore::list(prefix, after, [&](const storage::BlobInfo& blob) { return blob.name.ends_with(hidden) ? ok() : visit(blob); });
  }

 private:
  void note(const std::string& name) {
    if (name.find("wal/") != std::string::npos) ++count;
  }
};

TEST_F(FarPushTest, OneListingTellsWhichOfTheWaitingAreStored) {
  const auto first = add_ready(1, 7), there = add_ready(1, 8), next = add_ready(1, 9), last = add_ready(1, 10);
  ASSERT_TRUE(push_path("pg_wal/" + there, 0));
  const auto asked = reopen_over_a_copy<AskedStore>();
  ASSERT_TRUE(asked->stat(object(there)));
  ASSERT_EQ(asked->count, 1) << "what counts the questions counts none";
  const auto report = push_path("pg_wal/" + first);
  ASSERT_TRUE(report) << report.failure().describe();
  EXPECT_EQ(report->ahead_stored, 2U);
  EXPECT_EQ(report->ahead_present, 1U);
  EXPECT_LE(asked->count, 2) << "for the one whose turn it is";
  EXPECT_EQ(**archive().get(last), make_segment(1, 10));
}

TEST_F(FarPushTest, WhereNothingCanBeListedEachIsAskedFor) {
  const auto first = add_ready(1, 7), there = add_ready(1, 8), next = add_ready(1, 9);
  ASSERT_TRUE(push_path("pg_wal/" + there, 0));
  const auto asked = reopen_over_a_copy<AskedStore>();
  asked->fails_to_list = true;
  const auto report = push_path("pg_wal/" + first);
  ASSERT_TRUE(report) << report.failure().describe();
  EXPECT_EQ(report->ahead_stored, 1U);
  EXPECT_EQ(report->ahead_present, 1U);
}

TEST_F(FarPushTest, WhatTheListingDidNotShowIsCompared) {
  const auto first = add_ready(1, 7), next = add_ready(1, 8);
  ASSERT_TRUE(push_path("pg_wal/" + next, 0));
  const auto asked = reopen_over_a_copy<AskedStore>();
  asked->hidden = next;
  const auto report = push_path("pg_wal/" + first);
  ASSERT_TRUE(report) << report.failure().describe();
  EXPECT_EQ(report->ahead_stored, 0U);
  EXPECT_EQ(report->ahead_present, 1U);
}

TEST_F(FarPushTest, WhatTheListingDidNotShowIsNeverReplaced) {
  const auto first = add_ready(1, 7), next = add_ready(1, 8);
  ASSERT_TRUE(push_path("pg_wal/" + next, 0));
  write(data / "pg_wal" / next, make_segment(1, 8, kSystemId, 9));
  const auto asked = reopen_over_a_copy<AskedStore>();
  asked->hidden = next;
  const auto report = push_path("pg_wal/" + first);
  ASSERT_TRUE(report) << report.failure().describe();
  EXPECT_EQ(report->ahead_failed, 1U);
  EXPECT_EQ(**archive().get(next), make_segment(1, 8));
  EXPECT_FALSE(push_path("pg_wal/" + next)) << "in its own turn it fails loudly";
}

TEST_F(PushTest, ANoteDoesNotStandForAnObjectThatTheRepositoryLost) {
  notes_directory = directory.path() / "notes";
  const auto next = pushed_ahead();
  ASSERT_TRUE(memory.remove(object(next)));
  const auto own = push_path("pg_wal/" + next);
  ASSERT_TRUE(own) << own.failure().describe();
  EXPECT_EQ(own->outcome, WalPut::Stored);
  EXPECT_FALSE(own->recalled);
  EXPECT_EQ(**archive().get(next), make_segment(1, 8));
}

TEST_F(PushTest, ANoteDoesNotStandForAnotherObjectUnderTheName) {
  notes_directory = directory.path() / "notes";
  const auto next = pushed_ahead();
  ASSERT_TRUE(memory.remove(object(next)));
  ASSERT_TRUE(archive().put(next, repository::WalContent::Segment, kSegmentSize, make_segment(1, 8, kSystemId, 9), {}));
  const auto own = push_path("pg_wal/" + next);
  ASSERT_FALSE(own);
  EXPECT_EQ(own.failure().code(), Errc::Corruption);
}

TEST_F(PushTest, ANoteDoesNotStandForADamagedOrShortenedObject) {
  notes_directory = directory.path() / "notes";
  const auto next = pushed_ahead();
  const auto good = *memory.snapshot().at(object(next));
  auto note = fs::path();
  for (const auto& entry : fs::recursive_directory_iterator(notes_directory))
    if (entry.path().filename() == next) note = entry.path();
  const auto noted = content(note);
  ASSERT_FALSE(noted.empty());
  auto bad = good;
  bad[100] ^= std::byte{1};
  auto shorter = good;
  shorter.pop_back();
  for (const auto& damaged : {bad, shorter}) {
    memory.replace(object(next), damaged);
    write(note, noted);
    const auto own = push_path("pg_wal/" + next);
    ASSERT_FALSE(own);
    EXPECT_EQ(own.failure().code(), Errc::Corruption);
  }
  memory.replace(object(next), good);
  const auto own = push_path("pg_wal/" + next);
  ASSERT_TRUE(own);
  EXPECT_TRUE(own->recalled);
}

TEST_F(PushTest, ANoteOfOneRepositoryDoesNotStandForAnother) {
  notes_directory = directory.path() / "notes";
  const auto next = pushed_ahead();
  memory.restore({});
  std::vector<repository::Repository::Slot> slots(1);
  slots[0].unlock.key = crypto::Key256::generate(random);
  cluster.reset();
  repository = std::move(*repository::Repository::create(environment(), std::move(slots)));
  cluster = std::move(*repository->create_cluster("main", kSystemId));
  const auto own = push_path("pg_wal/" + next, 0);
  ASSERT_TRUE(own) << own.failure().describe();
  EXPECT_EQ(own->outcome, WalPut::Stored);
  EXPECT_TRUE(stored(next));
}

TEST_F(PushTest, WhatIsStillYoungIsReadAgain) {
  notes_directory = directory.path() / "notes";
  add_ready(1, 7);
  const auto next = add_ready(1, 8);
  now.since_epoch = machine_time()->since_epoch + std::chrono::seconds(1);
  ASSERT_TRUE(push_path("pg_wal/" + name_of(1, 7)));
  const auto own = push_path("pg_wal/" + next);
  ASSERT_TRUE(own);
  EXPECT_EQ(own->outcome, WalPut::Duplicate);
  EXPECT_FALSE(own->recalled);
}

TEST_F(PushTest, WhatIsStoredAheadAlreadyIsLeftToItsOwnRun) {
  const auto next = add_ready(1, 8);
  ASSERT_TRUE(push_path("pg_wal/" + next, 0));
  add_ready(1, 7);
  write(data / "pg_wal" / next, make_segment(1, 8, kSystemId, 5));  // its own run would refuse it
  const auto report = push_path("pg_wal/" + name_of(1, 7));
  ASSERT_TRUE(report) << report.failure().describe();
  EXPECT_EQ(report->ahead_present, 1u);
  EXPECT_EQ(report->ahead_failed, 0u);
}

TEST_F(PushTest, ABadSegmentAheadDoesNotFailTheRequest) {
  add_ready(1, 7);
  write(data / "pg_wal" / name_of(1, 8), make_segment(1, 8, kSystemId + 1));
  write(data / "pg_wal" / "archive_status" / (name_of(1, 8) + ".ready"), {});
  const auto report = push_path("pg_wal/" + name_of(1, 7));
  ASSERT_TRUE(report) << report.failure().describe();
  EXPECT_EQ(report->ahead_failed, 1u);
  EXPECT_FALSE(stored(name_of(1, 8)));
}

TEST_F(PushTest, AReadyFileWithoutItsSegmentIsPassedOver) {
  add_ready(1, 7);
  write(data / "pg_wal" / "archive_status" / (name_of(1, 8) + ".ready"), {});
  add_ready(1, 9);
  const auto report = push_path("pg_wal/" + name_of(1, 7));
  ASSERT_TRUE(report);
  EXPECT_EQ(report->ahead_failed, 0u);
  EXPECT_TRUE(stored(name_of(1, 9)));
}

TEST_F(PushTest, NothingIsBegunAheadOnceItsTimeIsOver) {
  add_ready(1, 7);
  add_ready(1, 8);
  auto source = inspect("pg_wal/" + name_of(1, 7), data);
  ASSERT_TRUE(source);
  PushRequest request;
  request.source = *source;
  request.ahead_time = std::chrono::milliseconds(0);
  request.clock = &clock;
  const auto report = push(*cluster, identity, request);
  ASSERT_TRUE(report);
  EXPECT_EQ(report->ahead_stored, 0u);
  EXPECT_TRUE(stored(name_of(1, 7)));
  EXPECT_FALSE(stored(name_of(1, 8)));
}

TEST_F(PushTest, ASegmentBringsAlongItsTimelinesHistory) {
  write(data / "pg_wal" / "00000002.history", as_bytes("1\t0/780000\treason\n"));
  const auto name = add_ready(2, 7);
  ASSERT_TRUE(push_path("pg_wal/" + name));
  EXPECT_TRUE(stored("00000002.history"));
}

TEST_F(PushTest, CancelledPushesEndWithinTheArchiversRange) {
  for (int code = 0; code <= static_cast<int>(Errc::Cancelled); ++code) {
    const int exit = push_exit_code(Error(static_cast<Errc>(code), "x"));
    EXPECT_GE(exit, 1) << code;
    EXPECT_LE(exit, 125) << code;
  }
}

}  // namespace
}  // namespace pgmint::wal

#include "repository/log.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include "base/file.h"
#include "repository/layout.h"
#include "repository/log_fixture.h"
#include "storage/cache_store.h"
#include "storage/fault_store.h"
#include "storage/memory_store.h"

namespace pgmint::repository {
namespace {

using storage::Fault;
using storage::Operation;

/// A store that denies having some names for a number of reads, as an eventually consistent one would.
class ForgetfulStore final : public storage::ForwardingStore {
 public:
  explicit ForgetfulStore(std::unique_ptr<BlobStore> inner) : ForwardingStore(std::move(inner)) {}
  std::string hidden;
  int reads_hidden = 0;
  Result<std::optional<Bytes>> read(const std::string& name, std::uint64_t limit) override {
    if (name == hidden && reads_hidden > 0) {
      --reads_hidden;
      return std::optional<Bytes>();
    }
    return ForwardingStore::read(name, limit);
  }
};

/// Near and far: read slot by slot, and as a listing says, many at a time.
class LogTest : public testing::TestWithParam<unsigned> {
 protected:
  LogTest() {
    auto memory = storage::make_memory_store();
    memory_ = memory.get();
    auto forgetful = std::make_unique<ForgetfulStore>(std::move(memory));
    forgetful_ = forgetful.get();
    store_ = std::make_unique<storage::FaultStore>(std::move(forgetful), clock);
  }
  Log open(SeenMemory& seen) {
    return Log({*store_, context, key, root.public_key(), clock, random, seen, GetParam()});
  }
  Log open() { return open(*no_memory_); }
  Actor actor(const crypto::SigningKey& signer) { return {&signer, "test@host", "test"}; }
  Actor actor() { return actor(root); }
  GenesisEntry genesis() {
    GenesisEntry e;
    e.cluster_name = "main";
    e.system_id = 7;
    e.root_key = root.public_key();
    return e;
  }
  Log created() {
    auto log = open();
    EXPECT_TRUE(log.create(actor(), genesis()));
    return log;
  }
  BeginEntry begin(unsigned session) {
    BeginEntry e;
    e.session = session_id(session);
    e.lease_until = clock.now() + std::chrono::hours(24);
    return e;
  }
  std::string slot(std::uint64_t seq, std::uint32_t generation = 0) {
    return log_entry_name(context.cluster, generation, seq);
  }
  std::size_t entries() { return storage::list_all(*memory_, log_prefix(context.cluster))->size(); }
  void add_fault(Fault::When when, Operation on, std::uint64_t times = 1, Errc code = Errc::Unknown) {
    Fault fault;
    fault.when = when;
    fault.code = code;
    fault.on = on;
    fault.times = times;
    store_->add(fault);
  }
  /// As a raw object in the next slot, signed by `signer`.
  void plant(const Log& log, EntryContent content, const crypto::SigningKey& signer, crypto::Digest previous) {
    LogEntry entry = next_entry(log.state(), std::move(content), signer.public_key(), clock.now());
    entry.previous = previous;
    memory_->replace(slot(entry.seq), encode_entry(entry, context, key, signer, random));
  }

  ManualClock clock{at_second(0)};
  SeededRandom random{7};
  RecordContext context{random.id<RepositoryId>(), random.id<ClusterId>()};
  crypto::Key256 key = crypto::Key256::generate(random);
  crypto::SigningKey root{crypto::Key256::generate(random)};
  crypto::SigningKey stranger{crypto::Key256::generate(random)};
  std::unique_ptr<SeenMemory> no_memory_ = make_no_memory();
  storage::MemoryStore* memory_;
  ForgetfulStore* forgetful_;
  std::unique_ptr<storage::FaultStore> store_;
};

TEST_P(LogTest, AnotherReaderSeesWhatWasAppended) {
  auto log = created();
  auto seq = log.append(actor(), begin(5));
  ASSERT_TRUE(seq) << seq.failure().describe();
  EXPECT_EQ(*seq, 1u);
  auto other = open();
  ASSERT_TRUE(other.refresh());
  EXPECT_TRUE(other.state().open_sessions().contains(session_id(5)));
  EXPECT_EQ(other.state().head(), log.state().head());
  EXPECT_EQ(other.state().cluster_name(), "main");
}

TEST_P(LogTest, ItsEndIsKnownWithoutReadingIt) {
  const bool far = GetParam() > 1;
  const auto ends_at = [&](const LogEnd& end) { return log_ends_at(*store_, context.cluster, end, far); };
  EXPECT_FALSE(*ends_at({})) << "there is no log";
  auto log = created();
  const auto first = LogEnd::of(log.state());
  EXPECT_TRUE(*ends_at(first));
  ASSERT_TRUE(log.append(actor(), begin(1)));
  EXPECT_FALSE(*ends_at(first)) << "an entry has come";
  const auto second = LogEnd::of(log.state());
  EXPECT_TRUE(*ends_at(second));
  auto changed = second;
  changed.head[3] ^= std::byte{1};
  EXPECT_EQ(*ends_at(changed), !far) << "another entry stands there, which is not read for this where each question is a quick one";
  const auto before = memory_->snapshot();
  ASSERT_TRUE(memory_->remove(slot(1)));
  EXPECT_FALSE(*ends_at(second)) << "the store went back";
  memory_->restore(before);
  ASSERT_TRUE(log.open_generation(actor(), genesis()));
  EXPECT_FALSE(*ends_at(second)) << "another generation has been opened";
  EXPECT_TRUE(*ends_at(LogEnd::of(log.state())));
}

TEST_P(LogTest, AnAppendAfterOthersHaveWrittenCountsAndIsValidInTheNewestState) {
  auto log = created();
  auto other = open();
  ASSERT_TRUE(other.refresh());
  ASSERT_TRUE(other.append(actor(), begin(1)));
  // What this one has read is older than that: its session is not known there yet.
  AbortEntry end;
  end.session = session_id(1);
  const auto ended = log.append(actor(), end);
  ASSERT_TRUE(ended) << ended.failure().describe();
  EXPECT_EQ(*ended, 2u);
  // And here it is open still.
  const auto again = other.append(actor(), end);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.failure().code(), Errc::Precondition);
  EXPECT_EQ(entries(), 3u);
}

TEST_P(LogTest, ALogIsCreatedOnce) {
  auto log = created();
  auto other = open();
  auto again = other.create(actor(), genesis());
  ASSERT_FALSE(again);
  EXPECT_EQ(again.failure().code(), Errc::Precondition);
}

TEST_P(LogTest, ALostRaceIsFoldedAndTriedInTheNextSlot) {
  auto a = created();
  auto b = open();
  ASSERT_TRUE(b.refresh());
  bool raced = false;
  const auto seq = a.append(actor(), [&](const LogState&) -> Result<EntryContent> {
    if (!std::exchange(raced, true)) {
      EXPECT_TRUE(b.append(actor(), begin(6)));
    }
    return begin(5);
  });
  ASSERT_TRUE(seq);
  EXPECT_EQ(*seq, 2u);
  EXPECT_EQ(a.state().open_sessions().size(), 2u);
}

TEST_P(LogTest, AnEntryIsValidatedAgainAfterALostRace) {
  auto a = created();
  ASSERT_TRUE(a.append(actor(), begin(5)));
  ASSERT_TRUE(a.append(actor(), snap_of(5, {})));
  auto b = open();
  bool raced = false;
  const auto forget = a.append(actor(), [&](const LogState&) -> Result<EntryContent> {
    if (!std::exchange(raced, true)) {
      EXPECT_TRUE(b.append(actor(), HoldEntry{session_id(5), "court order"}));
    }
    return ForgetEntry{session_id(5)};
  });
  ASSERT_FALSE(forget);
  EXPECT_EQ(forget.failure().code(), Errc::Precondition);
  EXPECT_TRUE(a.state().snapshots().contains(session_id(5)));
}

TEST_P(LogTest, APutThatWasReportedAsFailedAndIsThereIsSuccess) {
  auto log = created();
  add_fault(Fault::When::After, Operation::Create);
  const auto seq = log.append(actor(), begin(5));
  ASSERT_TRUE(seq);
  EXPECT_EQ(*seq, 1u);
  EXPECT_EQ(entries(), 2u);
}

TEST_P(LogTest, APutThatDidNotHappenIsTriedAgain) {
  auto log = created();
  add_fault(Fault::When::Before, Operation::Create, 2);
  const auto seq = log.append(actor(), begin(5));
  ASSERT_TRUE(seq);
  EXPECT_EQ(*seq, 1u);
}

TEST_P(LogTest, AnUncertainPutThatSomebodyElseWonIsALostRace) {
  auto a = created();
  auto b = open();
  ASSERT_TRUE(b.refresh());
  Fault fault;
  fault.on = Operation::Create;
  fault.code = Errc::Unknown;
  fault.times = 1;
  fault.then = [&] { EXPECT_TRUE(b.append(actor(), begin(6))); };
  store_->add(fault);
  const auto seq = a.append(actor(), begin(5));
  ASSERT_TRUE(seq);
  EXPECT_EQ(*seq, 2u);
}

TEST_P(LogTest, WhatCannotBeReadBackIsUnknown) {
  auto log = created();
  add_fault(Fault::When::After, Operation::Create);
  Fault fault;
  fault.on = Operation::Read;
  fault.skip = GetParam() > 1 ? 0 : 1;  // near, the empty slot is read first
  store_->add(fault);
  const auto seq = log.append(actor(), begin(5));
  ASSERT_FALSE(seq);
  EXPECT_EQ(seq.failure().code(), Errc::Unknown);
}

TEST_P(LogTest, ARefusalIsNotTriedAgain) {
  auto log = created();
  add_fault(Fault::When::Before, Operation::Create, ~0ull, Errc::Key);
  const auto before = clock.now();
  const auto seq = log.append(actor(), begin(5));
  ASSERT_FALSE(seq);
  EXPECT_EQ(seq.failure().code(), Errc::Key);
  EXPECT_EQ(clock.now(), before);
}

TEST_P(LogTest, ExistsThenNotFoundWaitsUntilItIsVisible) {
  auto a = created();
  ASSERT_TRUE(open().append(actor(), begin(6)));
  forgetful_->hidden = slot(1);
  forgetful_->reads_hidden = 6;
  const auto before = clock.now();
  const auto seq = a.append(actor(), begin(5));
  ASSERT_TRUE(seq) << seq.failure().describe();
  EXPECT_EQ(*seq, 2u);
  EXPECT_GT(clock.now(), before);
  EXPECT_EQ(entries(), 3u);
}

TEST_P(LogTest, ExistsThenNeverFoundIsUnknownAfterABoundedWait) {
  auto a = created();
  ASSERT_TRUE(open().append(actor(), begin(6)));
  forgetful_->hidden = slot(1);
  forgetful_->reads_hidden = 1'000'000;
  const auto before = clock.now();
  const auto seq = a.append(actor(), begin(5));
  ASSERT_FALSE(seq);
  EXPECT_EQ(seq.failure().code(), Errc::Unknown);
  EXPECT_LT(clock.now() - before, std::chrono::minutes(5));
  EXPECT_EQ(entries(), 2u);
}

TEST_P(LogTest, ATextThatIsTooLongIsCutAndTheLogGoesOn) {
  auto log = created();
  ASSERT_TRUE(log.append(actor(), AuditEntry{"event", std::string(5000, 'x')}));
  ASSERT_TRUE(log.append(actor(), AuditEntry{"after it", ""}));
  auto other = open();
  ASSERT_TRUE(other.refresh());
  EXPECT_TRUE(other.state().void_entries().empty());
  EXPECT_EQ(other.state().next_seq(), 3u);
}

TEST_P(LogTest, AnEntryThatNobodyCouldReadIsRefusedBeforeItIsWritten) {
  auto log = created();
  ASSERT_TRUE(log.append(actor(), begin(5)));
  SnapEntry snap;
  snap.session = session_id(5);
  snap.name = std::string(5000, 'x');  // names are never cut
  const auto seq = log.append(actor(), std::move(snap));
  ASSERT_FALSE(seq);
  EXPECT_EQ(seq.failure().code(), Errc::ResourceLimit) << seq.failure().describe();
  EXPECT_EQ(entries(), 2u);
}

// --- damage

TEST_P(LogTest, AGapIsDamage) {
  auto log = created();
  for (unsigned n = 5; n < 9; ++n) ASSERT_TRUE(log.append(actor(), begin(n)));
  ASSERT_TRUE(memory_->remove(slot(2)));
  const auto read = open().refresh();
  ASSERT_FALSE(read);
  EXPECT_EQ(read.failure().code(), Errc::Corruption);
  EXPECT_NE(read.failure().hint().find("rebuild-log"), std::string::npos);
}

TEST_P(LogTest, AMissingFirstEntryIsDamage) {
  auto log = created();
  ASSERT_TRUE(log.append(actor(), begin(5)));
  ASSERT_TRUE(memory_->remove(slot(0)));
  const auto read = open().refresh();
  ASSERT_FALSE(read);
  EXPECT_EQ(read.failure().code(), Errc::Corruption);
}

TEST_P(LogTest, AnEmptyLogBesideOtherObjectsIsDamageAndBesideKeysIsNew) {
  memory_->replace(keyring_name(context.cluster, Epoch(1)), Bytes(3));
  EXPECT_TRUE(open().refresh());
  memory_->replace(pack_name(context.cluster, pack_id(5, 0)), Bytes(3));
  const auto read = open().refresh();
  ASSERT_FALSE(read);
  EXPECT_EQ(read.failure().code(), Errc::Corruption);
}

TEST_P(LogTest, AnEntryThatWasChangedLaterIsDamageForWhoeverReadsOn) {
  auto log = created();
  ASSERT_TRUE(log.append(actor(), begin(5)));
  ASSERT_TRUE(log.append(actor(), snap_of(5, {pack(5, 0)})));
  ASSERT_TRUE(log.append(actor(), begin(6)));
  auto object = **memory_->read(slot(2), kLogEntryMax);
  object[200] ^= std::byte{1};
  memory_->replace(slot(2), object);
  // Void by itself; but then backup 5 would be an open session whose packs a collection deletes.
  const auto read = open().refresh();
  ASSERT_FALSE(read);
  EXPECT_EQ(read.failure().code(), Errc::Corruption);
}

TEST_P(LogTest, GarbageInASlotIsVoidAndTheLogGoesOn) {
  auto log = created();
  memory_->replace(slot(1), to_bytes(as_bytes("garbage")));
  const auto seq = log.append(actor(), begin(5));
  ASSERT_TRUE(seq);
  EXPECT_EQ(*seq, 2u);
  auto other = open();
  ASSERT_TRUE(other.refresh());
  ASSERT_EQ(other.state().void_entries().size(), 1u);
  EXPECT_EQ(other.state().void_entries()[0].seq, 1u);
  EXPECT_EQ(other.state().open_sessions().size(), 1u);
}

TEST_P(LogTest, AStrangersEntryIsVoid) {
  auto log = created();
  plant(log, begin(5), stranger, log.state().head());
  ASSERT_TRUE(log.refresh());
  EXPECT_TRUE(log.state().open_sessions().empty());
  EXPECT_EQ(log.state().void_entries().size(), 1u);
}

TEST_P(LogTest, AStrangersEntryOnAnotherChainIsVoidAndNoDamage) {
  auto log = created();
  plant(log, begin(5), stranger, crypto::Digest{});
  EXPECT_TRUE(log.refresh());
  EXPECT_EQ(log.state().void_entries().size(), 1u);
}

// --- what was seen before

class SeenTest : public LogTest {
 protected:
  SeenTest() {
    std::string pattern = (fs::temp_directory_path() / "pgmint-seen-XXXXXX").string();
    directory = ::mkdtemp(pattern.data());
    seen = make_seen_memory(directory / "state");
  }
  ~SeenTest() override { fs::remove_all(directory); }
  Result<std::optional<SeenMemory::Head>> remembered() { return seen->load(context.repository, context.cluster); }
  fs::path directory;
  std::unique_ptr<SeenMemory> seen;
};

TEST_P(SeenTest, RemembersTheNewestEntry) {
  EXPECT_FALSE(remembered()->has_value());
  auto log = open(*seen);
  ASSERT_TRUE(log.create(actor(), genesis()));
  ASSERT_TRUE(log.append(actor(), begin(5)));
  const auto head = **remembered();
  EXPECT_EQ(head.seq, 1u);
  EXPECT_EQ(head.hash, log.state().head());
  EXPECT_EQ(fs::status(directory / "state").permissions(), fs::perms::owner_all);
}

TEST_P(SeenTest, AStoreThatWentBackIsDamage) {
  auto log = open(*seen);
  ASSERT_TRUE(log.create(actor(), genesis()));
  const auto old = memory_->snapshot();
  ASSERT_TRUE(log.append(actor(), begin(5)));
  memory_->restore(old);
  const auto read = open(*seen).refresh();
  ASSERT_FALSE(read);
  EXPECT_EQ(read.failure().code(), Errc::Corruption);
  EXPECT_NE(read.failure().describe().find("went back"), std::string::npos);
}

TEST_P(SeenTest, AnEmptiedStoreIsDamage) {
  auto log = open(*seen);
  ASSERT_TRUE(log.create(actor(), genesis()));
  memory_->restore({});
  const auto read = open(*seen).refresh();
  ASSERT_FALSE(read);
  EXPECT_EQ(read.failure().code(), Errc::Corruption);
}

TEST_P(SeenTest, AnotherEntryInASeenSlotIsDamage) {
  auto log = open(*seen);
  ASSERT_TRUE(log.create(actor(), genesis()));
  const auto old = memory_->snapshot();
  ASSERT_TRUE(log.append(actor(), begin(5)));
  memory_->restore(old);
  ASSERT_TRUE(open().append(actor(), begin(6)));
  const auto read = open(*seen).refresh();
  ASSERT_FALSE(read);
  EXPECT_EQ(read.failure().code(), Errc::Corruption);
}

// The host has copies of all entries, and what it saw last fits them: only the store can say that it has another one now.
TEST_P(SeenTest, CopiesOnThisHostDoNotHideAStoreThatWentBack) {
  auto memory = storage::make_memory_store();
  auto& there = *memory;
  auto copies = storage::make_cache_store(std::move(memory), directory / "copies", {.keeps = is_small_and_final}, clock);
  const auto open_with_copies = [&] { return Log({*copies, context, key, root.public_key(), clock, random, *seen, 8}); };
  auto log = open_with_copies();
  ASSERT_TRUE(log.create(actor(), genesis()));
  const auto old = there.snapshot();
  ASSERT_TRUE(log.append(actor(), begin(5)));
  ASSERT_TRUE(open_with_copies().refresh());

  there.restore(old);
  auto shorter = open_with_copies().refresh();
  ASSERT_FALSE(shorter);
  EXPECT_EQ(shorter.failure().code(), Errc::Corruption);

  Log elsewhere({there, context, key, root.public_key(), clock, random, *no_memory_, GetParam()});
  ASSERT_TRUE(elsewhere.append(actor(), begin(6)));
  auto other = open_with_copies().refresh();
  ASSERT_FALSE(other);
  EXPECT_EQ(other.failure().code(), Errc::Corruption);
}

// Copies hide which entries the store has lost; those that a listing still covers are missed at once.
TEST_P(SeenTest, CopiesOnThisHostDoNotHideEntriesThatTheStoreLost) {
  auto memory = storage::make_memory_store();
  auto& there = *memory;
  auto copies = storage::make_cache_store(std::move(memory), directory / "copies", {.keeps = is_small_and_final}, clock);
  const auto open_with_copies = [&] { return Log({*copies, context, key, root.public_key(), clock, random, *seen, 8}); };
  auto log = open_with_copies();
  ASSERT_TRUE(log.create(actor(), genesis()));
  constexpr unsigned kEntries = 950;  // more than are listed each time
  for (unsigned i = 1; i < kEntries; ++i) ASSERT_TRUE(log.append(actor(), EntryContent(AuditEntry{"test", ""})));
  auto reader = open_with_copies();
  ASSERT_TRUE(reader.refresh());
  EXPECT_EQ(reader.state().next_seq(), kEntries);
  const auto whole = there.snapshot();
  for (const std::uint64_t lost : {kEntries - 1, kEntries - 2, kEntries - 500, 60u}) {
    ASSERT_TRUE(there.remove(slot(lost)));
    const auto read = open_with_copies().refresh();
    ASSERT_FALSE(read) << "entry " << lost;
    EXPECT_EQ(read.failure().code(), Errc::Corruption) << "entry " << lost;
    there.restore(whole);
  }
  EXPECT_TRUE(open_with_copies().refresh());
}

// Whoever goes on from what was read before must not write behind a hole that a refusal has just told of.
TEST_P(SeenTest, NothingIsBuiltOnALogThatWasRefused) {
  auto log = open(*seen);
  ASSERT_TRUE(log.create(actor(), genesis()));
  ASSERT_TRUE(log.append(actor(), begin(5)));
  ASSERT_TRUE(log.append(actor(), begin(6)));
  const auto whole = memory_->snapshot();
  memory_->replace(slot(3), Bytes(10));  // garbage behind the end, then a hole before it
  ASSERT_TRUE(memory_->remove(slot(2)));
  auto reader = open(*seen);
  ASSERT_FALSE(reader.refresh());
  EXPECT_FALSE(reader.take_position());
  const auto before = entries();
  EXPECT_FALSE(reader.append(actor(), begin(7)));
  EXPECT_EQ(entries(), before);
  memory_->restore(whole);
  EXPECT_TRUE(reader.append(actor(), begin(7)));
}

TEST_P(SeenTest, AnOlderReaderDoesNotTakeBackWhatANewerOneSaw) {
  auto log = open(*seen);
  ASSERT_TRUE(log.create(actor(), genesis()));
  ASSERT_TRUE(log.append(actor(), begin(5)));
  ASSERT_TRUE(seen->store(context.repository, context.cluster, {0, 0, {}}));
  EXPECT_EQ((**remembered()).seq, 1u);
}

TEST_P(SeenTest, ADamagedStateFileIsNamedWithTheCommandThatHelps) {
  auto log = open(*seen);
  ASSERT_TRUE(log.create(actor(), genesis()));
  const auto file = fs::directory_iterator(directory / "state")->path();
  ASSERT_TRUE(write_file_durably(file, as_bytes("PGMINT-SEEN-1 x"), 0600));
  const auto read = open(*seen).refresh();
  ASSERT_FALSE(read);
  EXPECT_NE(read.failure().hint().find(file.string()), std::string::npos);
}

// --- generations

TEST_P(LogTest, ANewGenerationReplacesTheLog) {
  auto log = created();
  ASSERT_TRUE(log.append(actor(), begin(5)));
  ASSERT_TRUE(log.append(actor(), snap_of(5, {pack(5, 0)})));
  auto next = genesis();
  next.snapshots = {snap_of(5, {pack(5, 0)})};
  next.previous_generation = log.state().head();
  auto opener = open();
  ASSERT_TRUE(opener.open_generation(actor(), next));
  EXPECT_EQ(opener.state().generation(), 1u);
  // A reader that was there before moves over.
  ASSERT_TRUE(log.refresh());
  EXPECT_EQ(log.state().generation(), 1u);
  EXPECT_EQ(log.state().snapshots().size(), 1u);
}

TEST_P(LogTest, ANewGenerationIsReadThoughTheOldOneHasAGap) {
  auto log = created();
  for (unsigned n = 5; n < 9; ++n) ASSERT_TRUE(log.append(actor(), begin(n)));
  ASSERT_TRUE(memory_->remove(slot(2)));
  auto opener = open();
  ASSERT_FALSE(opener.refresh());
  ASSERT_TRUE(opener.open_generation(actor(), genesis()));
  EXPECT_TRUE(open().refresh());
}

TEST_P(LogTest, OnlyARootInForceOpensAGeneration) {
  auto log = created();
  auto other = genesis();
  other.root_key = stranger.public_key();
  const auto opened = log.open_generation(actor(stranger), other);
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.failure().code(), Errc::Precondition);

  ASSERT_TRUE(log.append(actor(), EnrolEntry{stranger.public_key(), ~0ull, Role::Root, "new root"}));
  ASSERT_TRUE(log.append(actor(stranger), RevokeEntry{root.public_key()}));
  EXPECT_FALSE(log.open_generation(actor(), genesis())) << "the root that format names has been revoked";
  EXPECT_TRUE(log.open_generation(actor(stranger), other));
}

TEST_P(LogTest, AGenerationOpenedByAStrangerDoesNotCount) {
  auto log = created();
  LogState stage(1, {stranger.public_key()});
  auto forged = genesis();
  forged.root_key = stranger.public_key();
  const auto entry = next_entry(stage, forged, stranger.public_key(), clock.now());
  memory_->replace(slot(0, 1), encode_entry(entry, context, key, stranger, random));
  ASSERT_TRUE(log.refresh());
  EXPECT_EQ(log.state().generation(), 0u);
  EXPECT_TRUE(log.append(actor(), begin(5)));
}

TEST_P(LogTest, AnEntryWrittenWhileAGenerationIsOpenedIsValidatedInIt) {
  auto log = created();
  ASSERT_TRUE(log.append(actor(), begin(5)));
  auto opener = open();
  auto next = genesis();
  next.known_sessions = {session_id(5)};
  Fault fault;
  fault.on = Operation::Create;
  fault.when = Fault::When::Delay;
  fault.times = 1;
  fault.then = [&] { EXPECT_TRUE(opener.open_generation(actor(), next)); };
  store_->add(fault);
  // The entry lands in generation 0, which nobody reads any more: the backup must not be reported as done.
  const auto seq = log.append(actor(), snap_of(5, {pack(5, 0)}));
  ASSERT_FALSE(seq);
  EXPECT_EQ(seq.failure().code(), Errc::Precondition);
}

// --- reading all of it

TEST_P(LogTest, ForEachShowsVoidEntriesInTheirPlace) {
  auto log = created();
  plant(log, begin(5), stranger, log.state().head());
  ASSERT_TRUE(log.append(actor(), begin(6)));
  std::string seen;
  ASSERT_TRUE(log.for_each([&](std::uint64_t, const Result<LogEntry>& entry) -> Status {
    seen += entry ? std::string(entry_kind_name(kind_of(entry->content))) : "void";
    seen += ' ';
    return ok();
  }));
  EXPECT_EQ(seen, "GENESIS void BEGIN ");
}

TEST_P(LogTest, ForEachNoticesAnEntryThatWasDeletedMeanwhile) {
  auto log = created();
  for (unsigned n = 5; n < 9; ++n) ASSERT_TRUE(log.append(actor(), begin(n)));
  ASSERT_TRUE(memory_->remove(slot(2)));
  const auto read = log.for_each([](std::uint64_t, const Result<LogEntry>&) { return ok(); });
  ASSERT_FALSE(read);
  EXPECT_EQ(read.failure().code(), Errc::Corruption);
}

INSTANTIATE_TEST_SUITE_P(NearAndFar, LogTest, testing::Values(1u, 8u));
INSTANTIATE_TEST_SUITE_P(NearAndFar, SeenTest, testing::Values(1u, 8u));

}  // namespace
}  // namespace pgmint::repository

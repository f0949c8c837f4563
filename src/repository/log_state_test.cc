#include "repository/log_state.h"

#include <gtest/gtest.h>

#include "repository/log_fixture.h"

namespace pgmint::repository {
namespace {

/// Success, or the refusal of exactly this rule.
testing::AssertionResult refused_by(int rule, const Status& status) {
  if (status) return testing::AssertionFailure() << "accepted";
  const auto expected = "(log rule " + std::to_string(rule) + ")";
  if (status.failure().code() == Errc::Precondition && status.failure().message().ends_with(expected))
    return testing::AssertionSuccess();
  return testing::AssertionFailure() << status.failure().describe();
}
testing::AssertionResult accepted(const Status& status) {
  if (status) return testing::AssertionSuccess();
  return testing::AssertionFailure() << status.failure().describe();
}

class LogStateTest : public testing::Test, public LogFixture {
 protected:
  LogStateTest() { EXPECT_TRUE(accepted(genesis())); }
  EnrolEntry enrolment(unsigned key, std::uint64_t kinds, Role role = Role::Host) {
    return {public_key(key), kinds, role, "test"};
  }
  static constexpr std::uint64_t kAll = ~std::uint64_t{0};
};

// --- rule 1: position and chain

TEST_F(LogStateTest, RefusesAnEntryOfAnotherSlot) {
  auto entry = next_entry(state, AuditEntry{}, actor, now);
  ++entry.seq;
  EXPECT_TRUE(refused_by(1, state.validate(entry)));
}

TEST_F(LogStateTest, RefusesAnEntryOfAnotherGeneration) {
  auto entry = next_entry(state, AuditEntry{}, actor, now);
  ++entry.generation;
  EXPECT_TRUE(refused_by(1, state.validate(entry)));
}

TEST_F(LogStateTest, RefusesAnEntryThatDoesNotFollowThePreviousObject) {
  auto entry = next_entry(state, AuditEntry{}, actor, now);
  entry.previous[5] = std::byte{1};
  EXPECT_TRUE(refused_by(1, state.validate(entry)));
}

TEST_F(LogStateTest, AVoidEntryKeepsItsSlotAndTheChainGoesOn) {
  const auto slot = state.next_seq();
  EXPECT_FALSE(write(EndEntry{session_id(99)}));
  EXPECT_EQ(state.next_seq(), slot + 1);
  ASSERT_EQ(state.void_entries().size(), 1u);
  EXPECT_EQ(state.void_entries()[0].seq, slot);
  EXPECT_TRUE(accepted(write(AuditEntry{})));
}

TEST_F(LogStateTest, RefusesASecondGenesis) { EXPECT_TRUE(refused_by(1, genesis())); }

// --- rule 2: who may write what

TEST(LogStateGenesis, OnlyTheRootThatFormatNamesOpensTheLog) {
  LogFixture log;
  log.actor = public_key(2);
  EXPECT_TRUE(refused_by(2, log.genesis()));
  EXPECT_FALSE(log.state.has_genesis());
}

TEST(LogStateGenesis, NamesTheRootThatSignsIt) {
  LogFixture log;
  auto genesis = log.genesis_entry();
  genesis.root_key = public_key(2);
  EXPECT_TRUE(refused_by(2, log.write(genesis)));
}

TEST(LogStateGenesis, NothingIsWrittenWithoutOne) {
  LogFixture log;
  EXPECT_TRUE(refused_by(2, log.begin(5)));
}

TEST(LogStateGenesis, OfGenerationZeroBringsNothingAlong) {
  LogFixture log;
  auto genesis = log.genesis_entry();
  genesis.snapshots.push_back(snap_of(5, {pack(5, 0)}));
  EXPECT_TRUE(refused_by(1, log.write(genesis)));
}

TEST_F(LogStateTest, RefusesAnActorThatIsNotEnrolled) {
  actor = public_key(2);
  EXPECT_TRUE(refused_by(2, begin(5)));
}

TEST_F(LogStateTest, AnActorWritesOnlyTheKindsOfItsEnrolment) {
  ASSERT_TRUE(accepted(write(enrolment(2, 1u << static_cast<unsigned>(EntryKind::Begin)))));
  actor = public_key(2);
  EXPECT_TRUE(accepted(begin(5)));
  EXPECT_TRUE(refused_by(2, write(AbortEntry{session_id(5)})));
}

TEST_F(LogStateTest, OnlyARootEnrolsRevokesAndAdopts) {
  ASSERT_TRUE(accepted(write(enrolment(2, kAll))));
  actor = public_key(2);
  EXPECT_TRUE(refused_by(2, write(enrolment(3, kAll))));
  EXPECT_TRUE(refused_by(2, write(RevokeEntry{public_key(2)})));
  EXPECT_TRUE(refused_by(2, write(AdoptEntry{8, Incarnation(2), "pg_upgrade"})));
}

TEST_F(LogStateTest, ARevokedActorWritesNoMore) {
  ASSERT_TRUE(accepted(write(enrolment(2, kAll))));
  ASSERT_TRUE(accepted(write(RevokeEntry{public_key(2)})));
  actor = public_key(2);
  EXPECT_TRUE(refused_by(2, begin(5)));
}

TEST_F(LogStateTest, TheLastRootStays) {
  EXPECT_TRUE(refused_by(2, write(RevokeEntry{actor})));
  ASSERT_TRUE(accepted(write(enrolment(2, kAll, Role::Root))));
  EXPECT_TRUE(accepted(write(RevokeEntry{actor})));
  EXPECT_EQ(state.roots(), std::set{public_key(2)});
}

TEST_F(LogStateTest, AnEnrolledKeyIsNotEnrolledAnew) {
  // Else the last root could be made a host.
  EXPECT_TRUE(refused_by(2, write(enrolment(kRoot, 0))));
}

// --- rule 3: BEGIN

TEST_F(LogStateTest, ASessionBeginsOnce) {
  ASSERT_TRUE(accepted(begin(5)));
  EXPECT_TRUE(refused_by(3, begin(5)));
  ASSERT_TRUE(accepted(write(AbortEntry{session_id(5)})));
  EXPECT_TRUE(refused_by(3, begin(5)));
}

TEST_F(LogStateTest, AnAbortedSessionThatNeverBeganCannotBegin) {
  ASSERT_TRUE(accepted(write(AbortEntry{session_id(5)})));
  EXPECT_TRUE(refused_by(3, begin(5)));
}

TEST_F(LogStateTest, AParentIsALiveSnapshot) {
  EXPECT_TRUE(refused_by(3, begin(6, 5)));
  ASSERT_TRUE(accepted(backup(5, {pack(5, 0)})));
  ASSERT_TRUE(accepted(write(ForgetEntry{session_id(5)})));
  EXPECT_TRUE(refused_by(3, begin(6, 5)));
}

TEST_F(LogStateTest, PinsStayWhenTheParentIsForgotten) {
  ASSERT_TRUE(accepted(backup(5, {pack(5, 0)})));
  ASSERT_TRUE(accepted(begin(6, 5)));
  ASSERT_TRUE(accepted(write(ForgetEntry{session_id(5)})));
  EXPECT_TRUE(state.needed_packs().contains(pack_id(5, 0)));
  EXPECT_TRUE(refused_by(9, write(PurgeEntry{{pack_id(5, 0)}})));
  EXPECT_TRUE(accepted(write(snap_of(6, {}))));
  EXPECT_TRUE(state.packs_of(state.snapshots().at(session_id(6))).contains(pack_id(5, 0)));
}

// --- rule 4: RENEW

TEST_F(LogStateTest, RenewNeedsAnOpenSession) {
  EXPECT_TRUE(refused_by(4, write(RenewEntry{session_id(5), at_second(0)})));
}

TEST_F(LogStateTest, ALeaseOnlyGrows) {
  ASSERT_TRUE(accepted(begin(5)));
  EXPECT_TRUE(refused_by(4, write(RenewEntry{session_id(5), now})));
  EXPECT_TRUE(accepted(write(RenewEntry{session_id(5), now + std::chrono::hours(48)})));
  EXPECT_EQ(state.open_sessions().at(session_id(5)).lease_until, now + std::chrono::hours(48));
}

// --- rule 5: SNAP

TEST_F(LogStateTest, SnapNeedsAnOpenWriter) {
  EXPECT_TRUE(refused_by(5, write(snap_of(5, {}))));
  ASSERT_TRUE(accepted(begin(5)));
  ASSERT_TRUE(accepted(write(AbortEntry{session_id(5)})));
  EXPECT_TRUE(refused_by(5, write(snap_of(5, {}))));
  ASSERT_TRUE(accepted(begin(6, {}, SessionPurpose::Read)));
  EXPECT_TRUE(refused_by(5, write(snap_of(6, {}))));
}

TEST_F(LogStateTest, ASessionPublishesOnce) {
  ASSERT_TRUE(accepted(backup(5, {})));
  EXPECT_TRUE(refused_by(5, write(snap_of(5, {}))));
}

TEST_F(LogStateTest, SnapAddsOnlyPacksOfItsOwnSession) {
  ASSERT_TRUE(accepted(begin(5)));
  EXPECT_TRUE(refused_by(5, write(snap_of(5, {pack(5, 0), pack(4, 0)}))));
}

TEST_F(LogStateTest, SnapAddsAPackOnce) {
  ASSERT_TRUE(accepted(begin(5)));
  EXPECT_TRUE(refused_by(5, write(snap_of(5, {pack(5, 0), pack(5, 0)}))));
}

TEST_F(LogStateTest, SnapRemovesOnlyPacksOfItsParent) {
  ASSERT_TRUE(accepted(backup(5, {pack(5, 0)})));
  ASSERT_TRUE(accepted(begin(6)));
  EXPECT_TRUE(refused_by(5, write(snap_of(6, {}, {pack_id(5, 0)}))));
}

TEST_F(LogStateTest, TheNameOfALiveBackupIsTaken) {
  ASSERT_TRUE(accepted(backup(5, {})));
  ASSERT_TRUE(accepted(begin(6)));
  auto snap = snap_of(6, {});
  snap.name = "backup-5";
  EXPECT_TRUE(refused_by(5, write(snap)));
  ASSERT_TRUE(accepted(write(ForgetEntry{session_id(5)})));
  EXPECT_TRUE(accepted(write(snap)));
}

TEST_F(LogStateTest, ASnapshotHasItsParentsPacksLessRemovedAndItsOwn) {
  ASSERT_TRUE(accepted(backup(5, {pack(5, 0), pack(5, 1)})));
  ASSERT_TRUE(accepted(backup(6, {pack(6, 0)}, 5, {pack_id(5, 0)})));
  const auto packs = state.packs_of(state.snapshots().at(session_id(6)));
  EXPECT_EQ(packs.size(), 2u);
  EXPECT_TRUE(packs.contains(pack_id(5, 1)));
  EXPECT_TRUE(packs.contains(pack_id(6, 0)));
  EXPECT_EQ(state.snapshots().at(session_id(6)).parent, session_id(5));
}

TEST_F(LogStateTest, SnapBelowTheFloorIsRefused) {
  ASSERT_TRUE(accepted(write(FloorEntry{{{7, Incarnation(1), 1, 6000}}})));
  ASSERT_TRUE(accepted(begin(5)));
  EXPECT_TRUE(refused_by(5, write(snap_of(5, {}))));  // starts at 5000
  ASSERT_TRUE(accepted(begin(6)));
  EXPECT_TRUE(accepted(write(snap_of(6, {}))));  // starts at 6000
}

// --- rule 6: END and ABORT

TEST_F(LogStateTest, EndClosesReadersOnly) {
  ASSERT_TRUE(accepted(backup(5, {pack(5, 0)})));
  ASSERT_TRUE(accepted(begin(6, 5)));
  EXPECT_TRUE(refused_by(6, write(EndEntry{session_id(6)})));
  ASSERT_TRUE(accepted(begin(7, 5, SessionPurpose::Read)));
  EXPECT_TRUE(accepted(write(EndEntry{session_id(7)})));
  EXPECT_TRUE(refused_by(6, write(EndEntry{session_id(7)})));
  EXPECT_EQ(state.closed_sessions().at(session_id(7)), Closed::ByEnd);
}

TEST_F(LogStateTest, AClosedSessionIsNotAborted) {
  // Else a published backup's packs could be deleted as those of an aborted session.
  ASSERT_TRUE(accepted(backup(5, {pack(5, 0)})));
  EXPECT_TRUE(refused_by(6, write(AbortEntry{session_id(5)})));
}

TEST_F(LogStateTest, AbortReleasesPins) {
  ASSERT_TRUE(accepted(backup(5, {pack(5, 0)})));
  ASSERT_TRUE(accepted(begin(6, 5, SessionPurpose::Read)));
  ASSERT_TRUE(accepted(write(ForgetEntry{session_id(5)})));
  EXPECT_TRUE(state.purgeable().empty());
  ASSERT_TRUE(accepted(write(AbortEntry{session_id(6)})));
  EXPECT_EQ(state.purgeable(), std::vector{pack_id(5, 0)});
}

// --- rule 7: FORGET

TEST_F(LogStateTest, ForgetNeedsALiveSnapshot) {
  EXPECT_TRUE(refused_by(7, write(ForgetEntry{session_id(5)})));
}

TEST_F(LogStateTest, AHeldSnapshotIsNotForgotten) {
  ASSERT_TRUE(accepted(backup(5, {})));
  ASSERT_TRUE(accepted(write(HoldEntry{session_id(5), "court order"})));
  EXPECT_TRUE(refused_by(7, write(ForgetEntry{session_id(5)})));
  ASSERT_TRUE(accepted(write(ReleaseEntry{session_id(5)})));
  EXPECT_TRUE(accepted(write(ForgetEntry{session_id(5)})));
}

TEST_F(LogStateTest, AHoldWithAnEndHoldsUpToIt) {
  ASSERT_TRUE(accepted(backup(5, {})));
  ASSERT_TRUE(accepted(write(HoldEntry{session_id(5), "court order", at_second(60)})));
  now = at_second(59);
  EXPECT_TRUE(refused_by(7, write(ForgetEntry{session_id(5)})));
  ASSERT_TRUE(accepted(write(HoldEntry{session_id(5), "longer", at_second(90)}))) << "it takes the place of the one before";
  now = at_second(60);
  EXPECT_TRUE(refused_by(7, write(ForgetEntry{session_id(5)})));
  now = at_second(90);
  EXPECT_TRUE(accepted(write(ForgetEntry{session_id(5)})));
}

TEST_F(LogStateTest, ARetainedSnapshotIsNotForgottenBeforeItsTime) {
  ASSERT_TRUE(accepted(begin(5)));
  auto snap = snap_of(5, {});
  snap.retain_until = at_second(60);
  ASSERT_TRUE(accepted(write(snap)));
  now = at_second(59);
  EXPECT_TRUE(refused_by(7, write(ForgetEntry{session_id(5)})));
  now = at_second(60);
  EXPECT_TRUE(accepted(write(ForgetEntry{session_id(5)})));
}

// --- rule 8: HOLD and RELEASE

TEST_F(LogStateTest, OnlyALiveSnapshotIsHeld) {
  EXPECT_TRUE(refused_by(8, write(HoldEntry{session_id(5), "why"})));
}

TEST_F(LogStateTest, OnlyAHeldSnapshotIsReleased) {
  EXPECT_TRUE(refused_by(8, write(ReleaseEntry{session_id(5)})));
  ASSERT_TRUE(accepted(backup(5, {})));
  EXPECT_TRUE(refused_by(8, write(ReleaseEntry{session_id(5)})));
}

// --- rule 9: PURGE

TEST_F(LogStateTest, APackOfALiveSnapshotIsNotPurged) {
  ASSERT_TRUE(accepted(backup(5, {pack(5, 0)})));
  EXPECT_TRUE(refused_by(9, write(PurgeEntry{{pack_id(5, 0)}})));
}

TEST_F(LogStateTest, APackThatAChildStillRefersToIsNotPurged) {
  ASSERT_TRUE(accepted(backup(5, {pack(5, 0)})));
  ASSERT_TRUE(accepted(backup(6, {}, 5)));
  ASSERT_TRUE(accepted(write(ForgetEntry{session_id(5)})));
  EXPECT_TRUE(refused_by(9, write(PurgeEntry{{pack_id(5, 0)}})));
}

TEST_F(LogStateTest, APackOfAnOpenOrUnknownSessionIsNotPurged) {
  EXPECT_TRUE(refused_by(9, write(PurgeEntry{{pack_id(5, 0)}})));
  ASSERT_TRUE(accepted(begin(5)));
  EXPECT_TRUE(refused_by(9, write(PurgeEntry{{pack_id(5, 0)}})));
}

TEST_F(LogStateTest, OneNeededPackRefusesTheWholePurge) {
  ASSERT_TRUE(accepted(backup(5, {pack(5, 0)})));
  ASSERT_TRUE(accepted(backup(6, {pack(6, 0)})));
  ASSERT_TRUE(accepted(write(ForgetEntry{session_id(5)})));
  EXPECT_TRUE(refused_by(9, write(PurgeEntry{{pack_id(5, 0), pack_id(6, 0)}})));
  EXPECT_TRUE(state.purged_packs().empty());
}

TEST_F(LogStateTest, APurgedPackIsPurgeableNoMore) {
  ASSERT_TRUE(accepted(backup(5, {pack(5, 0)})));
  ASSERT_TRUE(accepted(write(ForgetEntry{session_id(5)})));
  EXPECT_EQ(state.purgeable(), std::vector{pack_id(5, 0)});
  ASSERT_TRUE(accepted(write(PurgeEntry{{pack_id(5, 0)}})));
  EXPECT_TRUE(state.purgeable().empty());
  EXPECT_TRUE(state.purged_packs().contains(pack_id(5, 0)));
}

// --- rule 10: ADOPT and FLOOR

TEST_F(LogStateTest, IncarnationsCountUp) {
  EXPECT_TRUE(refused_by(10, write(AdoptEntry{8, Incarnation(3), ""})));
  EXPECT_TRUE(accepted(write(AdoptEntry{8, Incarnation(2), ""})));
  EXPECT_EQ(state.system_id(), 8u);
  EXPECT_EQ(state.identities().size(), 2u);
}

TEST_F(LogStateTest, AFloorOnlyRises) {
  ASSERT_TRUE(accepted(write(FloorEntry{{{7, Incarnation(1), 1, 500}}})));
  EXPECT_TRUE(refused_by(10, write(FloorEntry{{{7, Incarnation(1), 1, 499}}})));
  EXPECT_TRUE(accepted(write(FloorEntry{{{7, Incarnation(1), 2, 300}}})));
}

TEST_F(LogStateTest, AFloorStaysUnderLiveSnapshotsOnTheirTimelineAndLaterOnes) {
  ASSERT_TRUE(accepted(backup(5, {})));  // starts at 5000 on timeline 1
  EXPECT_TRUE(accepted(write(FloorEntry{{{7, Incarnation(1), 1, 5000}}})));
  EXPECT_TRUE(refused_by(10, write(FloorEntry{{{7, Incarnation(1), 1, 5001}}})));
  EXPECT_TRUE(refused_by(10, write(FloorEntry{{{7, Incarnation(1), 2, 5001}}})));
  EXPECT_TRUE(accepted(write(FloorEntry{{{7, Incarnation(2), 1, 9000}}})));
  ASSERT_TRUE(accepted(write(ForgetEntry{session_id(5)})));
  EXPECT_TRUE(accepted(write(FloorEntry{{{7, Incarnation(1), 1, 9000}}})));
}

TEST_F(LogStateTest, AFloorStaysUnderWhatAReaderReads) {
  ASSERT_TRUE(accepted(backup(5, {})));
  ASSERT_TRUE(accepted(begin(6, 5, SessionPurpose::Read)));
  ASSERT_TRUE(accepted(write(ForgetEntry{session_id(5)})));
  EXPECT_TRUE(refused_by(10, write(FloorEntry{{{7, Incarnation(1), 1, 5001}}})));
  ASSERT_TRUE(accepted(write(EndEntry{session_id(6)})));
  EXPECT_TRUE(accepted(write(FloorEntry{{{7, Incarnation(1), 1, 5001}}})));
}

TEST_F(LogStateTest, AWindowFloorPassesLiveSnapshotsAndNotWhatIsReadOrBuiltOn) {
  const auto window = [](std::uint64_t lsn) { return FloorEntry{{}, {{7, Incarnation(1), 1, lsn}}}; };
  ASSERT_TRUE(accepted(backup(5, {})));
  EXPECT_TRUE(accepted(write(window(5500))));
  EXPECT_TRUE(refused_by(10, write(window(5499))));
  EXPECT_TRUE(accepted(write(FloorEntry{{{7, Incarnation(1), 1, 5000}}}))) << "the other floor is its own";
  ASSERT_TRUE(accepted(backup(7, {})));
  ASSERT_TRUE(accepted(begin(8, 7)));
  EXPECT_TRUE(accepted(write(window(7000))));
  EXPECT_TRUE(refused_by(10, write(window(7001))));
  ASSERT_TRUE(accepted(write(AbortEntry{session_id(8)})));
  EXPECT_TRUE(accepted(write(window(7001))));
  ASSERT_EQ(state.window_floors().size(), 1u);
  EXPECT_EQ(state.window_floors()[0].lsn, 7001u);
}

TEST_F(LogStateTest, SnapBelowTheWindowFloorIsRefused) {
  ASSERT_TRUE(accepted(write(FloorEntry{{}, {{7, Incarnation(1), 1, 6000}}})));
  ASSERT_TRUE(accepted(begin(5)));
  EXPECT_TRUE(refused_by(5, write(snap_of(5, {}))));
  ASSERT_TRUE(accepted(begin(6)));
  EXPECT_TRUE(accepted(write(snap_of(6, {}))));
}

// --- rule 11: time

TEST_F(LogStateTest, ASnapshotSaysWhereItStandsAndWhatTheLogHadSeen) {
  now = at_second(9000);
  ASSERT_TRUE(accepted(write(AuditEntry{})));
  now = at_second(100);
  ASSERT_TRUE(accepted(backup(5, {})));
  const auto& snapshot = state.snapshots().at(session_id(5));
  EXPECT_EQ(snapshot.seq, state.next_seq() - 1);
  EXPECT_EQ(snapshot.committed, at_second(100));
  EXPECT_EQ(snapshot.log_time, at_second(9000));
}

TEST_F(LogStateTest, WhatCleansIsNoSignOfTime) {
  now = at_second(100);
  ASSERT_TRUE(accepted(backup(5, {pack(5, 0)})));
  EXPECT_EQ(state.last_activity(), at_second(100));
  now = at_second(5000);
  ASSERT_TRUE(accepted(write(ForgetEntry{session_id(5)})));
  ASSERT_TRUE(accepted(write(PurgeEntry{{pack_id(5, 0)}})));
  ASSERT_TRUE(accepted(write(FloorEntry{{{7, Incarnation(1), 1, 500}}})));
  EXPECT_EQ(state.last_activity(), at_second(100));
  now = at_second(200);
  ASSERT_TRUE(accepted(write(AuditEntry{})));
  EXPECT_EQ(state.last_activity(), at_second(200)) << "the last, not the highest";
}

TEST_F(LogStateTest, TheLogsTimeIsTheHighestSoFar) {
  now = at_second(100);
  ASSERT_TRUE(accepted(write(AuditEntry{})));
  now = at_second(50);
  EXPECT_TRUE(accepted(write(AuditEntry{})));
  EXPECT_EQ(state.time(), at_second(100));
}

// --- later generations

class LaterGeneration : public testing::Test {
 protected:
  LaterGeneration() {
    log.state = LogState(1, {public_key(1)});
    genesis = log.genesis_entry();
    genesis.snapshots = {snap_of(6, {pack(5, 0), pack(6, 0)})};
    genesis.holds = {{session_id(6), "audit"}};
    genesis.enrolments = {{public_key(2), ~std::uint64_t{0}, Role::Host, "host"}};
    genesis.known_sessions = {session_id(3), session_id(5)};
    genesis.incarnation = Incarnation(4);
    genesis.floors = {{7, Incarnation(1), 1, 100}};
    genesis.window_floors = {{7, Incarnation(1), 1, 200}};
  }
  LogFixture log;
  GenesisEntry genesis;
};

TEST_F(LaterGeneration, BringsSnapshotsHoldsEnrolmentsSessionsAndFloorsAlong) {
  ASSERT_TRUE(accepted(log.write(genesis)));
  EXPECT_EQ(log.state.snapshots().size(), 1u);
  EXPECT_EQ(log.state.incarnation(), Incarnation(4));
  EXPECT_TRUE(refused_by(3, log.begin(3)));
  EXPECT_TRUE(refused_by(7, log.write(ForgetEntry{session_id(6)})));
  EXPECT_TRUE(refused_by(10, log.write(FloorEntry{{{7, Incarnation(1), 1, 99}}})));
  EXPECT_TRUE(refused_by(10, log.write(FloorEntry{{}, {{7, Incarnation(1), 1, 199}}})));
  EXPECT_EQ(log.state.snapshots().at(session_id(6)).seq, 0u);
  log.actor = public_key(2);
  EXPECT_TRUE(accepted(log.begin(8, 6)));
}

TEST_F(LaterGeneration, NeedsARootOfTheGenerationBefore) {
  log.actor = public_key(9);
  genesis.root_key = log.actor;
  EXPECT_TRUE(refused_by(2, log.write(genesis)));
}

TEST_F(LaterGeneration, PurgesPacksOfSnapshotsAndNotOfSessionsWhoseEndItDoesNotKnow) {
  ASSERT_TRUE(accepted(log.write(genesis)));
  ASSERT_TRUE(accepted(log.write(ReleaseEntry{session_id(6)})));
  ASSERT_TRUE(accepted(log.write(ForgetEntry{session_id(6)})));
  EXPECT_EQ(log.state.purgeable(), (std::vector{pack_id(5, 0), pack_id(6, 0)}));
  EXPECT_TRUE(accepted(log.write(PurgeEntry{{pack_id(5, 0), pack_id(6, 0)}})));
  EXPECT_TRUE(refused_by(9, log.write(PurgeEntry{{pack_id(3, 0)}})));
}

TEST_F(LaterGeneration, RefusesASnapshotTwiceAndAHoldOnNothing) {
  auto twice = genesis;
  twice.snapshots.push_back(twice.snapshots[0]);
  EXPECT_TRUE(refused_by(1, log.write(twice)));
  log.state = LogState(1, {public_key(1)});
  genesis.holds[0].snapshot = session_id(77);
  EXPECT_TRUE(refused_by(8, log.write(genesis)));
}

// --- what AUDIT entries said

TEST_F(LogStateTest, RemembersTheNewestAuditEntriesOfEachEvent) {
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(accepted(write(AuditEntry{"restore", std::to_string(i)})));
    ASSERT_TRUE(accepted(write(AuditEntry{"other", "x"})));
  }
  const auto notes = state.recent_audits("restore");
  ASSERT_EQ(notes.size(), kAuditNotesMax);
  EXPECT_EQ(notes.front().detail, std::to_string(20 - kAuditNotesMax));
  EXPECT_EQ(notes.back().detail, "19");
  EXPECT_LT(notes.front().seq, notes.back().seq);
  EXPECT_TRUE(state.recent_audits("never").empty());
}

TEST_F(LogStateTest, WhatItRemembersOfAuditEntriesIsBounded) {
  ASSERT_TRUE(accepted(write(AuditEntry{"long", std::string(kAuditDetailMax + 1, 'x')})));
  EXPECT_TRUE(state.recent_audits("long").empty());
  for (std::size_t i = 0; i < 2 * kAuditEventsMax; ++i) ASSERT_TRUE(accepted(write(AuditEntry{"event " + std::to_string(i), ""})));
  EXPECT_EQ(state.recent_audits("event 0").size(), 1U);
  EXPECT_TRUE(state.recent_audits("event " + std::to_string(2 * kAuditEventsMax - 1)).empty());
}

TEST_F(LogStateTest, AVoidAuditEntrySaysNothing) {
  actor = public_key(77);
  EXPECT_FALSE(write(AuditEntry{"restore", "by nobody"}));
  EXPECT_TRUE(state.recent_audits("restore").empty());
}

}  // namespace
}  // namespace pgmint::repository

#include "repository/session.h"

#include <gtest/gtest.h>

#include "repository/repository_fixture.h"

namespace pgmint::repository {
namespace {

using storage::Fault;
using storage::Operation;

class SessionTest : public testing::Test, public RepositoryFixture {
 protected:
  void fail(Fault::When when, Operation on, std::uint64_t times = 1, Errc code = Errc::Unknown) {
    Fault fault;
    fault.when = when;
    fault.code = code;
    fault.on = on;
    fault.times = times;
    store->add(fault);
  }
};

TEST_F(SessionTest, NothingButTheLogIsWrittenBeforeBeginIsDurable) {
  const auto before = storage::list_all(*memory, cluster_prefix(cluster->id()))->size();
  auto session = WriteSession::begin(*cluster, {});
  ASSERT_TRUE(session);
  EXPECT_EQ(storage::list_all(*memory, cluster_prefix(cluster->id()))->size(), before + 1);
  EXPECT_TRUE(cluster->state().open_sessions().contains((*session)->id()));
}

TEST_F(SessionTest, ACommittedBackupIsListedWithAllThatItPut) {
  const auto id = backup("20260101T000000Z-full", 2);
  ASSERT_TRUE(id) << id.failure().describe();
  auto other = reopened();
  auto found = *other->find_cluster("main", {});
  ASSERT_EQ(found->state().snapshots().size(), 1u);
  const auto& snapshot = found->state().snapshots().at(*id);
  const auto packs = found->state().packs_of(snapshot);
  EXPECT_EQ(packs.size(), 3u);
  for (const auto& summary : packs) {
    const auto object = **memory->read(pack_name(found->id(), summary.id), kPackMax);
    EXPECT_EQ(object.size(), summary.size);
    EXPECT_EQ(crypto::sha256(object), summary.sha256);
  }
  const auto root = read_root(*store, found->context(), *id, found->keys());
  ASSERT_TRUE(root) << root.failure().describe();
  EXPECT_EQ(root->name, "20260101T000000Z-full");
  const auto root_object = **memory->read(manifest_name(found->id(), *id), 1 << 20);
  EXPECT_EQ(crypto::sha256(root_object), snapshot.snap.root_sha256);
  EXPECT_EQ(root_object.size(), snapshot.snap.root_size);
}

TEST_F(SessionTest, AnUploadWithUncertainOutcomeIsReadBack) {
  auto session = *WriteSession::begin(*cluster, {});
  fail(Fault::When::After, Operation::Create);
  EXPECT_TRUE(session->upload(make_pack(*cluster, session->next_pack())));
  store->clear();
  fail(Fault::When::Before, Operation::Create, 2);
  EXPECT_TRUE(session->upload(make_pack(*cluster, session->next_pack())));
  EXPECT_TRUE(session->commit(root_of(*session, "a"), {}));
  EXPECT_EQ(cluster->state().find("a")->packs.size(), 2u);
}

TEST_F(SessionTest, APackNameWithOtherBytesIsRefused) {
  auto session = *WriteSession::begin(*cluster, {});
  auto pack = make_pack(*cluster, session->next_pack());
  memory->replace(pack_name(cluster->id(), pack.id), to_bytes(as_bytes("other")));
  const auto uploaded = session->upload(std::move(pack));
  ASSERT_FALSE(uploaded);
  EXPECT_EQ(uploaded.failure().code(), Errc::Precondition);
  EXPECT_EQ(session->pack_count(), 0u);
}

TEST_F(SessionTest, AFailedUploadIsNoPartOfTheBackup) {
  auto session = *WriteSession::begin(*cluster, {});
  fail(Fault::When::Before, Operation::Create, ~0ull, Errc::Storage);
  EXPECT_FALSE(session->upload(make_pack(*cluster, session->next_pack())));
  EXPECT_EQ(session->pack_count(), 0u);
}

TEST_F(SessionTest, AnAbortedSessionCannotCommit) {
  auto session = *WriteSession::begin(*cluster, {});
  ASSERT_TRUE(session->upload(make_pack(*cluster, session->next_pack())));
  ASSERT_TRUE(write(AbortEntry{session->id()}));  // the collector, after the lease
  const auto committed = session->commit(root_of(*session, "a"), {});
  ASSERT_FALSE(committed);
  EXPECT_EQ(committed.failure().code(), Errc::Precondition);
  EXPECT_TRUE(cluster->state().snapshots().empty());
}

TEST_F(SessionTest, AnAbortRemovesWhatWasPut) {
  auto session = *WriteSession::begin(*cluster, {});
  const auto pack = session->next_pack();
  ASSERT_TRUE(session->upload(make_pack(*cluster, pack)));
  EXPECT_TRUE(has(pack));
  ASSERT_TRUE(session->abort());
  EXPECT_FALSE(has(pack));
  EXPECT_EQ(cluster->state().closed_sessions().at(session->id()), Closed::ByAbort);
}

TEST_F(SessionTest, AnAbortAfterAnUncertainSnapThatLandedRemovesNothing) {
  auto session = *WriteSession::begin(*cluster, {});
  const auto pack = session->next_pack();
  ASSERT_TRUE(session->upload(make_pack(*cluster, pack)));
  Fault fault;  // the root passes; the SNAP lands, is reported as failed, and cannot be read back
  fault.on = Operation::Create;
  fault.when = Fault::When::After;
  fault.code = Errc::Unknown;
  fault.skip = 1;
  fault.times = 1;
  fault.then = [&] {
    Fault blind;
    blind.on = Operation::Read;
    store->add(blind);
  };
  store->add(fault);
  const auto committed = session->commit(root_of(*session, "a"), {});
  ASSERT_FALSE(committed);
  EXPECT_EQ(committed.failure().code(), Errc::Unknown);
  store->clear();
  const auto aborted = session->abort();
  ASSERT_FALSE(aborted);
  EXPECT_EQ(aborted.failure().code(), Errc::Precondition);
  EXPECT_TRUE(has(pack));
  EXPECT_NE(cluster->state().find("a"), nullptr);
}

TEST_F(SessionTest, ATakenNameIsRefused) {
  ASSERT_TRUE(backup("a"));
  const auto second = backup("a");
  ASSERT_FALSE(second);
  EXPECT_EQ(second.failure().code(), Errc::Precondition);
}

TEST_F(SessionTest, AnIncrementalKeepsItsParentsPacks) {
  const auto parent = *backup("full", 1);
  const auto child = backup(*cluster, "incr", 0, parent, {PackId{parent, 0}});
  ASSERT_TRUE(child) << child.failure().describe();
  ASSERT_TRUE(write(ForgetEntry{parent}));
  const auto packs = cluster->state().packs_of(cluster->state().snapshots().at(*child));
  EXPECT_EQ(packs.size(), 2u);
  EXPECT_TRUE(packs.contains(PackId{parent, 1}));
}

TEST_F(SessionTest, TheLeaseIsRenewedWhenAThirdHasPassedAndNotBefore) {
  auto session = *WriteSession::begin(*cluster, {});
  const auto entries = cluster->state().next_seq();
  const auto lease = cluster->state().open_sessions().at(session->id()).lease_until;
  EXPECT_GE(lease - clock.now(), std::chrono::hours(24));
  clock.sleep(std::chrono::hours(7));
  ASSERT_TRUE(session->keep_alive());
  EXPECT_EQ(cluster->state().next_seq(), entries);
  clock.sleep(std::chrono::hours(1));
  ASSERT_TRUE(session->keep_alive());
  EXPECT_EQ(cluster->state().next_seq(), entries + 1);
  EXPECT_GE(cluster->state().open_sessions().at(session->id()).lease_until - clock.now(), std::chrono::hours(24));
}

TEST_F(SessionTest, AnUnreachableStoreFailsTheRenewalOnlyNearTheEndOfTheLease) {
  auto session = *WriteSession::begin(*cluster, {});
  Fault fault;
  store->add(fault);
  clock.sleep(std::chrono::hours(9));
  EXPECT_TRUE(session->keep_alive());
  clock.sleep(std::chrono::hours(15));
  EXPECT_FALSE(session->keep_alive());
}

TEST_F(SessionTest, APinIsReleasedByEnd) {
  const auto id = *backup("a");
  std::string warning;
  auto pin = ReadPin::take(*cluster, id, std::chrono::hours(24), &warning);
  ASSERT_TRUE(pin.session());
  EXPECT_TRUE(warning.empty());
  EXPECT_EQ(cluster->state().pins_of(cluster->state().open_sessions().at(*pin.session())).size(), 2u);
  const auto session = *pin.session();
  ASSERT_TRUE(pin.release(*cluster));
  EXPECT_EQ(cluster->state().closed_sessions().at(session), Closed::ByEnd);
}

TEST_F(SessionTest, APinThatCannotBeWrittenIsAWarning) {
  const auto id = *backup("a");
  fail(Fault::When::Before, Operation::Create, ~0ull, Errc::Key);
  std::string warning;
  auto pin = ReadPin::take(*cluster, id, std::chrono::hours(24), &warning);
  EXPECT_FALSE(pin.session());
  EXPECT_FALSE(warning.empty());
  EXPECT_TRUE(pin.release(*cluster));
}

}  // namespace
}  // namespace pgmint::repository

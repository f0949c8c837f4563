#include "repository/collect_wal.h"

#include <gtest/gtest.h>

#include "repository/collect.h"
#include "repository/repository_fixture.h"

namespace pgmint::repository {
namespace {

using namespace std::chrono_literals;
using postgres::SegmentNumber;
using postgres::TimelineId;
using postgres::WalSegmentSize;

constexpr std::uint64_t kMiB = 1 << 20;

class CollectWalTest : public testing::Test, public RepositoryFixture {
 protected:
  WalIdentity identity{kSystemId, Incarnation(1)};

  std::string segment_name(std::uint64_t number, std::uint32_t timeline = 1) {
    return postgres::segment_file_name(TimelineId(timeline), SegmentNumber(number), *WalSegmentSize::of(kMiB));
  }
  void put(const std::string& name, std::uint64_t size = kMiB, std::optional<WalIdentity> of = {}) {
    WalArchive archive(*cluster, of.value_or(identity));
    const auto content = *wal_content_of(name);
    const bool of_segment = content == WalContent::Segment || content == WalContent::Partial;
    const auto done = archive.put(name, content, of_segment ? static_cast<std::uint32_t>(size) : 0, Bytes(of_segment ? size : 100), {});
    ASSERT_TRUE(done) << done.failure().describe();
  }
  void put_segments(std::uint64_t first, std::uint64_t last, std::uint32_t timeline = 1) {
    for (auto number = first; number <= last; ++number) put(segment_name(number, timeline));
  }
  std::set<std::string> stored(std::optional<WalIdentity> of = {}) {
    WalArchive archive(*cluster, of.value_or(identity));
    std::set<std::string> names;
    const auto timelines = archive.timelines();
    for (const auto timeline : *timelines) {
      const auto files = archive.list(timeline);
      for (const auto& file : *files) names.insert(file.file_name);
    }
    return names;
  }
  SessionId backup_at(const std::string& name, std::uint64_t start, std::uint64_t stop) {
    auto session = *WriteSession::begin(*cluster, {});
    auto root = root_of(*session, name);
    root.start_lsn = start;
    root.stop_lsn = stop;
    EXPECT_TRUE(session->commit(root, {}));
    return session->id();
  }
  FloorLine at(std::uint64_t lsn, std::uint32_t timeline = 1) { return {kSystemId, Incarnation(1), timeline, lsn}; }
  CollectPlan collected() {
    auto done = collect(*cluster);
    EXPECT_TRUE(done) << done.failure().describe();
    return done ? *done : CollectPlan{};
  }
};
using Names = std::set<std::string>;

TEST_F(CollectWalTest, WithoutAFloorNothingGoes) {
  put_segments(1, 5);
  EXPECT_TRUE(collected().remove.empty());
  EXPECT_EQ(stored().size(), 5u);
}

TEST_F(CollectWalTest, WholeSegmentsBelowTheFloorGoWithWhatBelongsToThemAndHistoryStays) {
  put_segments(1, 5);
  put(segment_name(2) + ".partial");
  put(segment_name(2) + ".00000028.backup");
  put(segment_name(4) + ".00000028.backup");
  put("00000002.history");
  put_segments(3, 4, 2);
  ASSERT_TRUE(write(FloorEntry{{at(4 * kMiB + 5)}}));
  const auto done = collected();
  EXPECT_EQ(done.remove_wal, 5u);
  EXPECT_GT(done.remove_wal_bytes, 0u);
  EXPECT_EQ(stored(), (Names{segment_name(4), segment_name(4) + ".00000028.backup", segment_name(5), "00000002.history", segment_name(3, 2), segment_name(4, 2)}));
  EXPECT_TRUE(collected().remove.empty());
}

TEST_F(CollectWalTest, BelowTheWindowFloorTheWalOfBackupsStays) {
  put_segments(1, 9);
  backup_at("old", 2 * kMiB + 40, 3 * kMiB + 100);
  backup_at("new", 7 * kMiB + 40, 7 * kMiB + 500);
  ASSERT_TRUE(write(FloorEntry{{at(2 * kMiB)}, {at(7 * kMiB + 40)}}));
  collected();
  EXPECT_EQ(stored(), (Names{segment_name(2), segment_name(3), segment_name(7), segment_name(8), segment_name(9)}));
}

TEST_F(CollectWalTest, TheWalOfABackupIsKeptOnEveryTimeline) {
  put_segments(1, 3);
  put_segments(3, 9, 2);
  backup_at("over a switch", 2 * kMiB + 40, 4 * kMiB + 100);
  ASSERT_TRUE(write(FloorEntry{{}, {at(8 * kMiB), at(8 * kMiB, 2)}}));
  collected();
  EXPECT_EQ(stored(), (Names{segment_name(2), segment_name(3), segment_name(3, 2), segment_name(4, 2), segment_name(8, 2), segment_name(9, 2)}));
}

TEST_F(CollectWalTest, AForgottenBackupKeepsNothing) {
  put_segments(1, 9);
  const auto id = backup_at("old", 2 * kMiB + 40, 3 * kMiB + 100);
  ASSERT_TRUE(write(FloorEntry{{}, {at(7 * kMiB)}}));
  ASSERT_TRUE(write(ForgetEntry{id}));
  collected();
  EXPECT_EQ(stored(), (Names{segment_name(7), segment_name(8), segment_name(9)}));
}

TEST_F(CollectWalTest, OtherIdentitiesHaveFloorsOfTheirOwn) {
  const WalIdentity second{8, Incarnation(2)};
  ASSERT_TRUE(write(AdoptEntry{8, Incarnation(2), "pg_upgrade"}));
  put_segments(1, 3);
  put(segment_name(1), kMiB, second);
  ASSERT_TRUE(write(FloorEntry{{at(9 * kMiB)}}));
  collected();
  EXPECT_TRUE(stored().empty());
  EXPECT_EQ(stored(second), (Names{segment_name(1)}));
}

TEST_F(CollectWalTest, ANameMeansWhatTheObjectsOwnHeaderSays) {
  // 4 MiB segments: number 2 begins at 8 MiB, where at 1 MiB it would begin at 2.
  put("000000010000000000000002", 4 * kMiB);
  put("000000010000000000000000", 4 * kMiB);
  ASSERT_TRUE(write(FloorEntry{{at(5 * kMiB)}}));
  collected();
  EXPECT_EQ(stored(), (Names{"000000010000000000000002"}));
}

TEST_F(CollectWalTest, WhatCannotBeReadStays) {
  put_segments(1, 3);
  const auto damaged = wal_name(cluster->id(), kSystemId, Incarnation(1), segment_name(1));
  auto object = **memory->read(damaged, 64 << 20);
  object[3] ^= std::byte{1};
  memory->replace(damaged, object);
  const auto cut = wal_name(cluster->id(), kSystemId, Incarnation(1), segment_name(2));
  memory->replace(cut, Bytes(100));
  ASSERT_TRUE(write(FloorEntry{{at(9 * kMiB)}}));
  collected();
  EXPECT_EQ(stored(), (Names{segment_name(1), segment_name(2)}));
}

TEST_F(CollectWalTest, AStoreThatFailsEndsTheRun) {
  put_segments(1, 3);
  ASSERT_TRUE(write(FloorEntry{{at(9 * kMiB)}}));
  storage::Fault fault;
  fault.on = storage::Operation::ReadRange;
  fault.code = Errc::Storage;
  store->add(fault);
  const auto done = collect(*cluster);
  ASSERT_FALSE(done);
  EXPECT_EQ(done.failure().code(), Errc::Storage);
  EXPECT_EQ(stored().size(), 3u);
}

TEST_F(CollectWalTest, ABackupThatCommitsWhileWalIsListedFindsItsOwn) {
  // Below the window floor at most what began before it; such a backup is refused, and one above keeps its WAL anyway.
  put_segments(1, 9);
  auto session = *WriteSession::begin(*cluster, {});
  ASSERT_TRUE(write(FloorEntry{{}, {at(7 * kMiB)}}));
  auto root = root_of(*session, "late");
  root.start_lsn = 3 * kMiB;
  root.stop_lsn = 3 * kMiB + 5;
  const auto committed = session->commit(root, {});
  ASSERT_FALSE(committed);
  EXPECT_EQ(committed.failure().code(), Errc::Precondition);
}

TEST_F(CollectWalTest, ThePlanSaysWhatCollectDoes) {
  put_segments(1, 5);
  ASSERT_TRUE(write(FloorEntry{{at(3 * kMiB)}}));
  const auto before = memory->snapshot();
  const auto plan = plan_collection(*cluster);
  ASSERT_TRUE(plan);
  EXPECT_EQ(memory->snapshot(), before);
  const auto done = collected();
  EXPECT_EQ(plan->remove_wal, 2u);
  EXPECT_EQ(plan->remove_wal, done.remove_wal);
  EXPECT_EQ(plan->remove_bytes, done.remove_bytes);
}

}  // namespace
}  // namespace pgmint::repository

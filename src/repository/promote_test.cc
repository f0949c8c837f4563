// Promotion: at whatever step it is cut off, there is the mirror or the repository that it becomes, and the old source writes nothing that counts.
#include "repository/promote.h"

#include "repository/mirror_fixture.h"

namespace pgmint::repository {
namespace {

class PromoteTest : public MirrorTest {
 protected:
  Result<PromoteReport> promote_mirror() {
    auto opened = TRY(Repository::open_to_promote({faulty, f.clock, f.random, *f.seen, "test@host", "test"}, unlocks()));
    return promote(*opened, "heir@host");
  }
};

TEST_F(PromoteTest, MakesARepositoryThatGoesOn) {
  const auto one = back_up("one");
  ASSERT_TRUE(f.write(HoldEntry{one, "kept", std::nullopt}));
  must_run();
  const auto report = promote_mirror();
  ASSERT_TRUE(report) << report.failure().describe();
  EXPECT_FALSE(report->was_promoted);
  ASSERT_EQ(report->clusters.size(), 1U);
  EXPECT_EQ(report->clusters[0].log.recovered, std::vector<std::string>{"one"});
  expect_sound({"one"});
  auto opened = open_mirror();
  ASSERT_TRUE(opened);
  EXPECT_FALSE(opened->repository->is_mirror());
  EXPECT_EQ(opened->cluster->state().generation(), 1U);
  EXPECT_TRUE(opened->cluster->state().find("one")->hold);
  EXPECT_FALSE(opened->cluster->state().recent_audits("mirror promoted").empty());
  ASSERT_TRUE(f.backup(*opened->cluster, "next", 1, one));
  ASSERT_TRUE(opened->repository->create_cluster("other", 8));
  expect_sound({"next", "one"});
  const auto again = promote_mirror();
  ASSERT_TRUE(again) << again.failure().describe();
  EXPECT_TRUE(again->was_promoted);
}

TEST_F(PromoteTest, TheOldSourceIsLeftBehind) {
  back_up("one");
  remember_from_now_on();
  must_run();
  ASSERT_TRUE(promote_mirror());
  back_up("meanwhile");
  const auto before = mirror.snapshot();
  const auto report = run();
  ASSERT_FALSE(report);
  EXPECT_EQ(report.failure().code(), Errc::Precondition);
  EXPECT_NE(report.failure().describe().find("left behind"), std::string::npos);
  EXPECT_NE(report.failure().describe().find("heir@host"), std::string::npos);
  EXPECT_EQ(mirror.snapshot(), before);
  expect_sound({"one"});
  // A host that has seen the promoted one does not take the old source for it.
  auto repository = f.reopened();
  const auto cluster = repository->find_cluster("main", std::nullopt);
  ASSERT_FALSE(cluster);
  EXPECT_NE(cluster.failure().describe().find("left behind"), std::string::npos);
}

TEST_F(PromoteTest, EveryFailureLeavesTheMirrorOrTheRepository) {
  back_up("one");
  must_run();
  // What a copy that was cut off has left behind the mark.
  back_up("two");
  faulty.add(no_mark());
  EXPECT_FALSE(runs());
  faulty.clear();
  fail_each_operation(*f.memory, faulty, mirror, [&] { return promote_mirror().has_value(); }, [&](bool done) {
    const auto names = sound_names();
    ASSERT_TRUE(names) << names.failure().describe();
    auto opened = open_mirror();
    ASSERT_TRUE(opened);
    if (done) {
      EXPECT_FALSE(opened->repository->is_mirror());
    }
    // "two" was copied whole, and no entry that counts speaks of it: a promotion takes it over by its manifest.
    if (opened->repository->is_mirror()) {
      EXPECT_EQ(*names, std::vector<std::string>{"one"});
    }
    else EXPECT_EQ(*names, (std::vector<std::string>{"one", "two"}));
    if (!opened->repository->is_mirror()) {
      auto appended = opened->cluster->log().append(opened->cluster->actor(), EntryContent(AuditEntry{"test", ""}));
      EXPECT_TRUE(appended) << appended.failure().describe();
    } else {
      EXPECT_TRUE(runs()) << "the source may go on copying";
      // Not for the promotion that follows: it is of what was there before.
    }
  });
}

TEST_F(PromoteTest, EntriesThatComeLateIntoTheOldGenerationCountForNothing) {
  back_up("one");
  must_run();
  ASSERT_TRUE(promote_mirror());
  const auto promoted = mirror.snapshot();
  back_up("late");
  for (const auto& [name, data] : f.memory->snapshot())
    if (!promoted.contains(name)) mirror.replace(name, *data);
  expect_sound({"one"});
}

TEST_F(PromoteTest, KeySlotsThatTheSourceRemovedGo) {
  back_up("one");
  Unlock second;
  second.provider = KeyProvider::Recovery;
  second.key = crypto::Key256::generate(f.random);
  const auto slot = f.repository->add_slot(second, Role::Root, "", nullptr);
  ASSERT_TRUE(slot) << slot.failure().describe();
  must_run();
  ASSERT_TRUE(f.repository->remove_slot(*slot));
  must_run();
  EXPECT_TRUE(mirror.stat(slot_name(*slot))->has_value()) << "no copy takes a key away";
  const auto report = promote_mirror();
  ASSERT_TRUE(report) << report.failure().describe();
  EXPECT_EQ(report->removed_slots, std::vector<std::string>{*slot});
  EXPECT_FALSE(mirror.stat(slot_name(*slot))->has_value());
  expect_sound({"one"});
}

TEST_F(PromoteTest, ARootThatWasRotatedAtTheSourceMeanwhilePromotesTwice) {
  back_up("one");
  must_run();
  // The keys come with a copy that is cut off, the log's entries about them count for nothing.
  std::vector<Repository::Slot> slots;
  slots.push_back({RepositoryFixture::copy_of(f.unlock), ""});
  ASSERT_TRUE(f.repository->rotate_root(std::move(slots), false));
  faulty.add(no_mark());
  EXPECT_FALSE(runs());
  // The first promotion ends right before its mark.
  EXPECT_FALSE(promote_mirror());
  faulty.clear();
  const auto report = promote_mirror();
  ASSERT_TRUE(report) << report.failure().describe();
  auto opened = open_mirror();
  ASSERT_TRUE(opened) << opened.failure().describe();
  EXPECT_EQ(opened->cluster->state().generation(), report->clusters[0].log.generation);
  EXPECT_EQ(opened->names(), std::vector<std::string>{"one"});
  const auto appended = opened->cluster->log().append(opened->cluster->actor(), EntryContent(AuditEntry{"test", ""}));
  EXPECT_TRUE(appended) << appended.failure().describe();
}

TEST_F(PromoteTest, AStoreOfOneWriterAndWhatIsNoMirrorAreRefused) {
  back_up("one");
  auto none = Repository::open_to_promote(f.environment(), unlocks());
  ASSERT_FALSE(none);
  EXPECT_EQ(none.failure().code(), Errc::Precondition);
  options.one_writer = true;
  must_run();
  const auto report = promote_mirror();
  ASSERT_FALSE(report);
  EXPECT_EQ(report.failure().code(), Errc::Precondition);
  expect_sound({"one"});
}

TEST_F(PromoteTest, NeedsARootKey) {
  back_up("one");
  Unlock host;
  host.provider = KeyProvider::KeyFile;
  host.key = crypto::Key256::generate(f.random);
  ASSERT_TRUE(f.repository->add_slot(host, Role::Host, "", f.cluster.get()));
  must_run();
  const auto before = mirror.snapshot();
  std::vector<Unlock> only_host;
  only_host.push_back(RepositoryFixture::copy_of(host));
  auto opened = Repository::open_to_promote(mirror_environment(), std::move(only_host));
  ASSERT_TRUE(opened) << opened.failure().describe();
  const auto report = promote(**opened, "heir@host");
  ASSERT_FALSE(report);
  EXPECT_EQ(report.failure().code(), Errc::Key);
  EXPECT_EQ(mirror.snapshot(), before);
}

TEST_F(PromoteTest, AMarkOfAPromotionIsAuthentic) {
  back_up("one");
  must_run();
  auto stored = newest_mark(mirror, f.repository->format().repository);
  ASSERT_TRUE(stored && *stored);
  auto forged = (*stored)->mark;
  ++forged.number;
  forged.state = MirrorState::Promoted;
  const auto key = crypto::Key256::generate(f.random);
  ASSERT_TRUE(mirror.create(mirror_mark_name(forged.number), encode_mark(forged, f.repository->format().repository, &key)));
  const auto opened = open_mirror();
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.failure().code(), Errc::Corruption);
}

}  // namespace
}  // namespace pgmint::repository

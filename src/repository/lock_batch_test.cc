#include "repository/lock_batch.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <map>
#include <mutex>

namespace pgmint::repository {
namespace {

using storage::LockMode;
using storage::ObjectLock;
using storage::ObjectVersion;
using namespace std::chrono_literals;
using std::chrono::days;

TimePoint on_day(int day) { return TimePoint(days(20'000 + day)); }

/// The locks of a bucket, by its rules. A stand-in: what RGW does is in tests/integration/test_object_lock.py.
class LockedBucket final : public storage::ObjectVersions {
 public:
  void add(const std::string& name, const std::string& id, std::optional<ObjectLock> lock = {}, bool marker = false) {
    objects[name].insert(objects[name].begin(), {{name, id, marker, true, 1, on_day(0)}, lock});
  }
  Status list(const std::string& prefix, const std::string&, const std::function<Status(const ObjectVersion&)>& visit) override {
    for (const auto& [name, versions] : objects)
      if (name.starts_with(prefix))
        for (const auto& version : versions) TRY(visit(version.first));
    return ok();
  }
  Result<std::optional<Bytes>> read_front(const std::string&, const std::string&, std::size_t) override { return std::optional<Bytes>(); }
  Status bring_back(const std::string&, const std::string&) override { return ok(); }
  Result<bool> remove_bypassing(const ObjectVersion&) override { return false; }
  Result<std::vector<Refused>> remove(std::span<const ObjectVersion>) override { return std::vector<Refused>(); }
  Result<std::optional<ObjectLock>> lock_of(const std::string& name, const std::string& id) override {
    const std::lock_guard guard(mutex);
    ++asked;
    return find(name, id);
  }
  Status lock(const std::string& name, const std::string& id, const ObjectLock& lock) override {
    const std::lock_guard guard(mutex);
    if (locked == locks_max) return Error(Errc::Key, "denied");
    auto& held = find(name, id);
    const bool weaker = held && (lock.until < held->until || lock.mode != held->mode);
    EXPECT_EQ(lock.until, std::chrono::floor<std::chrono::seconds>(lock.until)) << "S3 knows seconds";
    if (weaker) {
      ++refused;
      return Error(Errc::Key, "weaker");
    }
    held = lock;
    ++locked;
    return ok();
  }
  std::optional<ObjectLock>& find(const std::string& name, const std::string& id) {
    for (auto& [version, lock] : objects.at(name))
      if (version.id == id) return lock;
    throw std::out_of_range(name);
  }

  std::map<std::string, std::vector<std::pair<ObjectVersion, std::optional<ObjectLock>>>> objects;  ///< newest first
  std::mutex mutex;
  int asked = 0, locked = 0, refused = 0, locks_max = 1 << 30;
};

class LockBatches : public testing::Test {
 protected:
  ~LockBatches() override { EXPECT_EQ(bucket.refused, weaker_expected) << "a lock is never shortened, nor its mode changed"; }
  Status run(LockMode mode = LockMode::Governance, bool dry_run = false, bool ask_all = false) {
    counts = {};
    LockBatch batch;
    batch.mode = mode;
    batch.dry_run = dry_run;
    batch.ask_all = ask_all;
    batch.cancel = &cancel;
    batch.wanted = [&](const std::string& name) { return wanted.contains(name) ? std::optional(wanted.at(name)) : std::nullopt; };
    batch.enough = [](TimePoint until) { return std::min(until, on_day(34)); };
    const std::string prefixes[] = {"format", "c/"};
    return extend_locks(bucket, prefixes, batch, memory, counts);
  }
  int weaker_expected = 0;
  LockedBucket bucket;
  LockMemory memory;
  LockCounts counts;
  CancelToken cancel;
  std::map<std::string, TimePoint> wanted;
};

TEST_F(LockBatches, OnlyWhatWouldRunOutIsExtended) {
  bucket.add("c/soon", "1", ObjectLock{LockMode::Governance, on_day(33)});
  bucket.add("c/later", "1", ObjectLock{LockMode::Governance, on_day(35)});
  bucket.add("c/short", "1", ObjectLock{LockMode::Governance, on_day(10)});
  bucket.add("c/none", "1");
  bucket.add("c/nobody", "1");
  bucket.add("format", "1", ObjectLock{LockMode::Governance, on_day(500)});
  wanted = {{"c/soon", on_day(90)}, {"c/later", on_day(90)}, {"c/short", on_day(10)}, {"c/none", on_day(90) + 5us}, {"format", on_day(90)}};
  ASSERT_TRUE(run());
  EXPECT_EQ(bucket.find("c/soon", "1")->until, on_day(90));
  EXPECT_EQ(bucket.find("c/later", "1")->until, on_day(35)) << "the next look is before that";
  EXPECT_EQ(bucket.find("c/short", "1")->until, on_day(10)) << "not longer than it is wanted";
  EXPECT_EQ(bucket.find("c/none", "1")->until, on_day(90) + 1s);
  EXPECT_FALSE(bucket.find("c/nobody", "1"));
  EXPECT_EQ(bucket.find("format", "1")->until, on_day(500)) << "never shortened";
  EXPECT_EQ(counts.needed, 5u);
  EXPECT_EQ(counts.asked, 5u);
  EXPECT_EQ(counts.extended, 2u);
  EXPECT_EQ(counts.first_end, on_day(10));
  EXPECT_EQ(counts.last_end, on_day(500));
  ASSERT_TRUE(run());
  EXPECT_EQ(counts.needed, 5u);
  EXPECT_EQ(counts.asked + counts.extended, 0u) << "it remembers";
  EXPECT_EQ(counts.first_end, on_day(10));
  ASSERT_TRUE(run(LockMode::Governance, false, true));
  EXPECT_EQ(counts.asked, 5u);
}

TEST_F(LockBatches, TheFirstVersionIsLockedWhateverHidesIt) {
  bucket.add("c/hidden", "ours");
  bucket.add("c/hidden", "m", {}, true);
  bucket.add("c/overwritten", "ours");
  bucket.add("c/overwritten", "theirs");
  bucket.add("c/back", "ours");
  bucket.add("c/back", "m", {}, true);
  bucket.add("c/back", "copy");
  bucket.add("c/marker", "m", {}, true);
  wanted = {{"c/hidden", on_day(90)}, {"c/overwritten", on_day(90)}, {"c/back", on_day(90)}, {"c/marker", on_day(90)}};
  ASSERT_TRUE(run());
  for (const char* name : {"c/hidden", "c/overwritten", "c/back"}) EXPECT_TRUE(bucket.find(name, "ours")) << name;
  EXPECT_FALSE(bucket.find("c/overwritten", "theirs"));
  EXPECT_TRUE(bucket.find("c/back", "copy")) << "what is read, since a marker hid the first one";
  EXPECT_EQ(counts.extended, 4u);
}

TEST_F(LockBatches, AModeStaysWhatItIs) {
  bucket.add("c/g", "1", ObjectLock{LockMode::Governance, on_day(100)});
  bucket.add("c/c", "1", ObjectLock{LockMode::Compliance, on_day(20)});
  bucket.add("c/short", "1", ObjectLock{LockMode::Governance, on_day(20)});
  bucket.add("c/none", "1");
  wanted = {{"c/g", on_day(90)}, {"c/c", on_day(90)}, {"c/short", on_day(90)}};
  ASSERT_TRUE(run(LockMode::Governance));
  EXPECT_EQ(*bucket.find("c/g", "1"), (ObjectLock{LockMode::Governance, on_day(100)}));
  EXPECT_EQ(*bucket.find("c/c", "1"), (ObjectLock{LockMode::Compliance, on_day(90)}));
  EXPECT_EQ(*bucket.find("c/short", "1"), (ObjectLock{LockMode::Governance, on_day(90)}));
  EXPECT_EQ(counts.governance, 0u);
  wanted["c/none"] = on_day(90);
  ASSERT_TRUE(run(LockMode::Compliance));
  EXPECT_EQ(*bucket.find("c/g", "1"), (ObjectLock{LockMode::Governance, on_day(100)}));
  EXPECT_EQ(*bucket.find("c/none", "1"), (ObjectLock{LockMode::Compliance, on_day(90)}));
  EXPECT_EQ(counts.governance, 2u) << "and it is said";
}

TEST_F(LockBatches, ADryRunCountsAndChangesNothing) {
  bucket.add("c/a", "1");
  wanted = {{"c/a", on_day(90)}};
  ASSERT_TRUE(run(LockMode::Governance, true));
  EXPECT_EQ(counts.extended, 1u);
  EXPECT_EQ(bucket.locked, 0);
  ASSERT_TRUE(run());
  EXPECT_EQ(bucket.locked, 1) << "nor is it remembered as done";
}

TEST_F(LockBatches, WhatWasDoneBeforeAFailureIsRemembered) {
  for (int i = 0; i < 100; ++i) {
    bucket.add(fmt::format("c/{:03}", i), "1");
    wanted[fmt::format("c/{:03}", i)] = on_day(90);
  }
  bucket.locks_max = 40;
  const auto failed = run();
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.failure().code(), Errc::Key);
  bucket.locks_max = 1000;
  bucket.asked = bucket.locked = 0;
  ASSERT_TRUE(run());
  EXPECT_EQ(bucket.locked, 60);
  EXPECT_EQ(bucket.asked, 60) << "of the others it is known";
}

TEST_F(LockBatches, WhatAnotherHostHasExtendedMeanwhileIsLeftSo) {
  bucket.add("c/a", "1", ObjectLock{LockMode::Governance, on_day(20)});
  bucket.add("c/b", "1", ObjectLock{LockMode::Governance, on_day(20)});
  bucket.add("c/c", "1", ObjectLock{LockMode::Governance, on_day(20)});
  wanted = {{"c/a", on_day(20)}, {"c/b", on_day(20)}, {"c/c", on_day(20)}};
  ASSERT_TRUE(run());
  bucket.find("c/a", "1")->until = on_day(500);
  *bucket.find("c/b", "1") = {LockMode::Compliance, on_day(25)};
  wanted = {{"c/a", on_day(90)}, {"c/b", on_day(90)}, {"c/c", on_day(90)}};
  weaker_expected = 2;
  ASSERT_TRUE(run());
  EXPECT_EQ(bucket.find("c/a", "1")->until, on_day(500));
  EXPECT_EQ(*bucket.find("c/b", "1"), (ObjectLock{LockMode::Compliance, on_day(90)}));
  EXPECT_EQ(counts.asked, 2u);
  EXPECT_EQ(counts.extended, 2u);
  ASSERT_TRUE(run());
  EXPECT_EQ(counts.asked + counts.extended, 0u);
}

TEST_F(LockBatches, IsInterrupted) {
  bucket.add("c/a", "1");
  wanted = {{"c/a", on_day(90)}};
  cancel.cancel();
  EXPECT_EQ(run().failure().code(), Errc::Cancelled);
}

}  // namespace
}  // namespace pgmint::repository

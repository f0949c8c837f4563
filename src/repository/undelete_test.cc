#include "repository/undelete.h"

#include <gtest/gtest.h>

#include <map>

#include "base/random.h"
#include "repository/layout.h"
#include "repository/object_header.h"

namespace pgmint::repository {
namespace {

using storage::ObjectVersion;
using namespace std::chrono_literals;

/// A bucket that keeps versions, in memory.
class MemoryVersions final : public storage::ObjectVersions {
 public:
  explicit MemoryVersions(Clock& clock) : clock_(clock) {}

  void put(const std::string& name, Bytes content) { add(name, std::move(content), false); }
  void hide(const std::string& name) { add(name, {}, true); }
  std::optional<Bytes> now(const std::string& name) const {
    const auto found = objects.find(name);
    if (found == objects.end() || found->second.front().first.marker) return std::nullopt;
    return found->second.front().second;
  }

  Status list(const std::string& prefix, const std::string& from, const std::function<Status(const ObjectVersion&)>& visit) override {
    for (const auto& [name, versions] : objects)
      if (name.starts_with(prefix) && name >= from)
        for (std::size_t i = 0; i < versions.size(); ++i) {
          auto version = versions[i].first;
          version.latest = i == 0;
          TRY(visit(version));
        }
    return ok();
  }
  Result<std::optional<Bytes>> read_front(const std::string& name, const std::string& id, std::size_t length) override {
    for (const auto& [version, content] : objects.at(name))
      if (version.id == id) return std::optional(Bytes(content.begin(), content.begin() + static_cast<std::ptrdiff_t>(std::min(length, content.size()))));
    return std::optional<Bytes>();
  }
  Status bring_back(const std::string& name, const std::string& id) override {
    const auto content = **read_front(name, id, 1 << 20);
    put(name, content);
    order.push_back(name);
    return ok();
  }
  Result<bool> remove_bypassing(const ObjectVersion&) override { return false; }
  Result<std::vector<Refused>> remove(std::span<const ObjectVersion>) override { return std::vector<Refused>(); }
  Result<std::optional<storage::ObjectLock>> lock_of(const std::string&, const std::string&) override { return std::optional<storage::ObjectLock>(); }
  Status lock(const std::string&, const std::string&, const storage::ObjectLock&) override { return ok(); }

  std::map<std::string, std::vector<std::pair<ObjectVersion, Bytes>>> objects;  ///< newest first
  std::vector<std::string> order;

 private:
  void add(const std::string& name, Bytes content, bool marker) {
    ObjectVersion version{name, fmt::format("v{}", ++number_), marker, true, content.size(), clock_.now(), encrypted ? fmt::format("e{}", number_) : to_hex(content).substr(0, 400)};
    auto& all = objects[name];
    all.insert(all.begin(), {std::move(version), std::move(content)});
  }
  Clock& clock_;
  int number_ = 0;

 public:
  bool encrypted = false;  ///< no two etags are alike
};

class Undelete : public testing::Test {
 protected:
  Bytes object(ObjectKind kind, std::string_view content, RepositoryId repository) {
    Bytes made = to_bytes(encode_header({kind, Epoch(1), repository, {}, {}}));
    append(made, as_bytes(content));
    return made;
  }
  Bytes object(ObjectKind kind, std::string_view content) { return object(kind, content, id); }
  void fill() {
    bucket.put("format", object(ObjectKind::Format, "f"));
    bucket.put(slot, object(ObjectKind::KeySlot, "k"));
    bucket.put(log, object(ObjectKind::LogEntry, "l"));
    bucket.put(pack, object(ObjectKind::Pack, "p"));
    clock.sleep(1h);
  }
  UndeletePlan plan(std::optional<TimePoint> since = {}) {
    UndeleteOptions options;
    options.since = since;
    auto made = plan_undelete(bucket, options);
    EXPECT_TRUE(made) << made.failure().describe();
    return made ? *made : UndeletePlan{};
  }
  void run() { ASSERT_TRUE(undelete(bucket, plan(), cancel, {})); }

  SeededRandom random{5};
  ManualClock clock{*parse_time("2026-11-22T00:00:00Z")};
  CancelToken cancel;
  MemoryVersions bucket{clock};
  const RepositoryId id = random.id<RepositoryId>();
  const ClusterId cluster = random.id<ClusterId>();
  const std::string slot = slot_name("a"), log = log_entry_name(cluster, 0, 0), pack = pack_name(cluster, {random.id<SessionId>(), 0});
};

TEST_F(Undelete, WhatIsHiddenComesBackKeysFirst) {
  fill();
  for (const auto& name : {std::string("format"), slot, log, pack}) bucket.hide(name);
  EXPECT_EQ(plan().objects.size(), 4u);
  EXPECT_EQ(plan().old_versions, 8u);
  run();
  EXPECT_EQ(*bucket.now("format"), object(ObjectKind::Format, "f"));
  EXPECT_EQ(*bucket.now(pack), object(ObjectKind::Pack, "p"));
  ASSERT_EQ(bucket.order.size(), 4u);
  EXPECT_EQ(bucket.order[2], log);
  EXPECT_EQ(bucket.order[3], pack);
  EXPECT_TRUE(plan().objects.empty()) << "nothing is left to do";
}

TEST_F(Undelete, OfWhatWasOverwrittenTheFirstVersionComesBack) {
  fill();
  bucket.put(pack, object(ObjectKind::Pack, "forged"));
  bucket.put(log, to_bytes(as_bytes("garbage")));
  bucket.put("format", object(ObjectKind::Format, "f", random.id<RepositoryId>()));
  bucket.hide(log);
  const auto found = plan();
  ASSERT_EQ(found.objects.size(), 3u);
  EXPECT_EQ(std::ranges::count_if(found.objects, &LostObject::overwritten), 2);
  run();
  EXPECT_EQ(*bucket.now(pack), object(ObjectKind::Pack, "p"));
  EXPECT_EQ(*bucket.now(log), object(ObjectKind::LogEntry, "l"));
  EXPECT_EQ(*bucket.now("format"), object(ObjectKind::Format, "f"));
}

TEST_F(Undelete, AVersionThatIsNotOursIsNoCandidate) {
  bucket.put("format", object(ObjectKind::Format, "f"));
  bucket.put(pack, object(ObjectKind::Pack, "of another", random.id<RepositoryId>()));
  bucket.put(pack, object(ObjectKind::Pack, "p"));
  bucket.put(log, to_bytes(as_bytes("garbage")));
  bucket.hide(log);
  const auto found = plan();
  EXPECT_TRUE(found.objects.empty()) << "what is read under the pack's name is right";
  EXPECT_EQ(found.beyond_help, std::vector<std::string>{log});
}

TEST_F(Undelete, SinceLeavesWhatWasRemovedBefore) {
  fill();
  bucket.hide(slot);
  clock.sleep(1h);
  const auto attack = clock.now();
  bucket.hide(slot);  // a second marker upon the first: it went with the first
  bucket.hide(pack);
  const auto found = plan(attack);
  ASSERT_EQ(found.objects.size(), 1u);
  EXPECT_EQ(found.objects[0].name, pack);
  EXPECT_EQ(plan().objects.size(), 2u);
}

TEST_F(Undelete, TwoVersionsOfTheSameBytesAreNoOverwriting) {
  bucket.encrypted = true;
  fill();
  bucket.put(pack, object(ObjectKind::Pack, "p"));
  EXPECT_TRUE(plan().objects.empty());
  bucket.put(pack, object(ObjectKind::Pack, "q"));
  EXPECT_EQ(plan().objects.size(), 1u);
}

TEST_F(Undelete, OthersObjectsAndProbesAreLeft) {
  fill();
  for (const char* name : {"probe/1", "readme"}) {
    bucket.put(name, {});
    bucket.hide(name);
  }
  EXPECT_TRUE(plan().objects.empty());
}

TEST_F(Undelete, WithoutAFormatOfOursNothingIsDone) {
  bucket.put(pack, object(ObjectKind::Pack, "p"));
  EXPECT_FALSE(plan_undelete(bucket, {}));
}

}  // namespace
}  // namespace pgmint::repository

#include "storage/retry_versions.h"

#include <gtest/gtest.h>

#include "storage/instant_clock.h"

namespace pgmint::storage {
namespace {

/// Three names of up to three versions; each listing ends in a failure after as many versions as the test says.
class FailingVersions final : public ObjectVersions {
 public:
  Status list(const std::string& prefix, const std::string& from, const std::function<Status(const ObjectVersion&)>& visit) override {
    ++listings;
    int left = steps;
    for (const auto& version : all) {
      if (!version.name.starts_with(prefix) || version.name < from) continue;
      if (left-- == 0) return Error(Errc::Storage, "cut off");
      TRY(visit(version));
    }
    return ok();
  }
  Result<std::optional<Bytes>> read_front(const std::string&, const std::string&, std::size_t) override {
    TRY(fail());
    return std::optional(Bytes{1});
  }
  Status bring_back(const std::string&, const std::string&) override { return fail(); }
  Result<bool> remove_bypassing(const ObjectVersion&) override { return false; }
  Result<std::vector<Refused>> remove(std::span<const ObjectVersion>) override {
    TRY(fail());
    return std::vector<Refused>();
  }
  Result<std::optional<ObjectLock>> lock_of(const std::string&, const std::string&) override {
    TRY(fail());
    return std::optional<ObjectLock>();
  }
  Status lock(const std::string&, const std::string&, const ObjectLock&) override { return fail(); }

  std::vector<ObjectVersion> all;
  int steps = 0, listings = 0, failures = 0;
  Errc how = Errc::Unknown;

 private:
  Status fail() {
    if (failures == 0) return ok();
    --failures;
    return Error(how, "a lost answer");
  }
};

class RetryVersionsTest : public testing::Test {
 protected:
  RetryVersionsTest() {
    for (const auto& [name, id] : {std::pair("a", "3"), {"a", "2"}, {"a", "1"}, {"b", "1"}, {"c", "2"}, {"c", "1"}}) {
      ObjectVersion version;
      version.name = name;
      version.id = id;
      failing.all.push_back(std::move(version));
    }
  }
  std::string seen;
  Status list() {
    return versions->list("", "", [&](const ObjectVersion& version) -> Status {
      seen += version.name + version.id;
      return ok();
    });
  }
  FailingVersions failing;
  InstantClock clock;
  SeededRandom random{3};
  std::unique_ptr<ObjectVersions> versions = make_retry_versions(failing, {}, clock, random, nullptr);
};

TEST_F(RetryVersionsTest, AListingThatIsCutOffGoesOnWithoutTellingAnythingTwice) {
  for (failing.steps = 4; failing.steps < 8; ++failing.steps) {
    seen.clear();
    const auto listed = list();
    ASSERT_TRUE(listed) << listed.failure().describe();
    EXPECT_EQ(seen, "a3a2a1b1c2c1") << failing.steps;
  }
}

TEST_F(RetryVersionsTest, AListingThatDoesNotGetOnIsGivenUp) {
  failing.steps = 3;  // never beyond the versions of "a"
  ASSERT_FALSE(list());
  EXPECT_EQ(seen, "a3a2a1");
  EXPECT_GT(failing.listings, 2);
}

TEST_F(RetryVersionsTest, WhatTheVisitorRefusesIsNotAskedForAgain) {
  failing.steps = 10;
  const auto listed = versions->list("", "", [](const ObjectVersion&) -> Status { return Error(Errc::Storage, "the visitor's own"); });
  ASSERT_FALSE(listed);
  EXPECT_EQ(failing.listings, 1);
}

TEST_F(RetryVersionsTest, ALostAnswerIsAskedForAgainAndARefusalIsNot) {
  failing.failures = 10;
  failing.how = Errc::Key;
  EXPECT_FALSE(versions->bring_back("a", "1"));
  EXPECT_EQ(failing.failures, 9);
  failing.how = Errc::Unknown;
  const auto twice = [&](auto operation) {
    failing.failures = 2;
    EXPECT_TRUE(operation());
    EXPECT_EQ(failing.failures, 0);
  };
  twice([&] { return versions->bring_back("a", "1"); });
  twice([&] { return versions->read_front("a", "1", 8); });
  twice([&] { return versions->remove(failing.all); });
  twice([&] { return versions->lock_of("a", "1"); });
  twice([&] { return versions->lock("a", "1", {}); });
}

}  // namespace
}  // namespace pgmint::storage

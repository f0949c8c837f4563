// Against scripted replies: a store that lies cannot be had. What RGW does is in tests/integration/test_object_lock.py.
#include "cli/lock_trial.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "http/testing_server.h"
#include "storage/instant_clock.h"

namespace pgmint::cli {
namespace {

using http::reply;
using http::ScriptedReply;
using http::ScriptedServer;
using storage::S3Finding;
using Grade = S3Finding::Grade;
using namespace std::chrono_literals;

std::string error_body(std::string_view code) { return fmt::format("<Error><Code>{}</Code></Error>", code); }

/// A bucket of one locked object at most.
struct Bucket {
  explicit Bucket(storage::InstantClock& c) : clock(c) {}

  ScriptedReply answer(const std::string& request) {
    const auto line = request.substr(0, request.find('\r'));
    const bool locked = takes_locks && clock.now() < until;
    if (line.starts_with("PUT ")) {
      const auto at = request.find("retain-until-date: ");
      EXPECT_NE(at, std::string::npos) << request;
      until = *parse_time(request.substr(at + 19, 20));
      key = line.substr(4, line.find(' ', 4) - 4).substr(std::string_view("/bucket/").size());
      clock.sleep(slow);
      return reply(200);
    }
    if (line.find("?versions=") != std::string::npos)
      return reply(200, key.empty() ? "<ListVersionsResult/>" : fmt::format("<ListVersionsResult><Version><Key>{}</Key><VersionId>v1</VersionId><IsLatest>true</IsLatest><LastModified>2026-11-27T09:00:00Z</LastModified><Size>5</Size></Version></ListVersionsResult>", key));
    if (line.find("?retention=") != std::string::npos)
      return locked ? reply(200, fmt::format("<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>{}</RetainUntilDate></Retention>", format_rfc3339(std::chrono::floor<std::chrono::seconds>(until)))) : reply(404, error_body("NoSuchObjectLockConfiguration"));
    if (line.starts_with("DELETE ")) {
      const bool bypasses = may_bypass && request.find("x-amz-bypass-governance-retention: true") != std::string::npos;
      if (!may_remove || (locked && !bypasses)) return reply(403, error_body("AccessDenied"));
      key.clear();
      return reply(204);
    }
    return reply(200, object_lock_answer);
  }

  storage::InstantClock& clock;
  std::string key, object_lock_answer = "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>";
  TimePoint until{};
  bool takes_locks = true, may_bypass = false, may_remove = true;
  std::chrono::microseconds slow{};
};

class LockTrial : public testing::Test {
 protected:
  S3Finding tried(storage::LockMode mode = storage::LockMode::Governance) {
    const auto finding = try_lock(*store(), mode, clock, cancel);
    EXPECT_TRUE(finding) << finding.failure().describe();
    return finding ? *finding : S3Finding{};
  }
  storage::S3Store* store() {
    storage::S3Options options;
    options.url = "s3://bucket/prefix";
    options.endpoint = server.url();
    options.path_style = true;
    opened = std::move(*storage::open_s3_store(options, http::make_client({}), http::fixed_credentials({"KEY", "secret", "", {}, "test"}), clock));
    return opened.get();
  }
  storage::InstantClock clock;
  CancelToken cancel;
  Bucket bucket{clock};
  ScriptedServer server{[this](const std::string& request) { return bucket.answer(request); }};
  std::unique_ptr<storage::S3Store> opened;
};

TEST_F(LockTrial, ALockThatHoldsIsFineAndNothingIsLeft) {
  const auto finding = tried();
  EXPECT_EQ(finding.grade, Grade::Fine) << finding.detail;
  EXPECT_NE(finding.detail.find("may not bypass"), std::string::npos) << finding.detail;
  EXPECT_TRUE(bucket.key.empty());
  EXPECT_EQ(tried(storage::LockMode::Compliance).detail.find("bypass"), std::string::npos) << "there nobody may";
}

TEST_F(LockTrial, AStoreThatClaimsLocksAndHasNoneIsFound) {
  bucket.takes_locks = false;
  const auto finding = tried();
  EXPECT_EQ(finding.grade, Grade::Bad) << finding.detail;
  EXPECT_NE(finding.detail.find("protects nothing"), std::string::npos);
}

TEST_F(LockTrial, WhoAnswersLateIsNotAccused) {
  bucket.takes_locks = false;
  bucket.slow = 7s;
  EXPECT_EQ(tried().grade, Grade::Warning);
}

TEST_F(LockTrial, WhoMayBypassIsToldSo) {
  bucket.may_bypass = true;
  const auto finding = tried();
  EXPECT_EQ(finding.grade, Grade::Warning);
  EXPECT_NE(finding.detail.find("may bypass"), std::string::npos) << finding.detail;
}

TEST_F(LockTrial, ARefusalThatIsAboutTheCredentialsShowsNothing) {
  bucket.may_remove = false;
  const auto finding = tried(storage::LockMode::Compliance);
  EXPECT_EQ(finding.grade, Grade::Warning);
  EXPECT_NE(finding.detail.find("not shown"), std::string::npos) << finding.detail;
}

TEST_F(LockTrial, ABucketWithoutObjectLockIsRefused) {
  EXPECT_TRUE(need_object_lock(*store()));
  bucket.object_lock_answer = "<ObjectLockConfiguration/>";
  const auto refused = need_object_lock(*store());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.failure().code(), Errc::Precondition);
}

}  // namespace
}  // namespace pgmint::cli

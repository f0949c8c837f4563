#include <gtest/gtest.h>

#include <atomic>
#include <future>

#include "base/log.h"
#include "http/testing_aws.h"

namespace pgmint::http {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

/// Gives "key-1", "key-2", ..., each for `lifetime`, or fails.
struct Giver {
  ManualClock clock{kTestNow};
  int asked = 0;
  std::optional<std::chrono::microseconds> lifetime = std::chrono::hours(1);
  std::optional<Error> failure;

  std::unique_ptr<AwsCredentialSource> source() {
    return renewed_credentials(
        [this]() -> Result<AwsCredentials> {
          ++asked;
          if (failure) return *failure;
          AwsCredentials given{fmt::format("key-{}", asked), "secret", "token", std::nullopt, "a test"};
          if (lifetime) given.expires = clock.now() + *lifetime;
          return given;
        },
        clock);
  }
};

struct Warnings {
  std::vector<std::string> lines;
  Warnings() {
    set_log_observer([this](LogLevel level, std::string_view text) {
      if (level == LogLevel::Warning) lines.emplace_back(text);
    });
  }
  Warnings(const Warnings&) = delete;
  Warnings& operator=(const Warnings&) = delete;
  ~Warnings() { set_log_observer({}); }
};

std::string key(AwsCredentialSource& source) {
  auto given = source.get();
  return given ? given->access_key_id : given.failure().describe();
}

TEST(AwsRenewal, AsksOnceWhileTheyAreValid) {
  Giver giver;
  auto source = giver.source();
  EXPECT_EQ(giver.asked, 0) << "nobody needed any";
  EXPECT_EQ(key(*source), "key-1");
  giver.clock.sleep(minutes(54));
  EXPECT_EQ(key(*source), "key-1");
  EXPECT_EQ(giver.asked, 1);
}

TEST(AwsRenewal, RenewsFiveMinutesBeforeTheyExpire) {
  Giver giver;
  auto source = giver.source();
  EXPECT_EQ(key(*source), "key-1");
  giver.clock.set(kTestNow + minutes(55) - seconds(1));
  EXPECT_EQ(key(*source), "key-1");
  giver.clock.set(kTestNow + minutes(55));
  EXPECT_EQ(key(*source), "key-2");
}

TEST(AwsRenewal, LongLivedOnesAreKept) {
  Giver giver;
  giver.lifetime.reset();
  auto source = giver.source();
  EXPECT_EQ(key(*source), "key-1");
  giver.clock.sleep(std::chrono::hours(24 * 365));
  EXPECT_EQ(key(*source), "key-1");
}

TEST(AwsRenewal, GoesOnWithTheOldOnesAndWarnsOnceAMinute) {
  Giver giver;
  auto source = giver.source();
  EXPECT_EQ(key(*source), "key-1");
  giver.failure = Error(Errc::Storage, "the service is away");
  Warnings warnings;
  giver.clock.set(kTestNow + minutes(55));
  for (int second = 0; second < 299; ++second) {
    EXPECT_EQ(key(*source), "key-1");
    giver.clock.sleep(seconds(1));
  }
  EXPECT_EQ(warnings.lines.size(), 5u) << "five minutes, one a minute";
  EXPECT_GT(giver.asked, 10) << "it is tried all the time";
  EXPECT_LT(giver.asked, 20) << "and not with every request";
  ASSERT_FALSE(warnings.lines.empty());
  EXPECT_NE(warnings.lines.front().find("the service is away"), std::string::npos) << warnings.lines.front();
  EXPECT_EQ(warnings.lines.front().find("secret"), std::string::npos) << warnings.lines.front();

  giver.clock.set(kTestNow + minutes(60));
  auto expired = source->get();
  ASSERT_FALSE(expired) << "nothing is valid any more";
  EXPECT_EQ(expired.failure().code(), Errc::Storage);
  giver.failure.reset();
  const auto next = fmt::format("key-{}", giver.asked + 1);
  EXPECT_EQ(key(*source), next) << "and no pause once there is nothing left";
}

TEST(AwsRenewal, ShortLivedOnesAreNotAskedForWithEveryRequest) {
  Giver giver;
  giver.lifetime = minutes(4);  // always within the five minutes
  auto source = giver.source();
  for (int second = 0; second < 60; ++second) {
    EXPECT_TRUE(source->get());
    giver.clock.sleep(seconds(1));
  }
  EXPECT_LE(giver.asked, 4);
  EXPECT_GE(giver.asked, 2);
}

TEST(AwsRenewal, RefusesWhatHasExpiredAlready) {
  Giver giver;
  giver.lifetime = std::chrono::microseconds(0);
  auto source = giver.source();
  auto refused = source->get();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.failure().code(), Errc::Storage);
  EXPECT_NE(refused.failure().message().find("2027-01-15T08:00:00Z"), std::string::npos) << refused.failure().message();
}

TEST(AwsRenewal, ForgettingAsksAnewAndOnlyForThoseInUse) {
  Giver giver;
  auto source = giver.source();
  const auto first = source->get();
  ASSERT_TRUE(first);
  auto other = *first;
  other.access_key_id = "key-0";
  source->forget(other);
  EXPECT_EQ(key(*source), "key-1") << "what others were refused with is long gone";
  source->forget(*first);
  EXPECT_EQ(key(*source), "key-2");
  source->forget(*first);
  EXPECT_EQ(key(*source), "key-2") << "a late request's answer";

  source->forget(*source->get());
  giver.failure = Error(Errc::Key, "no more");
  EXPECT_EQ(key(*source), "no more") << "the refused ones do not come back";
}

TEST(AwsRenewal, AFailureIsNotKept) {
  Giver giver;
  giver.failure = Error(Errc::Storage, "away");
  auto source = giver.source();
  EXPECT_EQ(key(*source), "away");
  giver.failure.reset();
  EXPECT_EQ(key(*source), "key-2");
}

/// Threads of a real program: the asking takes until the test lets it go.
struct SlowGiver {
  ManualClock clock{kTestNow};  // not turned while threads run
  std::atomic<int> asked{0};
  std::promise<void> release;
  std::shared_future<void> released{release.get_future()};
  std::promise<void> begun;

  std::unique_ptr<AwsCredentialSource> source(TimePoint expires) {
    return renewed_credentials(
        [this, expires]() -> Result<AwsCredentials> {
          const int number = ++asked;
          if (number == 1) return AwsCredentials{"key-1", "secret", "token", expires, "a test"};
          if (number == 2) begun.set_value();
          released.wait();
          return AwsCredentials{fmt::format("key-{}", number), "secret", "token", std::nullopt, "a test"};
        },
        clock);
  }
};

TEST(AwsRenewal, OneAsksForAllThreads) {
  SlowGiver giver;
  auto source = giver.source(kTestNow + std::chrono::hours(1));
  source->forget(*source->get());  // number 2 is asked while others wait
  std::vector<std::future<std::string>> answers;
  std::atomic<int> about_to{0};
  for (int i = 0; i < 16; ++i)
    answers.push_back(std::async(std::launch::async, [&] {
      ++about_to;
      return key(*source);
    }));
  giver.begun.get_future().wait();
  while (about_to < 16) std::this_thread::yield();
  giver.release.set_value();
  for (auto& answer : answers) EXPECT_EQ(answer.get(), "key-2");
  EXPECT_EQ(giver.asked, 2);
}

TEST(AwsRenewal, NobodyWaitsWhileTheOldOnesAreValid) {
  SlowGiver giver;
  auto source = giver.source(kTestNow + minutes(4));
  EXPECT_EQ(key(*source), "key-1");
  giver.clock.sleep(seconds(30));
  auto renewing = std::async(std::launch::async, [&] { return key(*source); });
  giver.begun.get_future().wait();
  EXPECT_EQ(key(*source), "key-1") << "would never return if it waited";
  giver.release.set_value();
  EXPECT_EQ(renewing.get(), "key-2");
  EXPECT_EQ(key(*source), "key-2");
}

TEST(AwsCredentials, WhatNoKeyHasIsNotSent) {
  EXPECT_TRUE(checked_credentials({"AKIA", "se/cr+et=", "", std::nullopt, "x"}));
  const std::vector<AwsCredentials> wrong = {{"", "s", "", {}, "x"}, {"A", "", "", {}, "x"}, {"A B", "s", "", {}, "x"},
                                             {"A", "s\n", "", {}, "x"}, {"A", "s", "t\r\nx-amz-acl: public", {}, "x"}};
  for (const auto& each : wrong) {
    auto refused = checked_credentials(each);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.failure().code(), Errc::Configuration);
    EXPECT_EQ(refused.failure().message().find("public"), std::string::npos) << "never the secret itself";
  }
}

}  // namespace
}  // namespace pgmint::http

#include "service/notify.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <nlohmann/json.hpp>

#include "storage/temporary_directory.h"

namespace pgmint::service {
namespace {

using namespace std::chrono_literals;

const TimePoint kStart{std::chrono::sys_days(std::chrono::year(2026) / 11 / 22)};

Notification one_problem(std::string message = "WAL is missing") {
  Notification notification{.id = "00112233445566778899aabbccddeeff", .host = "db1", .time = kStart, .test = false, .items = {}, .open = 1};
  notification.items.push_back({Event::New, {"main", "wal-gap", "000000010000000000000003", Severity::Problem, std::move(message), "pgmint backup main"}, kStart, 1});
  return notification;
}

struct FakeTransport final : Transport {
  Status post(const WebRequest& request, const CancelToken*) override {
    posts.push_back(request);
    return answer();
  }
  Status send(const MailRequest& request, const CancelToken*) override {
    mails.push_back(request);
    return answer();
  }
  Status answer() {
    if (failures.empty()) return ok();
    auto failure = failures.front();
    failures.erase(failures.begin());
    return failure;
  }
  std::vector<Error> failures;
  std::vector<WebRequest> posts;
  std::vector<MailRequest> mails;
};

class NotifierTest : public ::testing::Test {
 protected:
  NotifierTest() {
    std::signal(SIGPIPE, SIG_IGN);  // as the program does
    hook.rules.name = "hook";
    hook.type = ChannelType::Webhook;
    hook.url = "https://hooks.example.com/";
    page.rules.name = "page";
    page.type = ChannelType::Command;
  }
  Notifier notifier(std::chrono::milliseconds command_time = 10s) {
    return Notifier({transport, clock, [this](const fs::path&) -> Result<std::string> { return secret; }, &cancel, command_time});
  }
  std::string header(const std::string& name) {
    for (const auto& line : transport.posts.back().headers)
      if (line.starts_with(name + ": ")) return line.substr(name.size() + 2);
    return "";
  }
  FakeTransport transport;
  ManualClock clock{kStart};
  CancelToken cancel;
  Channel hook, page;
  std::string secret = "a secret of enough bytes\n";
  storage::TemporaryDirectory place;
};

TEST(Signature, IsHmacSha256OfTimestampDotBody) {
  // printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac 'a secret of enough bytes'
  EXPECT_EQ(signature_of("a secret of enough bytes", 1'700'000'000, "{\"a\":1}"), "v1=8d2d377de07a9ad78ddc6fb9d8e41c860479759a043508bcc5b56bb3f174fcf5");
}

TEST_F(NotifierTest, AWebhookIsSignedWithTheFirstLineOfItsSecret) {
  hook.secret_file = "/secret";
  ASSERT_TRUE(notifier().deliver(hook, one_problem()));
  ASSERT_EQ(transport.posts.size(), 1U);
  const auto timestamp = kStart.time_since_epoch() / 1s;
  EXPECT_EQ(header("Pgmint-Timestamp"), std::to_string(timestamp));
  EXPECT_EQ(header("Pgmint-Signature"), signature_of("a secret of enough bytes", timestamp, transport.posts[0].body));
  EXPECT_EQ(header("Pgmint-Id"), "00112233445566778899aabbccddeeff");
}

TEST_F(NotifierTest, ASecretThatCanBeGuessedSignsNothing) {
  hook.secret_file = "/secret";
  secret = "short\n" + std::string(100, 'x');
  EXPECT_EQ(notifier().deliver(hook, one_problem()).error().code(), Errc::Key);
  EXPECT_TRUE(transport.posts.empty());
}

TEST_F(NotifierTest, WhatMaySucceedLaterIsTriedThreeTimesWithGrowingPauses) {
  transport.failures = {Error(Errc::Storage, "503"), Error(Errc::Storage, "503")};
  ASSERT_TRUE(notifier().deliver(hook, one_problem()));
  EXPECT_EQ(transport.posts.size(), 3U);
  EXPECT_EQ(clock.now() - kStart, 5s);
  EXPECT_EQ(transport.posts[0].body, transport.posts[2].body) << "the id tells that it is the same";
  transport.failures.assign(5, Error(Errc::Storage, "503"));
  EXPECT_EQ(notifier().deliver(hook, one_problem()).error().code(), Errc::Storage);
  EXPECT_EQ(transport.posts.size(), 6U);
}

TEST_F(NotifierTest, WhatIsRefusedIsNotTriedAgain) {
  transport.failures = {Error(Errc::Precondition, "404")};
  EXPECT_EQ(notifier().deliver(hook, one_problem()).error().code(), Errc::Precondition);
  EXPECT_EQ(transport.posts.size(), 1U);
}

TEST_F(NotifierTest, ACommandGetsTheMessageOnStandardInputAlone) {
  const auto out = place.path() / "out";
  page.command = {"/bin/sh", "-c", "cat > " + out.string() + "; env | grep -c wal-gap; echo \"$*\" | grep wal-gap && exit 1; exit 0", "sh", "ops"};
  ASSERT_TRUE(notifier().deliver(page, one_problem()));
  const auto json = nlohmann::json::parse(*read_text_file(out, 100'000));
  EXPECT_EQ(json["problems"][0]["code"], "wal-gap");
  EXPECT_EQ(json["kind"], "alert");
}

TEST_F(NotifierTest, ACommandThatFailsSaysWhyWithoutItsSecrets) {
  page.command = {"/bin/sh", "-c", "echo trying >&2; echo 'login password=hunter2 refused' >&2; exit 7"};
  const auto failed = notifier().deliver(page, one_problem());
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().message(), "/bin/sh ended with 7: login password=*** refused");
  page.command = {"/nosuch/program"};
  EXPECT_FALSE(notifier().deliver(page, one_problem()));
}

TEST_F(NotifierTest, ACommandThatReadsNothingHasStillDoneItsWork) {
  page.command = {"/bin/true"};
  EXPECT_TRUE(notifier().deliver(page, one_problem(std::string(900, 'x'))));
}

TEST_F(NotifierTest, ACommandThatHangsIsEndedWithAllThatItStarted) {
  const auto mark = place.path() / "alive";
  page.command = {"/bin/sh", "-c", "(while :; do touch " + mark.string() + "; /bin/sleep 0.02; done) & wait"};
  const auto hung = notifier(300ms).deliver(page, one_problem());
  ASSERT_FALSE(hung);
  EXPECT_NE(hung.error().message().find("did not end"), std::string::npos) << hung.error().message();
  fs::remove(mark);
  ::usleep(200'000);  // what would still run would make it again: a test against the real world
  EXPECT_FALSE(fs::exists(mark));
}

TEST_F(NotifierTest, ACommandThatLeavesSomethingRunningIsNotWaitedFor) {
  page.command = {"/bin/sh", "-c", "/bin/sleep 30 & exit 0"};
  const auto began = std::chrono::steady_clock::now();
  EXPECT_TRUE(notifier().deliver(page, one_problem()));
  EXPECT_LT(std::chrono::steady_clock::now() - began, 5s);
}

TEST(Notification, SecretsAndControlCharactersDoNotPass) {
  auto notification = one_problem("connection \"host=a password=hunter2\" failed\r\nBcc: everybody@example.com\xFF");
  notification.items[0].finding.subject = "a\nb";
  const auto mail = mail_of(notification, "pgmint@example.com", {"ops@example.com"});
  const auto json = json_of(notification);
  for (const auto& text : {json, text_of(notification), subject_of(notification), mail}) {
    EXPECT_EQ(text.find("hunter2"), std::string::npos) << text;
    EXPECT_EQ(text.find("\nBcc"), std::string::npos) << text;
  }
  EXPECT_NO_THROW(nlohmann::json::parse(json));
  EXPECT_EQ(json.find('\n'), std::string::npos);
  EXPECT_EQ(subject_of(notification).find('\n'), std::string::npos);
}

TEST(Notification, AMailHasHeadersOfItsOwnEncoding) {
  auto notification = one_problem();
  notification.host = "dä1";
  const auto mail = mail_of(notification, "pgmint@example.com", {"ops@example.com", "dba@example.com"});
  EXPECT_EQ(mail.find('\n'), mail.find("\r\n") + 1);
  EXPECT_NE(mail.find("To: ops@example.com,\r\n dba@example.com\r\n"), std::string::npos) << mail;
  EXPECT_NE(mail.find("Subject: =?UTF-8?B?"), std::string::npos) << mail;
  EXPECT_NE(mail.find("Date: Sun, 22 Nov 2026 00:00:00 +0000\r\n"), std::string::npos) << mail;
  for (std::size_t at = 0; at < mail.size();) {
    const auto end = mail.find("\r\n", at);
    EXPECT_LE(end - at, 78U);
    at = end + 2;
  }
}

TEST(Notification, MoreThanFitsIsCounted) {
  auto notification = one_problem();
  while (notification.items.size() < 250) notification.items.push_back(notification.items[0]);
  const auto json = nlohmann::json::parse(json_of(notification));
  EXPECT_EQ(json["problems"].size(), Notification::kItemsMax);
  EXPECT_EQ(json["left_out"], 150);
  EXPECT_NE(text_of(notification).find("and 150 more"), std::string::npos);
}

}  // namespace
}  // namespace pgmint::service

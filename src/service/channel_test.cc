#include "service/channel.h"

#include <gtest/gtest.h>

namespace pgmint::service {
namespace {

Channel webhook(std::string url) {
  Channel channel;
  channel.rules.name = "hook";
  channel.type = ChannelType::Webhook;
  channel.url = std::move(url);
  return channel;
}

Channel mail(std::string server) {
  Channel channel;
  channel.rules.name = "mail";
  channel.type = ChannelType::Smtp;
  channel.server = std::move(server);
  channel.from = "pgmint@example.com";
  channel.to = {"ops@example.com"};
  return channel;
}

TEST(Channel, WithoutTlsNothingLeavesThisHost) {
  for (const auto* good : {"https://hooks.example.com/a?b=c", "https://[2001:db8::1]:8443/", "http://127.0.0.1:80/x", "http://127.8.9.1/", "http://[::1]/", "http://localhost:9/x"})
    EXPECT_EQ(complaint_of(webhook(good)), "") << good;
  for (const auto* bad : {"http://hooks.example.com/a", "http://127.0.0.1.example.com/", "http://127.1/", "http://0.0.0.0/", "http://[::2]/", "http://localhost.example.com/",
                          "http://[::ffff:127.0.0.1]/", "http://2130706433/", "ftp://127.0.0.1/", "https://", "https://:443/", "hooks.example.com", "https://host:port/", "https://host:/"})
    EXPECT_NE(complaint_of(webhook(bad)), "") << bad;
}

TEST(Channel, NoPartOfAUrlCanBeReadInTwoWays) {
  for (const auto* bad : {"http://127.0.0.1@evil.example/", "http://evil.example\\@127.0.0.1/", "https://user:password@host/", "https://host/a b", "https://host/\r\nX: y", "https://h\xC3\xA4st/"})
    EXPECT_NE(complaint_of(webhook(bad)), "") << bad;
}

TEST(Channel, AMailNeedsAServerAndAddressesThatBreakNoHeader) {
  EXPECT_EQ(complaint_of(mail("smtp://mail.example.com:587")), "");
  EXPECT_EQ(complaint_of(mail("smtps://mail.example.com")), "");
  EXPECT_NE(complaint_of(mail("mail.example.com")), "");
  EXPECT_NE(complaint_of(mail("https://mail.example.com")), "");
  for (const auto* bad : {"", "ops", "@example.com", "ops@", "a@b\r\nBcc: x@y", "<a@b>", "a@b,c@d", "a b@c"}) {
    auto channel = mail("smtps://mail.example.com");
    channel.to = {bad};
    EXPECT_NE(complaint_of(channel), "") << bad;
    channel = mail("smtps://mail.example.com");
    channel.from = bad;
    EXPECT_NE(complaint_of(channel), "") << bad;
  }
  auto half = mail("smtps://mail.example.com");
  half.user = "backup";
  EXPECT_NE(complaint_of(half), "");
}

TEST(Channel, ACommandIsAnAbsolutePath) {
  Channel channel;
  channel.rules.name = "page";
  EXPECT_NE(complaint_of(channel), "");
  channel.command = {"page", "ops"};
  EXPECT_NE(complaint_of(channel), "");
  channel.command = {"/usr/local/bin/page", "ops"};
  EXPECT_EQ(complaint_of(channel), "");
}

TEST(Channel, DescribingItTellsNoSecret) {
  EXPECT_EQ(webhook("https://hooks.example.com/T00/B00/secret").describe(), "webhook to hooks.example.com");
}

}  // namespace
}  // namespace pgmint::service

#include "http/aws_sts.h"

#include <gtest/gtest.h>

#include "http/aws_credential_chain.h"
#include "http/sigv4.h"
#include "http/testing_aws.h"

namespace pgmint::http {
namespace {

const AwsCredentials kCaller{"AKIACALLER", "callers-secret", "callers-token", std::nullopt, "a test"};

struct Sts {
  TestAws aws;
  ScriptedReply next;
  ScriptedServer server{[this](const std::string&) { return next; }};

  Result<AwsCredentials> assume(AwsRole role = {.arn = "arn:aws:iam::123456789012:role/backup"}) {
    return AwsSts(aws.surroundings(), server.url(), "eu-central-1").assume_role(kCaller, role);
  }
};

TEST(AwsSts, AsksForARoleAndReadsItsCredentials) {
  Sts sts;
  sts.next = reply(200, sts_answer("AssumeRole", "ASIAROLE"));
  auto given = sts.assume({.arn = "arn:aws:iam::123456789012:role/backup", .session_name = "a name", .external_id = "x&y=z"});
  ASSERT_TRUE(given) << given.failure().describe();
  EXPECT_EQ(given->access_key_id, "ASIAROLE");
  EXPECT_EQ(given->secret_access_key, "secret+of/ASIAROLE");
  EXPECT_EQ(given->session_token, "token+of/ASIAROLE==");
  EXPECT_EQ(given->expires, kTestNow + std::chrono::hours(1));
  EXPECT_EQ(given->source, "role arn:aws:iam::123456789012:role/backup");

  const auto request = sts.server.requests().front();
  EXPECT_TRUE(request.starts_with("POST / HTTP/1.1\r\n")) << request;
  EXPECT_NE(request.find("Action=AssumeRole&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fbackup&RoleSessionName=a%20name&ExternalId=x%26y%3Dz"),
            std::string::npos) << request;
  EXPECT_NE(request.find("Credential=AKIACALLER/20270115/eu-central-1/sts/aws4_request"), std::string::npos) << request;
  EXPECT_NE(request.find("x-amz-security-token: callers-token"), std::string::npos) << request;
  EXPECT_EQ(request.find("callers-secret"), std::string::npos);
}

TEST(AwsSts, AWebIdentityIsNotSignedAndItsTokenIsNotInTheAddress) {
  Sts sts;
  sts.next = reply(200, sts_answer("AssumeRoleWithWebIdentity", "ASIAWEB"));
  TestFiles files;
  const WebIdentity identity{files.write("token", "ey.to.ken\n"), {.arn = "arn:aws:iam::1:role/r"}};
  auto given = web_identity_credentials(AwsSts(sts.aws.surroundings(), sts.server.url(), ""), identity);
  ASSERT_TRUE(given) << given.failure().describe();
  EXPECT_EQ(given->access_key_id, "ASIAWEB");
  const auto request = sts.server.requests().front();
  EXPECT_TRUE(request.starts_with("POST / HTTP/1.1\r\n")) << request;
  EXPECT_TRUE(request.ends_with("&WebIdentityToken=ey.to.ken")) << request;
  EXPECT_EQ(request.find("uthorization:"), std::string::npos) << request;

  files.write("token", "another");
  ASSERT_TRUE(web_identity_credentials(AwsSts(sts.aws.surroundings(), sts.server.url(), ""), identity));
  EXPECT_TRUE(sts.server.requests().back().ends_with("&WebIdentityToken=another")) << "its issuer replaces the file";

  for (const std::string& missing : {files.write("empty", " \n"), (files.directory() / "absent").string()}) {
    auto refused = web_identity_credentials(AwsSts(sts.aws.surroundings(), sts.server.url(), ""), {missing, identity.role});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.failure().code(), Errc::Key);
  }
}

TEST(AwsSts, ARefusalSaysWhyAndIsNoOutage) {
  Sts sts;
  sts.next = reply(403, sts_error("AccessDenied", "User: arn:aws:iam::1:user/u is not authorized &amp; more"));
  auto refused = sts.assume();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.failure().code(), Errc::Key);
  const auto text = refused.failure().describe();
  EXPECT_NE(text.find("AccessDenied: User: arn:aws:iam::1:user/u is not authorized & more"), std::string::npos) << text;
  EXPECT_NE(text.find("arn:aws:iam::123456789012:role/backup"), std::string::npos) << text;
  EXPECT_FALSE(refused.failure().hint().empty());

  sts.next = reply(403, "");  // some give no reason
  refused = sts.assume();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.failure().code(), Errc::Key);
}

TEST(AwsSts, WhatMayPassIsAnOutage) {
  Sts sts;
  for (const auto& [status, code] : std::vector<std::pair<int, std::string>>{
           {500, "InternalFailure"}, {503, "ServiceUnavailable"}, {400, "Throttling"}, {400, "ThrottlingException"}, {429, "x"}, {400, "IDPCommunicationError"}}) {
    sts.next = reply(status, sts_error(code, "later"));
    auto failed = sts.assume();
    ASSERT_FALSE(failed);
    EXPECT_EQ(failed.failure().code(), Errc::Storage) << code;
  }
  sts.next = {"", false};  // closes without an answer
  auto failed = sts.assume();
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.failure().code(), Errc::Storage) << "asking for credentials changes nothing: it may be repeated";
}

TEST(AwsSts, AnswersThatAreNoneAreNotTaken) {
  Sts sts;
  const std::string whole = sts_answer("AssumeRole", "ASIAROLE");
  for (std::size_t size = 0; size + 1 < whole.size(); size += 7) {
    sts.next = reply(200, whole.substr(0, size));
    EXPECT_FALSE(sts.assume()) << size << " bytes of it";
  }
  for (const std::string& answer :
       {sts_answer("AssumeRole", ""), sts_answer("AssumeRole", "A", "soon"), sts_answer("AssumeRole", "A\r\nx: y"), std::string("<html/>"), std::string(100'000, '<'),
        std::string("<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>")}) {
    sts.next = reply(200, answer);
    EXPECT_FALSE(sts.assume()) << answer.substr(0, 200);
  }
}

TEST(AwsSts, WordsOfAServerAreToldWithoutItsTricks) {
  Sts sts;
  sts.next = reply(403, sts_error("AccessDenied", "one&#10;two&#27;[31m" + std::string(5000, 'x')));
  auto refused = sts.assume();
  ASSERT_FALSE(refused);
  const auto text = refused.failure().describe();
  EXPECT_LT(text.size(), 600u);
  EXPECT_EQ(text.find('\n'), std::string::npos);
  EXPECT_EQ(text.find('\x1b'), std::string::npos);
}

/// Against a real one, which tests/integration/test_aws_sts.py starts: PGMINT_TEST_STS names an object store with STS, PGMINT_TEST_STS_ROLE a role that the
/// keys in the environment may take on.
TEST(AwsSts, OfARealStoreGivesWhatTheStoreTakes) {
  const auto set = [](const std::string& name) { return std::getenv(name.c_str()) != nullptr ? std::string(std::getenv(name.c_str())) : std::string(); };
  if (set("PGMINT_TEST_STS").empty()) GTEST_SKIP() << "PGMINT_TEST_STS is not set";
  ClientOptions options;
  options.ca_file = set("PGMINT_TEST_STS_CA_FILE");
  const auto client = make_client(options);
  const AwsSurroundings surroundings{set, *client, *client, system_clock()};
  AwsCredentialSettings settings{.role_arn = set("PGMINT_TEST_STS_ROLE"), .sts_endpoint = set("PGMINT_TEST_STS")};
  auto source = make_aws_credentials(settings, surroundings);
  ASSERT_TRUE(source) << source.failure().describe();
  auto given = (*source)->get();
  ASSERT_TRUE(given) << given.failure().describe();
  EXPECT_FALSE(given->session_token.empty());
  ASSERT_TRUE(given->expires);
  EXPECT_GT(*given->expires, system_clock().now() + std::chrono::minutes(10));

  const auto list_buckets = [&](const AwsCredentials& with) {
    Request request;
    request.url = set("PGMINT_TEST_STS") + "/";
    sign(request, with, {"us-east-1", "s3"}, system_clock().now(), payload_hash({}));
    auto answer = client->perform(request);
    return answer ? answer->status : 0;
  };
  EXPECT_EQ(list_buckets(*given), 200);
  auto forged = *given;
  forged.session_token[forged.session_token.size() / 2] ^= 1;
  EXPECT_NE(list_buckets(forged), 200) << "or this test could not fail";

  settings.role_arn = "arn:aws:iam:::role/no-such-role";
  auto refused = (*make_aws_credentials(settings, surroundings))->get();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.failure().code(), Errc::Key);
  EXPECT_NE(refused.failure().describe().find("NoSuchEntity"), std::string::npos) << refused.failure().describe();
}

}  // namespace
}  // namespace pgmint::http

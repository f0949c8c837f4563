#include "http/aws_metadata.h"

#include <gtest/gtest.h>

#include "http/testing_aws.h"

namespace pgmint::http {
namespace {

/// An instance as IMDSv2 is: no token, no answer.
struct Instance {
  std::string role = "backup-role";
  std::string credentials = metadata_answer("ASIAINSTANCE");
  int token_status = 200;
  ScriptedServer server{[this](const std::string& request) {
    if (request.starts_with("PUT /latest/api/token "))
      return request.find("x-aws-ec2-metadata-token-ttl-seconds: 21600") == std::string::npos ? reply(400) : reply(token_status, "session-token");
    if (request.find("x-aws-ec2-metadata-token: session-token\r\n") == std::string::npos) return reply(401);
    if (request.starts_with("GET /latest/meta-data/iam/security-credentials/ ")) return role.empty() ? reply(404) : reply(200, role + "\n");
    if (request.starts_with("GET /latest/meta-data/iam/security-credentials/" + role + " ")) return reply(200, credentials);
    return reply(404);
  }};
  TestAws aws;
  Instance() {
    aws.variables.clear();
    aws.variables["AWS_EC2_METADATA_SERVICE_ENDPOINT"] = server.url() + "/";
  }
  Result<AwsCredentialPlace::Look> look() { return instance_metadata(aws.surroundings())->look(); }
};

TEST(AwsInstanceMetadata, GivesTheRolesCredentialsForASessionToken) {
  Instance instance;
  auto look = instance.look();
  ASSERT_TRUE(look) << look.failure().describe();
  ASSERT_TRUE(look->found) << look->absent;
  EXPECT_EQ(look->found->access_key_id, "ASIAINSTANCE");
  EXPECT_EQ(look->found->session_token, "token+of/ASIAINSTANCE==");
  EXPECT_EQ(look->found->expires, kTestNow + std::chrono::hours(6));
  EXPECT_EQ(look->found->source, "the instance's metadata (role backup-role)");
  EXPECT_EQ(instance.server.requests().size(), 3u);
}

TEST(AwsInstanceMetadata, WhatIsNoInstanceOrHasNoRoleIsAbsent) {
  Instance instance;
  instance.role = "";
  auto look = instance.look();
  ASSERT_TRUE(look) << look.failure().describe();
  EXPECT_FALSE(look->found);
  EXPECT_NE(look->absent.find("no role"), std::string::npos) << look->absent;

  instance.token_status = 403;
  look = instance.look();
  ASSERT_TRUE(look) << look.failure().describe();
  EXPECT_NE(look->absent.find("403"), std::string::npos) << look->absent;

  instance.aws.variables["AWS_EC2_METADATA_SERVICE_ENDPOINT"] = "http://127.0.0.1:1";
  look = instance.look();
  ASSERT_TRUE(look) << look.failure().describe();
  EXPECT_NE(look->absent.find("127.0.0.1:1 does not answer"), std::string::npos) << look->absent;

  const auto asked = instance.server.requests().size();
  instance.aws.variables["AWS_EC2_METADATA_SERVICE_ENDPOINT"] = instance.server.url();
  instance.aws.variables["AWS_EC2_METADATA_DISABLED"] = "TRUE";
  look = instance.look();
  ASSERT_TRUE(look) << look.failure().describe();
  EXPECT_NE(look->absent.find("AWS_EC2_METADATA_DISABLED"), std::string::npos) << look->absent;
  EXPECT_EQ(instance.server.requests().size(), asked) << "who disables it is not asked all the same";
}

TEST(AwsInstanceMetadata, DoesNotWaitForWhatNeverAnswers) {
  // Accepts and says nothing: a firewall that drops looks the same.
  std::atomic<bool> done{false};
  ScriptedServer silent([&](const std::string&) {
    while (!done) std::this_thread::yield();
    return reply(200);
  });
  TestAws aws;
  aws.variables = {{"AWS_EC2_METADATA_SERVICE_ENDPOINT", silent.url()}};
  const auto began = std::chrono::steady_clock::now();
  auto look = instance_metadata(aws.surroundings())->look();
  const auto took = std::chrono::steady_clock::now() - began;
  done = true;
  ASSERT_TRUE(look) << look.failure().describe();
  EXPECT_FALSE(look->found);
  EXPECT_LT(took, std::chrono::seconds(5));
}

TEST(AwsInstanceMetadata, WhatItRefusesOrGarblesIsAFailure) {
  Instance instance;
  for (const auto& [answer, code] : std::vector<std::pair<std::string, Errc>>{
           {"{\"Code\":\"AssumeRoleUnauthorizedAccess\",\"Message\":\"EC2 cannot assume the role\"}", Errc::Key},
           {"<html>", Errc::Storage}, {"[]", Errc::Storage}, {metadata_answer("A", "tomorrow"), Errc::Storage},
           {"{\"Code\":\"Success\"}", Errc::Configuration}, {"{\"Code\":\"Success\",\"AccessKeyId\":7}", Errc::Configuration}}) {
    instance.credentials = answer;
    auto look = instance.look();
    ASSERT_FALSE(look) << answer;
    EXPECT_EQ(look.failure().code(), code) << answer;
  }
}

struct Container {
  int status = 200;
  ScriptedServer server{[this](const std::string&) { return reply(status, status == 200 ? metadata_answer("ASIATASK") : ""); }};
  TestAws aws;
  Result<AwsCredentialPlace::Look> look() { return container_credentials(aws.surroundings())->look(); }
};

TEST(AwsContainer, SendsItsTokenAndReadsTheAnswer) {
  Container container;
  auto look = container.look();
  ASSERT_TRUE(look) << look.failure().describe();
  EXPECT_FALSE(look->found);
  EXPECT_NE(look->absent.find("AWS_CONTAINER_CREDENTIALS_FULL_URI"), std::string::npos) << look->absent;

  TestFiles files;
  auto& variables = container.aws.variables;
  variables["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = container.server.url() + "/v1/credentials?id=1";
  variables["AWS_CONTAINER_AUTHORIZATION_TOKEN"] = "from the variable";
  look = container.look();
  ASSERT_TRUE(look && look->found) << (look ? look->absent : look.failure().describe());
  EXPECT_EQ(look->found->access_key_id, "ASIATASK");
  EXPECT_TRUE(container.server.requests().back().starts_with("GET /v1/credentials?id=1 HTTP/1.1\r\n"));
  EXPECT_NE(container.server.requests().back().find("authorization: from the variable\r\n"), std::string::npos) << container.server.requests().back();

  variables["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"] = files.write("token", "from the file\n");
  ASSERT_TRUE(container.look());
  EXPECT_NE(container.server.requests().back().find("authorization: from the file\r\n"), std::string::npos) << container.server.requests().back();

  variables["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"] = files.write("evil", "a\r\nx-evil: b");
  look = container.look();
  ASSERT_FALSE(look);
  EXPECT_EQ(look.failure().code(), Errc::Configuration);
  variables["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"] = (files.directory() / "absent").string();
  look = container.look();
  ASSERT_FALSE(look) << "without the token that belongs to it nothing is asked";
  EXPECT_EQ(look.failure().code(), Errc::Key);
}

TEST(AwsContainer, RefusalsAndOutagesAreToldApart) {
  Container container;
  container.aws.variables["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = container.server.url();
  for (const auto& [status, code] : std::vector<std::pair<int, Errc>>{{403, Errc::Key}, {404, Errc::Key}, {429, Errc::Storage}, {500, Errc::Storage}}) {
    container.status = status;
    auto look = container.look();
    ASSERT_FALSE(look);
    EXPECT_EQ(look.failure().code(), code) << status;
  }
}

TEST(AwsContainer, ATokenGoesNowhereElse) {
  for (const auto* good : {"https://any.example/x", "http://localhost/x", "http://localhost:8080", "http://127.0.0.1:1/", "http://127.9.9.9/x", "http://[::1]:80/x",
                           "http://169.254.170.2/v2", "http://169.254.170.23/v1", "http://[fd00:ec2::23]/v1"})
    EXPECT_TRUE(may_carry_secrets(good)) << good;
  for (const auto* bad : {"http://example.org/x", "http://169.254.169.254/", "http://127.0.0.1@example.org/", "http://127.0.0.1:80@example.org/", "http://localhost.example.org/",
                          "http://127.0.0.1.example.org/", "http://169.254.170.2.example.org", "http://[::2]/", "http://[::1]example.org/", "http://[::1/", "http://10.0.0.1/",
                          "http://0177.0.0.1/", "ftp://127.0.0.1/", "127.0.0.1/x", "", "http://", "http://localhost\\@example.org/", "HTTP://example.org/"})
    EXPECT_FALSE(may_carry_secrets(bad)) << bad;

  Container container;
  container.aws.variables["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = "http://example.org/x";
  container.aws.variables["AWS_CONTAINER_AUTHORIZATION_TOKEN"] = "the token";
  auto look = container.look();
  ASSERT_FALSE(look);
  EXPECT_EQ(look.failure().code(), Errc::Configuration);
  EXPECT_NE(look.failure().describe().find("example.org"), std::string::npos);
  EXPECT_EQ(look.failure().describe().find("the token"), std::string::npos);

  container.aws.variables["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"] = "@example.org/x";
  look = container.look();
  ASSERT_FALSE(look) << "it would be the host of another one";
  EXPECT_EQ(look.failure().code(), Errc::Configuration);
}

}  // namespace
}  // namespace pgmint::http

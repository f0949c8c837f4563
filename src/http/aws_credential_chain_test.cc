#include "http/aws_credential_chain.h"

#include <gtest/gtest.h>

#include "http/testing_aws.h"

namespace pgmint::http {
namespace {

/// Everything that can be there, behind one server: STS at /, an instance below /latest, a container at /container.
struct Everywhere {
  TestAws aws;
  TestFiles files;
  std::string instance_role = "role";
  int sts_status = 200;
  std::string refused_caller = "nobody";
  ScriptedServer server{[this](const std::string& request) {
    if (request.starts_with("PUT /latest/api/token")) return reply(200, "session");
    if (request.starts_with("GET /latest/meta-data/iam/security-credentials/ ")) return instance_role.empty() ? reply(404) : reply(200, instance_role);
    if (request.starts_with("GET /latest/")) return reply(200, metadata_answer("ASIAINSTANCE", "2027-01-15T09:00:00Z"));
    if (request.starts_with("GET /container")) return reply(200, metadata_answer("ASIACONTAINER"));
    if (request.find("Credential=" + refused_caller + "/") != std::string::npos) return reply(403, sts_error("ExpiredToken", "expired"));
    if (sts_status != 200) return reply(sts_status, sts_error("AccessDenied", "no"));
    if (request.find("WebIdentityToken=") != std::string::npos) return reply(200, sts_answer("AssumeRoleWithWebIdentity", "ASIAWEB"));
    return reply(200, sts_answer("AssumeRole", "ASIAROLE"));
  }};
  AwsCredentialSettings settings;

  Everywhere() {
    settings.sts_endpoint = server.url();
    aws.variables = {{"HOME", files.directory()},
                     {"AWS_ACCESS_KEY_ID", "AKIAENV"},
                     {"AWS_SECRET_ACCESS_KEY", "envsecret"},
                     {"AWS_WEB_IDENTITY_TOKEN_FILE", files.write("token", "ey.jwt")},
                     {"AWS_ROLE_ARN", "arn:aws:iam::1:role/web"},
                     {"AWS_CONTAINER_CREDENTIALS_FULL_URI", server.url() + "/container"},
                     {"AWS_EC2_METADATA_SERVICE_ENDPOINT", server.url()}};
    files.write(".aws/credentials",
                "[default]\naws_access_key_id = AKIADEFAULT\naws_secret_access_key = s\n[backup]\naws_access_key_id = AKIABACKUP\naws_secret_access_key = s\nregion = eu-west-3\n");
  }
  std::unique_ptr<AwsCredentialSource> source() {
    auto made = make_aws_credentials(settings, aws.surroundings());
    PGMINT_ASSERT(made.has_value());
    return std::move(*made);
  }
  std::string id() {
    auto given = source()->get();
    return given ? given->access_key_id : given.failure().describe();
  }
};

TEST(AwsCredentialChain, LooksInItsOrder) {
  Everywhere all;
  all.settings.access_key_id = "AKIACONFIG";
  all.settings.secret_access_key = "s";
  EXPECT_EQ(all.id(), "AKIACONFIG");
  all.settings.access_key_id.reset();
  all.settings.secret_access_key.reset();
  EXPECT_EQ(all.id(), "AKIAENV");
  all.settings.profile = "backup";
  EXPECT_EQ(all.id(), "AKIABACKUP") << "a profile by name in the configuration goes before the environment";
  all.settings.profile.reset();
  all.aws.variables.erase("AWS_ACCESS_KEY_ID");
  all.aws.variables.erase("AWS_SECRET_ACCESS_KEY");
  EXPECT_EQ(all.id(), "AKIADEFAULT");
  fs::remove(all.files.directory() / ".aws/credentials");
  EXPECT_EQ(all.id(), "ASIAWEB");
  all.aws.variables.erase("AWS_WEB_IDENTITY_TOKEN_FILE");
  EXPECT_EQ(all.id(), "ASIACONTAINER");
  all.aws.variables.erase("AWS_CONTAINER_CREDENTIALS_FULL_URI");
  EXPECT_EQ(all.id(), "ASIAINSTANCE");
}

TEST(AwsCredentialChain, SaysWhereItLookedInOrder) {
  Everywhere all;
  all.aws.variables = {{"HOME", all.files.directory() / "nowhere"}, {"AWS_EC2_METADATA_DISABLED", "true"}};
  auto none = all.source()->get();
  ASSERT_FALSE(none);
  EXPECT_EQ(none.failure().code(), Errc::Configuration);
  const auto text = none.failure().describe();
  std::size_t at = 0;
  for (const auto* part : {"the environment: AWS_ACCESS_KEY_ID is not set", "the profile default: neither", "the web identity: AWS_WEB_IDENTITY_TOKEN_FILE is not set",
                           "the container's credentials: ", "the instance's metadata: AWS_EC2_METADATA_DISABLED is set"}) {
    const auto found = text.find(part, at);
    ASSERT_NE(found, std::string::npos) << part << " in " << text;
    at = found;
  }
  EXPECT_FALSE(none.failure().hint().empty());
}

TEST(AwsCredentialChain, WhatIsWrongEndsTheSearch) {
  Everywhere all;
  all.aws.variables.erase("AWS_SECRET_ACCESS_KEY");
  auto wrong = all.source()->get();
  ASSERT_FALSE(wrong) << "half a pair is a mistake, and nothing behind it is asked";
  EXPECT_EQ(wrong.failure().code(), Errc::Configuration);
  EXPECT_TRUE(all.server.requests().empty());

  all.aws.variables.erase("AWS_ACCESS_KEY_ID");
  fs::remove(all.files.directory() / ".aws/credentials");
  all.sts_status = 403;
  wrong = all.source()->get();
  ASSERT_FALSE(wrong) << "an identity that is refused is not replaced by the instance's";
  EXPECT_EQ(wrong.failure().code(), Errc::Key);
  const auto text = wrong.failure().describe();
  EXPECT_NE(text.find("AWS credentials: the web identity (before it: the environment: AWS_ACCESS_KEY_ID is not set; the profile default: "), std::string::npos) << text;
  EXPECT_EQ(text.find("ey.jwt"), std::string::npos) << text;
}

TEST(AwsCredentialChain, SettingsThatContradictEachOtherAreRefused) {
  Everywhere all;
  const auto refused = [&](const AwsCredentialSettings& settings) {
    auto made = make_aws_credentials(settings, all.aws.surroundings());
    return !made && made.failure().code() == Errc::Configuration;
  };
  EXPECT_TRUE(refused({.access_key_id = "A"}));
  EXPECT_TRUE(refused({.secret_access_key = "s"}));
  EXPECT_TRUE(refused({.session_token = "t"}));
  EXPECT_TRUE(refused({.access_key_id = "A", .secret_access_key = "s", .profile = "p"}));
  EXPECT_TRUE(refused({.external_id = "x"}));
  EXPECT_FALSE(refused({.access_key_id = "A", .secret_access_key = "s", .role_arn = "r", .external_id = "x"}));
  EXPECT_FALSE(refused({.access_key_id = "", .secret_access_key = ""})) << "empty counts as absent";
}

TEST(AwsCredentialChain, TakesOnTheConfiguredRoleWithWhatItFinds) {
  Everywhere all;
  all.settings.role_arn = "arn:aws:iam::1:role/top";
  all.settings.external_id = "ext";
  all.settings.role_session_name = "nightly";
  all.aws.variables["AWS_REGION"] = "eu-north-1";
  EXPECT_EQ(all.id(), "ASIAROLE");
  const auto request = all.server.requests().back();
  EXPECT_NE(request.find("Credential=AKIAENV/20270115/eu-north-1/sts/"), std::string::npos) << request;
  EXPECT_NE(request.find("role%2Ftop&RoleSessionName=nightly&ExternalId=ext"), std::string::npos) << request;

  all.settings.access_key_id = "AKIACONFIG";
  all.settings.secret_access_key = "s";
  EXPECT_EQ(all.id(), "ASIAROLE");
  EXPECT_NE(all.server.requests().back().find("Credential=AKIACONFIG/"), std::string::npos);
}

TEST(AwsCredentialChain, KeysDoNotTravelInClear) {
  Everywhere all;
  all.settings.role_arn = "arn:aws:iam::1:role/top";
  all.settings.sts_endpoint.reset();
  all.aws.variables["AWS_ENDPOINT_URL_STS"] = "http://sts.example.org";
  auto refused = all.source()->get();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.failure().code(), Errc::Configuration);
  EXPECT_NE(refused.failure().message().find("sts.example.org"), std::string::npos);
  all.aws.variables["AWS_ENDPOINT_URL_STS"] = all.server.url();
  EXPECT_EQ(all.id(), "ASIAROLE");
}

TEST(AwsCredentialChain, ACallerThatIsRefusedIsLookedUpOnceMore) {
  Everywhere all;
  all.settings.role_arn = "arn:aws:iam::1:role/top";
  auto source = all.source();
  const auto first = source->get();
  ASSERT_TRUE(first) << first.failure().describe();
  all.refused_caller = "AKIAENV";
  all.aws.variables["AWS_ACCESS_KEY_ID"] = "AKIANEW";
  source->forget(*first);
  EXPECT_TRUE(source->get()) << "the keys were replaced meanwhile";
  const auto asked = all.server.requests().size();
  all.refused_caller = "AKIANEW";
  source->forget(*first);
  EXPECT_FALSE(source->get());
  EXPECT_EQ(all.server.requests().size(), asked + 1) << "the same again would be refused again";
}

TEST(AwsCredentialChain, WhatGaveSomeBeforeIsNotTakenForMissing) {
  Everywhere all;
  for (const auto* name : {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "HOME"}) all.aws.variables.erase(name);
  auto source = all.source();
  ASSERT_TRUE(source->get());
  all.instance_role = "";
  all.aws.clock.sleep(std::chrono::minutes(56));
  EXPECT_TRUE(source->get()) << "the old ones are valid for four minutes more";
  all.aws.clock.sleep(std::chrono::minutes(5));
  auto gone = source->get();
  ASSERT_FALSE(gone);
  EXPECT_EQ(gone.failure().code(), Errc::Storage) << "an outage, not a configuration without credentials";
}

TEST(AwsRegion, ComesFromConfigurationEnvironmentProfile) {
  Everywhere all;
  const auto region = [&](std::optional<std::string> configured, std::optional<std::string> profile) {
    auto found = aws_region(configured, profile, all.aws.surroundings().environment);
    return found ? found->value_or("none") : found.failure().describe();
  };
  EXPECT_EQ(region(std::nullopt, std::nullopt), "none");
  EXPECT_EQ(region(std::nullopt, "backup"), "eu-west-3");
  all.aws.variables["AWS_PROFILE"] = "backup";
  EXPECT_EQ(region(std::nullopt, std::nullopt), "eu-west-3");
  all.aws.variables["AWS_DEFAULT_REGION"] = "eu-west-2";
  EXPECT_EQ(region(std::nullopt, std::nullopt), "eu-west-2");
  all.aws.variables["AWS_REGION"] = "eu-west-1";
  EXPECT_EQ(region(std::nullopt, std::nullopt), "eu-west-1");
  EXPECT_EQ(region("eu-central-1", "backup"), "eu-central-1");
}

}  // namespace
}  // namespace pgmint::http

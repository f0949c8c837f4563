#include <gtest/gtest.h>

#include "base/log.h"
#include "http/aws_profile_credentials.h"
#include "http/testing_aws.h"

namespace pgmint::http {
namespace {

struct Profiles {
  TestAws aws;
  TestFiles files;
  ScriptedServer server{[](const std::string& request) { return reply(200, sts_answer("AssumeRole", request.find("RoleArn=first") != std::string::npos ? "ASIAFIRST" : "ASIASECOND")); }};
  std::optional<std::string> chosen;

  Profiles() { aws.variables["HOME"] = files.directory(); }
  void credentials(std::string_view text, mode_t mode = 0600) { files.write(".aws/credentials", text, mode); }
  void config(std::string_view text, mode_t mode = 0600) { files.write(".aws/config", text, mode); }

  Result<AwsCredentialPlace::Look> look() {
    const AwsSts sts(aws.surroundings(), server.url(), "eu-central-1");
    return profile_credentials(aws.surroundings(), sts, chosen)->look();
  }
  /// The key's id, or what is the matter.
  std::string id() {
    auto seen = look();
    if (!seen) return std::string(errc_name(seen.failure().code())) + ": " + seen.failure().describe();
    return seen->found ? seen->found->access_key_id : "absent: " + seen->absent;
  }
};

bool contains(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }
#define EXPECT_SAYS(text, part) EXPECT_PRED2(contains, text, part)

TEST(AwsProfileFile, ReadsWhatTheCommandLineToolWrites) {
  auto sections = parse_profile_file(
      "# a comment\r\n"
      "[default]\r\n"
      "aws_access_key_id = AKIA1\r\n"
      "AWS_Secret_Access_Key=a/b+c=\n"
      "\n"
      "; another\n"
      "[ profile  backup ]\n"
      "region = eu-west-1 # where it is\n"
      "s3 =\n"
      "  max_concurrent_requests = 20\n"
      "role_arn=arn:aws:iam::1:role/a#b\n"
      "[default]\n"
      "output = json",
      "f");
  ASSERT_TRUE(sections) << sections.failure().describe();
  EXPECT_EQ(sections->size(), 2u);
  const AwsProfile plain = {{"aws_access_key_id", "AKIA1"}, {"aws_secret_access_key", "a/b+c="}, {"output", "json"}};
  EXPECT_EQ(sections->at("default"), plain);
  const AwsProfile backup = {{"region", "eu-west-1"}, {"s3", ""}, {"role_arn", "arn:aws:iam::1:role/a#b"}};
  EXPECT_EQ(sections->at("profile  backup"), backup);
}

TEST(AwsProfileFile, NamesTheLineThatIsWrongAndNotWhatStandsThere) {
  for (const auto* text : {"[default]\nsecretsecret\n", "\nkey = secretsecret\n", "\n[secretsecret\n"}) {
    auto refused = parse_profile_file(text, "the file");
    ASSERT_FALSE(refused) << text;
    EXPECT_EQ(refused.failure().code(), Errc::Configuration);
    EXPECT_SAYS(refused.failure().message(), "the file:2: ");
    EXPECT_FALSE(contains(refused.failure().message(), "secretsecret"));
  }
}

TEST(AwsProfile, TheDefaultOneMayBeAbsentAndOthersNot) {
  Profiles profiles;
  EXPECT_SAYS(profiles.id(), "absent: neither ");
  profiles.config("[default]\nregion = eu-west-1\n");
  EXPECT_SAYS(profiles.id(), "absent: profile default names no credentials");
  profiles.aws.variables["AWS_PROFILE"] = "backup";
  EXPECT_SAYS(profiles.id(), "configuration: neither ");
  profiles.config("[profile backup]\nregion = eu-west-1\n");
  EXPECT_SAYS(profiles.id(), "configuration: profile backup names no credentials");
  profiles.aws.variables.erase("AWS_PROFILE");
  profiles.chosen = "default";
  EXPECT_SAYS(profiles.id(), "configuration: ") << "by name in the configuration it must be there";
  profiles.aws.variables.erase("HOME");
  profiles.chosen.reset();
  EXPECT_SAYS(profiles.id(), "absent: there is no home directory");
}

TEST(AwsProfile, ReadsBothFilesAndTheCredentialsFileFirst) {
  Profiles profiles;
  profiles.credentials("[default]\naws_access_key_id = AKIADEFAULT\naws_secret_access_key = s\n[backup]\naws_access_key_id = AKIABACKUP\naws_secret_access_key = s\naws_session_token = t\n");
  profiles.config("[profile backup]\naws_access_key_id = AKIAOTHER\n[profile third]\naws_access_key_id = AKIATHIRD\naws_secret_access_key = s\n[fourth]\naws_access_key_id = AKIAFOURTH\n");
  EXPECT_EQ(profiles.id(), "AKIADEFAULT");
  profiles.aws.variables["AWS_PROFILE"] = "backup";
  EXPECT_EQ(profiles.id(), "AKIABACKUP");
  EXPECT_EQ(profiles.look()->found->session_token, "t");
  EXPECT_EQ(profiles.look()->found->source, "the profile backup");
  profiles.chosen = "third";
  EXPECT_EQ(profiles.id(), "AKIATHIRD");
  profiles.chosen = "fourth";
  EXPECT_SAYS(profiles.id(), "configuration: ") << "in the config file it would be [profile fourth]";

  profiles.chosen.reset();
  profiles.aws.variables["AWS_PROFILE"] = "elsewhere";
  profiles.aws.variables["AWS_SHARED_CREDENTIALS_FILE"] = profiles.files.write("other", "[elsewhere]\naws_access_key_id = AKIAELSE\naws_secret_access_key = s\n");
  EXPECT_EQ(profiles.id(), "AKIAELSE");
}

TEST(AwsProfile, TakesOnRolesOneAfterAnother) {
  Profiles profiles;
  profiles.credentials("[base]\naws_access_key_id = AKIABASE\naws_secret_access_key = basesecret\n");
  profiles.config(
      "[profile first]\nrole_arn = first\nsource_profile = base\nexternal_id = ext\nrole_session_name = nightly\n"
      "[profile second]\nrole_arn = second\nsource_profile = first\n"
      "[profile own]\nrole_arn = first\nsource_profile = own\naws_access_key_id = AKIAOWN\naws_secret_access_key = s\n"
      "[profile env]\nrole_arn = first\ncredential_source = Environment\n");
  profiles.chosen = "second";
  EXPECT_EQ(profiles.id(), "ASIASECOND");
  const auto requests = profiles.server.requests();
  ASSERT_EQ(requests.size(), 2u);
  EXPECT_SAYS(requests[0], "Credential=AKIABASE/");
  EXPECT_SAYS(requests[0], "RoleSessionName=nightly&ExternalId=ext");
  EXPECT_SAYS(requests[1], "Credential=ASIAFIRST/");
  EXPECT_SAYS(requests[1], "RoleSessionName=pgmint");

  profiles.chosen = "own";
  EXPECT_EQ(profiles.id(), "ASIAFIRST");
  EXPECT_SAYS(profiles.server.requests().back(), "Credential=AKIAOWN/");

  profiles.chosen = "env";
  EXPECT_SAYS(profiles.id(), "configuration: AWS profile env: the environment: AWS_ACCESS_KEY_ID is not set");
  profiles.aws.variables["AWS_ACCESS_KEY_ID"] = "AKIAENV";
  profiles.aws.variables["AWS_SECRET_ACCESS_KEY"] = "s";
  EXPECT_EQ(profiles.id(), "ASIAFIRST");
  EXPECT_SAYS(profiles.server.requests().back(), "Credential=AKIAENV/");
}

TEST(AwsProfile, TakesOnARoleByWebIdentity) {
  Profiles profiles;
  profiles.config(fmt::format("[default]\nrole_arn = first\nweb_identity_token_file = {}\n", profiles.files.write("token", "ey.jwt\n")));
  EXPECT_EQ(profiles.id(), "ASIAFIRST");
  EXPECT_SAYS(profiles.server.requests().back(), "Action=AssumeRoleWithWebIdentity");
  EXPECT_SAYS(profiles.server.requests().back(), "WebIdentityToken=ey.jwt");
}

TEST(AwsProfile, SaysWhatItDoesNotDo) {
  Profiles profiles;
  profiles.config(
      "[profile process]\ncredential_process = /bin/get --secretsecret\n[profile sso]\nsso_session = x\nsso_account_id = 1\n[profile half]\naws_access_key_id = AKIA\n"
      "[profile alone]\nrole_arn = first\n[profile gone]\nrole_arn = first\nsource_profile = nobody\n[profile a]\nrole_arn = first\nsource_profile = b\n"
      "[profile b]\nrole_arn = first\nsource_profile = a\n[profile mfa]\nrole_arn = first\nsource_profile = half\nmfa_serial = m\n"
      "[profile odd]\nrole_arn = first\ncredential_source = Somewhere\n[profile over]\nrole_arn = first\nsource_profile = process\n");
  for (const auto& [name, says] : std::map<std::string, std::string>{{"process", "it has credential_process, which pgmint does not support"},
                                                                     {"sso", "which pgmint does not support"},
                                                                     {"half", "aws_access_key_id without aws_secret_access_key"},
                                                                     {"alone", "neither source_profile"},
                                                                     {"gone", "AWS profile nobody: there is no such profile"},
                                                                     {"a", "leads back to itself"},
                                                                     {"mfa", "mfa_serial needs a person"},
                                                                     {"odd", "credential_source Somewhere is none of"},
                                                                     {"over", "AWS profile process: it has credential_process"}}) {
    profiles.chosen = name;
    const auto text = profiles.id();
    EXPECT_SAYS(text, "configuration: ") << name;
    EXPECT_SAYS(text, says) << name;
    EXPECT_FALSE(contains(text, "secretsecret")) << text;
  }
  EXPECT_TRUE(profiles.server.requests().empty());
}

TEST(AwsProfile, WarnsOnceOfSecretsThatOthersMayRead) {
  std::vector<std::string> warnings;
  set_log_observer([&](LogLevel level, std::string_view text) {
    if (level == LogLevel::Warning) warnings.emplace_back(text);
  });
  Profiles profiles;
  profiles.config("[default]\nregion = x\n", 0644);  // no secret in it
  profiles.credentials("[default]\naws_access_key_id = AKIADEFAULT\naws_secret_access_key = secretsecret\n", 0600);
  EXPECT_EQ(profiles.id(), "AKIADEFAULT");
  EXPECT_TRUE(warnings.empty());
  profiles.credentials("[default]\naws_access_key_id = AKIADEFAULT\naws_secret_access_key = secretsecret\n", 0640);
  const AwsSts sts(profiles.aws.surroundings(), profiles.server.url(), "");
  const auto place = profile_credentials(profiles.aws.surroundings(), sts, std::nullopt);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(place->look());
  set_log_observer({});
  ASSERT_EQ(warnings.size(), 1u);
  EXPECT_SAYS(warnings.front(), "mode 0640");
  EXPECT_SAYS(warnings.front(), "chmod 600");
  EXPECT_FALSE(contains(warnings.front(), "secretsecret"));
}

TEST(AwsEnvironmentCredentials, TakesAllThreeAndRefusesHalves) {
  TestAws aws;
  const auto look = [&] { return environment_credentials(aws.surroundings())->look(); };
  EXPECT_EQ(look()->absent, "AWS_ACCESS_KEY_ID is not set");
  aws.variables["AWS_ACCESS_KEY_ID"] = "AKIAENV";
  aws.variables["AWS_SECRET_ACCESS_KEY"] = "";
  EXPECT_EQ(look().failure().code(), Errc::Configuration);
  aws.variables["AWS_SECRET_ACCESS_KEY"] = "s";
  EXPECT_EQ(look()->found->session_token, "");
  aws.variables["AWS_SESSION_TOKEN"] = "t";
  EXPECT_EQ(look()->found->session_token, "t");
  aws.variables.erase("AWS_ACCESS_KEY_ID");
  EXPECT_EQ(look().failure().code(), Errc::Configuration);
}

}  // namespace
}  // namespace pgmint::http

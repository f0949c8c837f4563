#include "cli/kms_keys.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "cli/key_services.h"

namespace pgmint::cli {
namespace {

const std::string kArn = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";

TEST(KmsUri, IsAnArnAnIdOrAnAlias) {
  EXPECT_EQ(*parse_kms_uri(std::string("awskms:///") + kArn), kArn);
  EXPECT_EQ(*parse_kms_uri("awskms:///alias/pgmint"), "alias/pgmint");
  EXPECT_EQ(*parse_kms_uri("awskms:///mrk-1234abcd12ab34cd56ef1234567890ab"), "mrk-1234abcd12ab34cd56ef1234567890ab");
  const std::string long_one(2049, 'a');
  for (const std::string& wrong : {std::string(), kArn, std::string("awskms://alias/x"), std::string("awskms:///"), std::string("awskms:////alias/x"),
                                   std::string("awskms:///alias/a b"), std::string("awskms:///alias/x?region=y"), std::string("awskms:///alias/x\n"),
                                   std::string("AWSKMS:///alias/x"), "awskms:///" + long_one}) {
    auto refused = parse_kms_uri(wrong);
    ASSERT_FALSE(refused) << wrong;
    EXPECT_EQ(refused.failure().code(), Errc::Usage);
  }
}

TEST(KmsConfiguration, NamesOneKeyOrSeveralAndItsService) {
  auto parsed = parse_configuration(
      "[[repository]]\nname = \"a\"\nurl = \"/a\"\n[repository.encryption]\nkms = [\"awskms:///alias/a\", \"awskms:///alias/b\"]\n"
      "[encryption]\nkms = \"awskms:///alias/pgmint\"\n[kms]\nendpoint = \"https://kms.example\"\nregion = \"eu-west-1\"\nca_file = \"/ca\"\nprofile = \"p\"\nrole_arn = \"r\"\nexternal_id = \"x\"\n",
      "test.toml");
  ASSERT_TRUE(parsed) << parsed.failure().describe();
  EXPECT_EQ(parsed->encryption.kms, std::vector<std::string>{"awskms:///alias/pgmint"});
  EXPECT_FALSE(parsed->encryption.empty());
  const auto& own = parsed->repositories.front().encryption;
  EXPECT_EQ(own.kms.size(), 2u);
  EXPECT_EQ(own.services.kms.endpoint, "https://kms.example");
  EXPECT_EQ(parsed->encryption.services.kms.region, "eu-west-1");
}

TEST(KmsConfiguration, RefusesWhatWouldNotWorkOrNotBeSafe) {
  for (const auto& [text, says] : std::map<std::string, std::string>{{"[encryption]\nkms = \"alias/pgmint\"\n", "awskms:///"},
                                                                     {"[encryption]\nkms = []\n", "1 to 16"},
                                                                     {"[encryption]\nkms = 7\n", "kms"},
                                                                     {"[kms]\nendpoint = \"http://kms.example\"\n", "without TLS"},
                                                                     {"[kms]\nendpoint = \"kms.example\"\n", "URL"},
                                                                     {"[kms]\nendpont = \"x\"\n", "\"endpoint\""}}) {
    auto parsed = parse_configuration(text, "test.toml");
    ASSERT_FALSE(parsed) << text;
    EXPECT_EQ(parsed.failure().code(), Errc::Configuration);
    EXPECT_NE(parsed.failure().describe().find(says), std::string::npos) << parsed.failure().describe();
    EXPECT_NE(parsed.failure().describe().find("test.toml:2"), std::string::npos) << parsed.failure().describe();
  }
  EXPECT_TRUE(parse_configuration("[kms]\nendpoint = \"http://127.0.0.1:1\"\n", "test.toml"));
}

TEST(KmsKeyService, DoesNotAskForWhatAnotherKeyWrapped) {
  // Nobody listens there: asking would be an error.
  KeyServiceSettings nowhere;
  nowhere.kms.endpoint = "http://127.0.0.1:1";
  const auto unwrapped = [&](const std::string& key, const std::string& name) {
    return (*make_kms_service("awskms:///" + key, nowhere))->unwrap(name, as_bytes("wrapped"), {});
  };
  auto other = unwrapped(kArn, "arn:aws:kms:eu-central-1:111122223333:key/ffffffff-12ab-34cd-56ef-1234567890ab");
  ASSERT_TRUE(other) << other.failure().describe();
  EXPECT_FALSE(*other);
  ::setenv("AWS_REGION", "eu-north-1", 1);
  other = unwrapped("alias/pgmint", kArn);
  ASSERT_TRUE(other) << "of another region: " << other.failure().describe();
  EXPECT_FALSE(*other);
  ::unsetenv("AWS_REGION");

  ::setenv("AWS_ACCESS_KEY_ID", "AKIA", 1);
  ::setenv("AWS_SECRET_ACCESS_KEY", "s", 1);
  EXPECT_EQ(unwrapped(kArn, kArn).failure().code(), Errc::Storage);
  const std::string key = ":111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab";
  EXPECT_EQ(unwrapped("arn:aws:kms:eu-west-1" + key, "arn:aws:kms:eu-central-1" + key).failure().code(), Errc::Storage) << "its replica may unwrap it";
  ::unsetenv("AWS_ACCESS_KEY_ID");
  ::unsetenv("AWS_SECRET_ACCESS_KEY");
}

}  // namespace
}  // namespace pgmint::cli

#include "cli/vault_keys.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <map>

#include "cli/key_services.h"

namespace pgmint::cli {
namespace {

TEST(VaultUri, IsAMountAndAKey) {
  EXPECT_EQ(parse_vault_uri("vault:///transit/pgmint")->mount, "transit");
  EXPECT_EQ(parse_vault_uri("vault:///transit/pgmint")->name, "pgmint");
  EXPECT_EQ(parse_vault_uri("vault:///team/my-transit/pg.key_1")->mount, "team/my-transit");
  EXPECT_EQ(parse_vault_uri("vault:///team/my-transit/pg.key_1")->name, "pg.key_1");
  EXPECT_TRUE(parse_vault_uri("vault:///a...b/..c"));
  const std::string long_one(2049, 'a');
  for (const std::string& wrong :
       {std::string(), std::string("transit/pgmint"), std::string("vault://transit/pgmint"), std::string("vault:///pgmint"), std::string("vault:////pgmint"),
        std::string("vault:///transit/"), std::string("vault:///transit//pgmint"), std::string("vault:///../sys/seal"), std::string("vault:///transit/.."), std::string("vault:///./x"),
        std::string("vault:///a/../b"), std::string("vault:///transit/a b"), std::string("vault:///transit/a?b"), std::string("vault:///transit/a%2fb"), std::string("VAULT:///transit/a"),
        "vault:///transit/" + long_one}) {
    auto refused = parse_vault_uri(wrong);
    ASSERT_FALSE(refused) << wrong;
    EXPECT_EQ(refused.failure().code(), Errc::Usage);
  }
}

TEST(VaultConfiguration, NamesOneKeyOrSeveralAndItsService) {
  auto parsed = parse_configuration(
      "[[repository]]\nname = \"a\"\nurl = \"/a\"\n[repository.encryption]\nvault = [\"vault:///transit/a\", \"vault:///transit/b\"]\n"
      "[encryption]\nvault = \"vault:///transit/pgmint\"\n[vault]\naddress = \"https://vault.example:8200\"\nnamespace = \"team\"\nca_file = \"/ca\"\ntls_min = \"1.2\"\n"
      "token_file = \"/t\"\nrole_id = \"r\"\nsecret_id_file = \"/s\"\napprole_mount = \"m\"\n",
      "test.toml");
  ASSERT_TRUE(parsed) << parsed.failure().describe();
  EXPECT_EQ(parsed->encryption.vault, std::vector<std::string>{"vault:///transit/pgmint"});
  EXPECT_FALSE(parsed->encryption.empty());
  EXPECT_TRUE(parsed->encryption.needs_service());
  const auto& own = parsed->repositories.front().encryption;
  EXPECT_EQ(own.vault.size(), 2u);
  EXPECT_EQ(own.services.vault.address, "https://vault.example:8200");
  EXPECT_EQ(parsed->encryption.services.vault.name_space, "team");
}

TEST(VaultConfiguration, RefusesWhatWouldNotWorkOrNotBeSafe) {
  for (const auto& [text, says] : std::map<std::string, std::string>{{"[encryption]\nvault = \"transit/pgmint\"\n", "vault:///transit/KEY"},
                                                                     {"[encryption]\nvault = []\n", "1 to 16"},
                                                                     {"[encryption]\nvault = 7\n", "vault"},
                                                                     {"[vault]\naddress = \"http://vault.example:8200\"\n", "without TLS"},
                                                                     {"[vault]\naddress = \"vault.example\"\n", "URL"},
                                                                     {"[vault]\ntls_min = \"1.1\"\n", "\"1.2\" or \"1.3\""},
                                                                     {"[vault]\ntoken_file = \"token\"\n", "absolute"},
                                                                     {"[vault]\ntoken = \"hvs.x\"\n", "\"token_file\""},
                                                                     {"[vault]\nadress = \"x\"\n", "\"address\""}}) {
    auto parsed = parse_configuration(text, "test.toml");
    ASSERT_FALSE(parsed) << text;
    EXPECT_EQ(parsed.failure().code(), Errc::Configuration);
    EXPECT_NE(parsed.failure().describe().find(says), std::string::npos) << parsed.failure().describe();
    EXPECT_NE(parsed.failure().describe().find("test.toml:2"), std::string::npos) << parsed.failure().describe();
  }
  EXPECT_TRUE(parse_configuration("[vault]\naddress = \"http://127.0.0.1:1\"\n", "test.toml"));
}

TEST(VaultKeyService, DoesNotAskForWhatAnotherKeyWrapped) {
  // Nobody listens there: asking would be an error.
  KeyServiceSettings nowhere;
  nowhere.vault.address = "http://127.0.0.1:1";
  ::setenv("VAULT_TOKEN", "hvs.x", 1);
  const auto unwrapped = [&](const std::string& name) { return (*make_vault_service("vault:///transit/pgmint", nowhere))->unwrap(name, as_bytes("vault:v1:abc"), {}); };
  for (const auto* other : {"vault:///transit/other", "vault:///pgmint/transit", "awskms:///alias/pgmint", ""}) {
    const auto opened = unwrapped(other);
    ASSERT_TRUE(opened) << other << ": " << opened.failure().describe();
    EXPECT_FALSE(*opened) << other;
  }
  EXPECT_EQ(unwrapped("vault:///transit/pgmint").failure().code(), Errc::Storage);
  EXPECT_EQ(unwrapped("vault:///moved/pgmint").failure().code(), Errc::Storage) << "its mount may have been moved";
  ::unsetenv("VAULT_TOKEN");
}

}  // namespace
}  // namespace pgmint::cli

#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>

#include "base/log.h"
#include "http/base64.h"
#include "http/testing_aws.h"
#include "http/vault_transit.h"

namespace pgmint::http {
namespace {

using Json = nlohmann::json;

constexpr std::string_view kBinding = "pgmint:repository:00112233445566778899aabbccddeeff";
const std::string kPlain = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";

ScriptedReply refusal(int status, const std::string& error) { return reply(status, Json({{"errors", Json::array({error})}}).dump()); }
ScriptedReply data(const std::string& name, const std::string& value) { return reply(200, Json({{"data", {{name, value}}}}).dump()); }

/// Answers by path; the last of each stays.
struct Vault {
  TestAws world;
  std::map<std::string, std::vector<ScriptedReply>> replies;
  std::map<std::string, std::size_t> asked;
  ScriptedServer server{[this](const std::string& request) {
    const auto path = request.substr(request.find(' ') + 1, request.find(" HTTP/") - request.find(' ') - 1);
    auto& given = replies[path];
    if (given.empty()) return refusal(404, "no handler for route");
    return given[std::min(asked[path]++, given.size() - 1)];
  }};
  VaultIdentity identity{server.url() + "/", "", "hvs.thesecret", "/run/token"};
  std::optional<VaultSession> session;
  std::optional<VaultTransit> transit;

  VaultTransit& connect() {
    transit.reset();
    session.emplace(*world.client, world.clock, identity);
    transit.emplace(*session, "my/transit", "pg");
    return *transit;
  }
  void decrypts_to(ScriptedReply one) { replies["/v1/my/transit/decrypt/pg"] = {std::move(one)}; }
  static Json body_of(const std::string& request) { return Json::parse(request.substr(request.find("\r\n\r\n") + 4)); }
};

TEST(VaultTransit, AsksWithTheRepositoryAsContextAndAssociatedData) {
  Vault vault;
  vault.identity.name_space = "team/a";
  vault.replies["/v1/my/transit/encrypt/pg"] = {data("ciphertext", "vault:v3:abc+/=")};
  vault.decrypts_to(data("plaintext", kPlain));
  auto& transit = vault.connect();
  const auto wrapped = transit.encrypt(crypto::Key256::from_bytes(Bytes(32, std::byte{7})).value(), kBinding);
  ASSERT_TRUE(wrapped) << wrapped.failure().describe();
  EXPECT_EQ(*wrapped, "vault:v3:abc+/=");
  const auto opened = transit.decrypt(*wrapped, kBinding);
  ASSERT_TRUE(opened && opened->key) << (opened ? opened->said : opened.failure().describe());
  EXPECT_TRUE(crypto::equal_constant_time(opened->key->bytes(), Bytes(32, std::byte{7})));
  const auto requests = vault.server.requests();
  const auto bound = base64(as_bytes(kBinding));
  EXPECT_EQ(Vault::body_of(requests.at(0)), Json({{"plaintext", kPlain}, {"context", bound}, {"associated_data", bound}}));
  EXPECT_TRUE(requests.at(0).starts_with("POST /v1/my/transit/encrypt/pg HTTP/1.1\r\n")) << requests.at(0);
  EXPECT_NE(requests.at(0).find("x-vault-token: hvs.thesecret\r\n"), std::string::npos);
  EXPECT_NE(requests.at(0).find("x-vault-namespace: team/a\r\n"), std::string::npos);
}

TEST(VaultTransit, ARefusalNamesTheWayOutAndIsNotRepeated) {
  struct Case {
    int status;
    std::string error, hint;
  };
  for (const auto& each : {Case{403, "permission denied", "path \"my/transit/decrypt/pg\""}, Case{403, "permission denied", "the token of /run/token has ended"},
                           Case{404, "no handler for route", "vault:///MOUNT/KEY"}, Case{400, "encryption key not found", "recovery key"},
                           Case{400, "ciphertext or signature version is disallowed by policy (too old)", "min_decryption_version"},
                           Case{400, "invalid ciphertext: version is too new", "another Vault"}}) {
    Vault vault;
    vault.decrypts_to(refusal(each.status, each.error));
    const auto refused = vault.connect().decrypt("vault:v1:abc", kBinding);
    ASSERT_FALSE(refused) << each.error;
    EXPECT_EQ(refused.failure().code(), Errc::Key) << each.error;
    EXPECT_NE(refused.failure().describe().find(each.error), std::string::npos) << refused.failure().describe();
    EXPECT_NE(refused.failure().hint().find(each.hint), std::string::npos) << refused.failure().hint();
    EXPECT_EQ(refused.failure().describe().find("thesecret"), std::string::npos);
    EXPECT_EQ(vault.server.requests().size(), 1u) << each.error;
  }
}

TEST(VaultTransit, WhatDoesNotAuthenticateIsNoFailureWhateverTheStatus) {
  for (const auto& [status, error] : std::vector<std::pair<int, std::string>>{
           {400, "cipher: message authentication failed"}, {500, "cipher: message authentication failed"}, {400, "chacha20poly1305: message authentication failed"}, {400, "invalid ciphertext: no prefix"}}) {
    Vault vault;
    vault.decrypts_to(refusal(status, error));
    const auto opened = vault.connect().decrypt("vault:v1:abc", kBinding);
    ASSERT_TRUE(opened) << opened.failure().describe();
    EXPECT_FALSE(opened->key);
    EXPECT_EQ(opened->said, error);
    EXPECT_EQ(vault.server.requests().size(), 1u) << error;
  }
  Vault vault;
  for (const auto* wrong : {"", "vault:v1:a\",\"x\":\"", "vault:v1:\n", "\xff", "a b", "a\\b"}) EXPECT_FALSE(vault.connect().decrypt(wrong, kBinding)->key) << wrong;
  EXPECT_TRUE(vault.server.requests().empty()) << "what is no ciphertext is not sent";
}

TEST(VaultTransit, AnOutageIsTriedAgainAndThenSaid) {
  for (const auto& [status, error] : std::vector<std::pair<int, std::string>>{{500, "internal error"}, {502, ""}, {503, "standby"}, {429, "rate limit"}, {412, "required index state not present"}}) {
    Vault vault;
    vault.decrypts_to(refusal(status, error));
    auto& transit = vault.connect();
    const auto failed = transit.decrypt("vault:v1:abc", kBinding);
    ASSERT_FALSE(failed);
    EXPECT_EQ(failed.failure().code(), Errc::Storage) << error;
    EXPECT_EQ(vault.server.requests().size(), 3u) << error;
    vault.replies["/v1/my/transit/decrypt/pg"].push_back(data("plaintext", kPlain));
    vault.asked.clear();
    EXPECT_TRUE(transit.decrypt("vault:v1:abc", kBinding)) << "it passed";
  }
  Vault vault;
  vault.decrypts_to(refusal(503, "Vault is sealed"));
  auto sealed = vault.connect().decrypt("vault:v1:abc", kBinding);
  ASSERT_FALSE(sealed);
  EXPECT_EQ(sealed.failure().code(), Errc::Storage);
  EXPECT_NE(sealed.failure().hint().find("vault operator unseal"), std::string::npos);
  EXPECT_EQ(vault.server.requests().size(), 1u) << "people unseal it, time does not";

  vault.decrypts_to(reply(307, "", "Location: https://active.example:8200/v1/x\r\n"));
  sealed = vault.connect().decrypt("vault:v1:abc", kBinding);
  EXPECT_EQ(sealed.failure().code(), Errc::Storage);
  EXPECT_NE(sealed.failure().describe().find("active.example:8200"), std::string::npos) << sealed.failure().describe();

  vault.identity.address = "http://127.0.0.1:1";
  EXPECT_EQ(vault.connect().decrypt("vault:v1:abc", kBinding).failure().code(), Errc::Storage);
}

TEST(VaultTransit, AnswersThatAreNoKeyAreNotTaken) {
  for (const std::string& wrong : {std::string("{}"), std::string("[]"), std::string("<html>"), std::string(), std::string("{\"data\":7}"), std::string("{\"data\":{\"plaintext\":7}}"),
                                   std::string("{\"data\":{\"plaintext\":\"\"}}"), std::string("{\"data\":{\"plaintext\":\"BwcH\"}}"), std::string("{\"data\":{\"plaintext\":\"no base64\"}}"),
                                   std::string("{\"data\":{\"plaintext\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\"}}")}) {
    Vault vault;
    vault.decrypts_to(reply(200, wrong));
    vault.replies["/v1/my/transit/encrypt/pg"] = {reply(200, wrong)};
    EXPECT_FALSE(vault.connect().decrypt("vault:v1:abc", kBinding)) << wrong;
    EXPECT_FALSE(vault.connect().encrypt(crypto::Key256::from_bytes(Bytes(32, std::byte{7})).value(), kBinding)) << wrong;
  }
}

TEST(VaultTransit, WhatIsNotBoundIsRefused) {
  Vault vault;
  vault.decrypts_to(data("plaintext", kPlain));
  const auto unbound = vault.connect().expect_bound("vault:v1:abc", "another");
  ASSERT_FALSE(unbound);
  EXPECT_EQ(unbound.failure().code(), Errc::Key);
  vault.decrypts_to(refusal(400, "cipher: message authentication failed"));
  EXPECT_TRUE(vault.connect().expect_bound("vault:v1:abc", "another"));
}

TEST(VaultTransit, AKeyThatIsNotThereIsMissed) {
  Vault vault;
  for (const auto* words : {"encryption key not found", "policy not found"}) {
    vault.decrypts_to(refusal(400, words));
    const auto missing = vault.connect().expect_key();
    ASSERT_FALSE(missing) << words;
    EXPECT_NE(missing.failure().hint().find("vault write -f my/transit/keys/pg"), std::string::npos) << missing.failure().hint();
  }
  for (const auto* words : {"cipher: message authentication failed", "ciphertext or signature version is disallowed by policy (too old)"}) {
    vault.decrypts_to(refusal(400, words));
    EXPECT_TRUE(vault.connect().expect_key()) << words;
  }
}

TEST(VaultSession, LogsInByAppRoleAndEndsItsToken) {
  Vault vault;
  vault.identity.token = vault.identity.token_source = "";
  vault.identity.role_id = "the role \"quoted\"";
  vault.identity.secret_id = "the secret id";
  vault.replies["/v1/auth/approle/login"] = {reply(200, R"({"auth":{"client_token":"hvs.made","token_type":"service"}})")};
  vault.replies["/v1/auth/token/revoke-self"] = {reply(204)};
  vault.decrypts_to(data("plaintext", kPlain));
  EXPECT_TRUE(vault.connect().decrypt("vault:v1:abc", kBinding));
  EXPECT_TRUE(vault.transit->decrypt("vault:v1:abc", kBinding)) << "one login for both";
  vault.transit.reset();
  vault.session.reset();
  const auto requests = vault.server.requests();
  ASSERT_EQ(requests.size(), 4u);
  EXPECT_EQ(Vault::body_of(requests[0]), Json({{"role_id", "the role \"quoted\""}, {"secret_id", "the secret id"}}));
  EXPECT_EQ(requests[0].find("x-vault-token"), std::string::npos);
  for (const auto i : {1u, 2u, 3u}) EXPECT_NE(requests[i].find("x-vault-token: hvs.made\r\n"), std::string::npos) << i;
  EXPECT_TRUE(requests[3].starts_with("POST /v1/auth/token/revoke-self ")) << requests[3];

  vault.replies["/v1/auth/approle/login"] = {refusal(400, "invalid role or secret ID")};
  const auto refused = vault.connect().decrypt("vault:v1:abc", kBinding);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.failure().code(), Errc::Key);
  EXPECT_EQ(refused.failure().describe().find("the secret id"), std::string::npos);
  for (const auto* wrong : {"{}", "[]", "x", "{\"auth\":7}", "{\"auth\":{\"client_token\":7}}"}) {
    vault.replies["/v1/auth/approle/login"] = {reply(200, wrong)};
    EXPECT_EQ(vault.connect().decrypt("vault:v1:abc", kBinding).failure().code(), Errc::Storage) << wrong;
  }
}

/// The warnings of one use of a token of which lookup-self says this.
std::vector<std::string> warnings_for(Vault& vault, const Json& token) {
  std::vector<std::string> warnings;
  set_log_observer([&](LogLevel level, std::string_view text) {
    if (level == LogLevel::Warning) warnings.emplace_back(text);
  });
  vault.decrypts_to(data("plaintext", kPlain));
  vault.replies["/v1/auth/token/lookup-self"] = {reply(200, Json({{"data", token}}).dump())};
  EXPECT_TRUE(vault.connect().decrypt("vault:v1:abc", kBinding));
  EXPECT_TRUE(vault.transit->decrypt("vault:v1:abc", kBinding)) << "it is looked after once";
  EXPECT_EQ(vault.asked["/v1/auth/token/lookup-self"], 1u);
  set_log_observer({});
  return warnings;
}

TEST(VaultSession, RenewsATokenNearItsEnd) {
  constexpr const char* kRenew = "/v1/auth/token/renew-self";
  {
    Vault vault;
    EXPECT_TRUE(warnings_for(vault, {{"ttl", 400}, {"creation_ttl", 900}, {"renewable", true}}).empty());
    EXPECT_EQ(vault.asked[kRenew], 0u) << "not near its end";
  }
  {
    Vault vault;
    EXPECT_TRUE(warnings_for(vault, {{"ttl", 0}, {"creation_ttl", 0}, {"renewable", false}}).empty()) << "it never ends";
  }
  {
    Vault vault;
    vault.replies[kRenew] = {reply(200, R"({"auth":{"lease_duration":900}})")};
    EXPECT_TRUE(warnings_for(vault, {{"ttl", 299}, {"creation_ttl", 900}, {"renewable", true}}).empty());
    EXPECT_EQ(vault.asked[kRenew], 1u);
  }
  {
    Vault vault;
    vault.replies[kRenew] = {reply(200, R"({"auth":{"lease_duration":200}})")};
    const auto warnings = warnings_for(vault, {{"ttl", 299}, {"creation_ttl", 900}, {"renewable", true}});
    ASSERT_EQ(warnings.size(), 1u);
    EXPECT_NE(warnings[0].find("cannot be renewed beyond"), std::string::npos) << warnings[0];
  }
  {
    Vault vault;
    vault.replies[kRenew] = {refusal(403, "permission denied")};
    ASSERT_EQ(warnings_for(vault, {{"ttl", 299}, {"creation_ttl", 900}, {"renewable", true}}).size(), 1u);
  }
  {
    Vault vault;
    const auto warnings = warnings_for(vault, {{"ttl", 299}, {"creation_ttl", 900}, {"renewable", false}});
    ASSERT_EQ(warnings.size(), 1u);
    EXPECT_NE(warnings[0].find("not renewable"), std::string::npos) << warnings[0];
    EXPECT_EQ(warnings[0].find("thesecret"), std::string::npos);
  }
  for (const Json& odd : {Json::array(), Json("x"), Json({{"ttl", "soon"}})}) {
    Vault vault;
    EXPECT_TRUE(warnings_for(vault, odd).empty()) << odd;
  }
}

}  // namespace
}  // namespace pgmint::http

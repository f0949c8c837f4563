#include "http/aws_kms.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "http/base64.h"
#include "http/testing_aws.h"

namespace pgmint::http {
namespace {

const std::string kKey = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
const KmsContext kContext = {{"pgmint:repository", "00112233445566778899aabbccddeeff"}};
const Bytes kPlain(32, std::byte{7});

struct Kms {
  TestAws aws;
  std::vector<ScriptedReply> replies;  ///< one after another; the last stays
  std::size_t asked = 0;
  ScriptedServer server{[this](const std::string&) { return replies[std::min(asked++, replies.size() - 1)]; }};
  int given = 0;
  std::unique_ptr<AwsCredentialSource> credentials = renewed_credentials(
      [this]() -> Result<AwsCredentials> { return AwsCredentials{fmt::format("AKIA{}", ++given), "thesecret", "thetoken", std::nullopt, "a test"}; }, aws.clock);
  AwsKms kms{*aws.client, *credentials, aws.clock, server.url(), "eu-central-1"};

  void refuse(int status, const std::string& code, const std::string& message = "a reason") {
    replies = {reply(status, fmt::format("{{\"__type\":\"{}\",\"message\":\"{}\"}}", code, message))};
  }
  Result<std::optional<crypto::Key256>> decrypt() { return kms.decrypt(kKey, as_bytes("wrapped"), kContext); }
  nlohmann::json body() const {
    const auto request = server.requests().back();
    return nlohmann::json::parse(request.substr(request.find("\r\n\r\n") + 4));
  }
};

std::string answer(std::string_view plain = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=") {
  return fmt::format("{{\"CiphertextBlob\":\"{}\",\"KeyId\":\"{}\",\"Plaintext\":\"{}\",\"EncryptionAlgorithm\":\"SYMMETRIC_DEFAULT\"}}", base64(as_bytes("wrapped")), kKey, plain);
}

TEST(AwsKms, DrawsADataKeyForAContext) {
  Kms kms;
  kms.replies = {reply(200, answer())};
  auto made = kms.kms.generate_data_key("alias/pgmint", kContext);
  ASSERT_TRUE(made) << made.failure().describe();
  EXPECT_TRUE(crypto::equal_constant_time(made->key.bytes(), kPlain));
  EXPECT_EQ(as_text(made->wrapped), "wrapped");
  EXPECT_EQ(made->key_id, kKey);
  const auto request = kms.server.requests().front();
  EXPECT_TRUE(request.starts_with("POST / HTTP/1.1\r\n")) << request;
  EXPECT_NE(request.find("x-amz-target: TrentService.GenerateDataKey\r\n"), std::string::npos) << request;
  EXPECT_NE(request.find("/eu-central-1/kms/aws4_request"), std::string::npos) << request;
  EXPECT_EQ(request.find("thesecret"), std::string::npos) << request;
  const nlohmann::json expected = {{"KeyId", "alias/pgmint"}, {"KeySpec", "AES_256"}, {"EncryptionContext", {{"pgmint:repository", "00112233445566778899aabbccddeeff"}}}};
  EXPECT_EQ(kms.body(), expected);
}

TEST(AwsKms, UnwrapsWithTheSameKeyAndContext) {
  Kms kms;
  kms.replies = {reply(200, answer())};
  auto key = kms.decrypt();
  ASSERT_TRUE(key && *key) << (key ? "another key's" : key.failure().describe());
  EXPECT_TRUE(crypto::equal_constant_time((*key)->bytes(), kPlain));
  const nlohmann::json expected = {{"KeyId", kKey}, {"CiphertextBlob", base64(as_bytes("wrapped"))}, {"EncryptionContext", {{"pgmint:repository", "00112233445566778899aabbccddeeff"}}}};
  EXPECT_EQ(kms.body(), expected);

  kms.refuse(400, "IncorrectKeyException");
  key = kms.decrypt();
  ASSERT_TRUE(key) << key.failure().describe();
  EXPECT_FALSE(*key) << "another key's slot is no failure";
}

TEST(AwsKms, ARefusalNamesTheWayOutAndIsNotRepeated) {
  for (const auto& [code, says] : std::map<std::string, std::string>{{"AccessDeniedException", "kms:Decrypt"},
                                                                     {"DisabledException", "enable-key"},
                                                                     {"KMSInvalidStateException", "cancel-key-deletion"},
                                                                     {"NotFoundException", "recovery key"},
                                                                     {"InvalidCiphertextException", "another repository"},
                                                                     {"InvalidKeyUsageException", "SYMMETRIC_DEFAULT"},
                                                                     {"SomethingNew", "recovery key"}}) {
    Kms kms;
    kms.refuse(400, "com.amazonaws.kms#" + code, "the reason\\nof it");
    auto refused = kms.decrypt();
    ASSERT_FALSE(refused) << code;
    EXPECT_EQ(refused.failure().code(), Errc::Key) << code;
    const auto text = refused.failure().describe();
    EXPECT_NE(text.find(code + ": the reason?of it"), std::string::npos) << text;
    EXPECT_NE(text.find(kKey), std::string::npos) << text;
    EXPECT_NE(refused.failure().hint().find(says), std::string::npos) << refused.failure().hint();
    EXPECT_EQ(kms.asked, 1u) << code;
  }
}

TEST(AwsKms, AnOutageIsTriedAgainAndThenSaid) {
  for (const auto& [status, code] : std::vector<std::pair<int, std::string>>{{500, "KMSInternalException"}, {503, "DependencyTimeoutException"}, {400, "ThrottlingException"},
                                                                             {500, "KeyUnavailableException"}, {502, ""}, {429, "x"}}) {
    Kms kms;
    kms.refuse(status, code);
    auto failed = kms.decrypt();
    ASSERT_FALSE(failed);
    EXPECT_EQ(failed.failure().code(), Errc::Storage) << code;
    EXPECT_EQ(kms.asked, 3u) << code;

    kms.asked = 0;
    kms.replies.push_back(reply(200, answer()));
    EXPECT_TRUE(kms.decrypt()) << "it passed";
    EXPECT_EQ(kms.asked, 2u);
  }
  TestAws aws;
  const auto credentials = fixed_credentials({"AKIA", "s", "", std::nullopt, "a test"});
  const auto began = aws.clock.now();
  auto failed = AwsKms(*aws.client, *credentials, aws.clock, "http://127.0.0.1:1", "eu-central-1").decrypt(kKey, as_bytes("wrapped"), kContext);
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.failure().code(), Errc::Storage);
  EXPECT_GT(aws.clock.now(), began) << "it waits before it tries again";
}

TEST(AwsKms, CredentialsThatHaveExpiredAreRenewedOnce) {
  Kms kms;
  kms.refuse(400, "ExpiredTokenException");
  kms.replies.push_back(reply(200, answer()));
  EXPECT_TRUE(kms.decrypt());
  EXPECT_EQ(kms.given, 2);
  EXPECT_NE(kms.server.requests().back().find("Credential=AKIA2/"), std::string::npos);

  kms.asked = 0;
  kms.refuse(403, "UnrecognizedClientException", "The security token included in the request is invalid.");
  auto refused = kms.decrypt();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.failure().code(), Errc::Key);
  EXPECT_EQ(kms.asked, 2u);
  EXPECT_EQ(refused.failure().describe().find("thesecret"), std::string::npos);
  EXPECT_EQ(refused.failure().describe().find("thetoken"), std::string::npos);
}

TEST(AwsKms, AnswersThatAreNoKeyAreNotTaken) {
  for (const std::string& wrong : {std::string("{}"), std::string("[]"), std::string("<html>"), std::string(), answer(""), answer("BwcH"), answer("not base64 at all"),
                                   answer("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="), answer().substr(0, 100), std::string("{\"Plaintext\":7}")}) {
    Kms kms;
    kms.replies = {reply(200, wrong)};
    EXPECT_FALSE(kms.decrypt()) << wrong;
    EXPECT_FALSE(kms.kms.generate_data_key(kKey, kContext)) << wrong;
  }
  Kms kms;
  kms.replies = {reply(200, "{\"KeyId\":\"k\",\"Plaintext\":\"BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=\"}")};
  EXPECT_FALSE(kms.kms.generate_data_key(kKey, kContext)) << "a key that nobody could have again";
}

TEST(AwsKms, AnArnNamesItsRegion) {
  EXPECT_EQ(region_of_arn(kKey), "eu-central-1");
  EXPECT_EQ(region_of_arn("arn:aws-cn:kms:cn-north-1:1:alias/x"), "cn-north-1");
  for (const auto* other : {"", "alias/pgmint", "arn:", "arn:aws:kms", "1234abcd-12ab-34cd-56ef-1234567890ab"}) EXPECT_EQ(region_of_arn(other), "") << other;
}

}  // namespace
}  // namespace pgmint::http

#include "http/sigv4.h"

#include <gtest/gtest.h>

namespace pgmint::http {
namespace {

// The requests and signatures that AWS prints in its documentation: "Authenticating Requests: Using the Authorization Header" for S3, the
// test suite of Signature Version 4, and the example of IAM.
const AwsCredentials kS3Example{"AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "", {}, "test"};
const AwsCredentials kSuite{"AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "", {}, "test"};

std::string signature(Request request, const AwsCredentials& credentials, const SigningScope& scope, const char* time) {
  sign(request, credentials, scope, *parse_time(time), payload_hash(request.body));
  const auto& value = request.headers.back().value;
  EXPECT_EQ(request.headers.back().name, "authorization");
  return value.substr(value.rfind('=') + 1);
}

Request request_to(std::string method, std::string url, std::vector<Header> headers = {}, ByteView body = {}) {
  Request request;
  request.method = std::move(method);
  request.url = std::move(url);
  request.headers = std::move(headers);
  request.body = body;
  return request;
}

std::string s3_signature(Request request) {
  return signature(std::move(request), kS3Example, {"us-east-1", "s3"}, "2013-05-24T00:00:00Z");
}

TEST(SignatureV4, MatchesTheExamplesOfS3) {
  const std::string host = "https://examplebucket.s3.amazonaws.com";
  EXPECT_EQ(s3_signature(request_to("GET", host + "/test.txt", {{"Range", "bytes=0-9"}})),
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
  EXPECT_EQ(s3_signature(request_to("PUT", host + "/test%24file.text",
                                    {{"Date", "Fri, 24 May 2013 00:00:00 GMT"}, {"x-amz-storage-class", "REDUCED_REDUNDANCY"}},
                                    as_bytes("Welcome to Amazon S3."))),
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
  EXPECT_EQ(s3_signature(request_to("GET", host + "/?lifecycle")), "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
  EXPECT_EQ(s3_signature(request_to("GET", host + "/?prefix=J&max-keys=2")), "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
}

TEST(SignatureV4, MatchesTheExamplesOfOtherServices) {
  EXPECT_EQ(signature(request_to("GET", "https://example.amazonaws.com/"), kSuite, {"us-east-1", "service"}, "2015-08-30T12:36:00Z"),
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");
  EXPECT_EQ(signature(request_to("GET", "https://iam.amazonaws.com/?Version=2010-05-08&Action=ListUsers",
                                 {{"Content-Type", "application/x-www-form-urlencoded; charset=utf-8"}}),
                      kSuite, {"us-east-1", "iam"}, "2015-08-30T12:36:00Z"),
            "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7");
}

TEST(SignatureV4, BlanksInHeadersDoNotCount) {
  EXPECT_EQ(s3_signature(request_to("GET", "https://h/x", {{"a", "  b   c "}})), s3_signature(request_to("GET", "https://h/x", {{"A", "b c"}})));
}

TEST(SignatureV4, ASessionTokenIsSentAndSigned) {
  auto credentials = kS3Example;
  credentials.session_token = "token";
  auto request = request_to("GET", "https://h/x");
  sign(request, credentials, {"eu-central-1", "s3"}, *parse_time("2013-05-24T00:00:00Z"), payload_hash({}));
  EXPECT_NE(request.headers.back().value.find("SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-security-token,"), std::string::npos)
      << request.headers.back().value;
}

TEST(SignatureV4, EveryPartChangesIt) {
  const auto original = s3_signature(request_to("GET", "https://h/x?a=b", {{"c", "d"}}));
  for (const auto& other : {request_to("PUT", "https://h/x?a=b", {{"c", "d"}}), request_to("GET", "https://i/x?a=b", {{"c", "d"}}),
                            request_to("GET", "https://h/y?a=b", {{"c", "d"}}), request_to("GET", "https://h/x?a=c", {{"c", "d"}}),
                            request_to("GET", "https://h/x?a=b", {{"c", "e"}}), request_to("GET", "https://h/x?a=b", {{"c", "d"}}, as_bytes("body"))})
    EXPECT_NE(s3_signature(other), original);
}

}  // namespace
}  // namespace pgmint::http

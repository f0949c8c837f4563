#include "storage/s3_answer.h"

#include <gtest/gtest.h>

#include "base/random.h"
#include "storage/s3_address.h"

namespace pgmint::storage {
namespace {

http::Answer answer(int status, std::string_view body = {}) {
  http::Answer made;
  made.status = status;
  made.body = to_bytes(as_bytes(body));
  return made;
}

std::string error_body(std::string_view code, std::string_view message = "in words") {
  return fmt::format("<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>{}</Code><Message>{}</Message><RequestId>1</RequestId></Error>", code, message);
}

TEST(S3Answer, ReadsAPageOfAListing) {
  constexpr std::string_view kXml =
      "<?xml version=\"1.0\" encoding=\"UTF-8\"?><ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>b</Name><Prefix>p/</Prefix>"
      "<IsTruncated>true</IsTruncated><NextContinuationToken>t&amp;k</NextContinuationToken>"
      "<Contents><Key>p/a&amp;b</Key><Size>12</Size><ETag>&quot;d41d8cd98f00b204e9800998ecf8427e&quot;</ETag><StorageClass>STANDARD</StorageClass></Contents><Contents><Key>p/c</Key><Size>0</Size></Contents>"
      "<CommonPrefixes><Prefix>p/d/</Prefix></CommonPrefixes></ListBucketResult>";
  const auto page = parse_s3_page(as_bytes(kXml));
  ASSERT_TRUE(page) << page.failure().describe();
  ASSERT_EQ(page->objects.size(), 2u);
  EXPECT_EQ(page->objects[0].name, "p/a&b");
  EXPECT_EQ(page->objects[0].size, 12u);
  EXPECT_EQ(page->objects[0].etag, "d41d8cd98f00b204e9800998ecf8427e");
  EXPECT_EQ(page->objects[1].etag, "");
  EXPECT_EQ(page->objects[1].size, 0u);
  EXPECT_EQ(page->prefixes, std::vector<std::string>{"p/d/"});
  EXPECT_EQ(page->next, "t&k");
}

// What is cut short or comes from a proxy must never pass for an empty listing: an empty listing says that objects are absent.
TEST(S3Answer, NothingElsePassesForAListing) {
  const std::string whole =
      "<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>p/c</Key><Size>7</Size></Contents></ListBucketResult>";
  ASSERT_TRUE(parse_s3_page(as_bytes(whole)));
  for (std::size_t size = 0; size < whole.size(); ++size) EXPECT_FALSE(parse_s3_page(as_bytes(whole.substr(0, size)))) << size;
  for (const char* other : {"<html><body>Sign in</body></html>", "<Error><Code>SlowDown</Code></Error>",
                            "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
                            "<ListBucketResult><Contents><Size>7</Size></Contents></ListBucketResult>",
                            "<ListBucketResult><Contents><Key>k</Key></Contents></ListBucketResult>",
                            "<ListBucketResult><Contents><Key>k</Key><Size>-7</Size></Contents></ListBucketResult>",
                            "<ListBucketResult><Contents><Key>k</Key><Size>99999999999999999999</Size></Contents></ListBucketResult>"})
    EXPECT_FALSE(parse_s3_page(as_bytes(other))) << other;
}

TEST(S3Answer, ReadsNoiseWithoutHarm) {
  SeededRandom random(11);
  for (int i = 0; i < 2000; ++i) {
    Bytes noise(random.u64() % 400);
    random.fill(noise);
    EXPECT_FALSE(parse_s3_page(noise));
    EXPECT_FALSE(parse_s3_deletions(noise));
  }
}

TEST(S3Answer, SaysWhatWasNotRemoved) {
  const auto none = parse_s3_deletions(as_bytes("<DeleteResult xmlns=\"x\"></DeleteResult>"));
  ASSERT_TRUE(none);
  EXPECT_TRUE(none->empty());
  const auto some = parse_s3_deletions(
      as_bytes("<DeleteResult><Error><Key>a</Key><Code>AccessDenied</Code></Error><Error><Key>b</Key><Code>NoSuchKey</Code></Error></DeleteResult>"));
  ASSERT_TRUE(some);
  EXPECT_EQ(*some, std::vector<std::string>{"a: AccessDenied"});
}

TEST(S3Answer, WhatARefusalMeans) {
  const auto kind = [](int status, std::string_view code, bool writes) { return s3_error(answer(status, code.empty() ? std::string() : error_body(code)), "x", writes).code(); };
  for (const bool writes : {false, true}) {
    EXPECT_EQ(kind(404, "NoSuchBucket", writes), Errc::Precondition);
    EXPECT_EQ(kind(403, "AccessDenied", writes), Errc::Key);
    EXPECT_EQ(kind(403, "", writes), Errc::Key) << "denied is never absence";
    EXPECT_EQ(kind(403, "QuotaExceeded", writes), Errc::ResourceLimit);
    EXPECT_EQ(kind(403, "RequestTimeTooSkewed", writes), Errc::Precondition);
    EXPECT_EQ(kind(409, "ConditionalRequestConflict", writes), Errc::Busy);
    EXPECT_EQ(kind(501, "NotImplemented", writes), Errc::Precondition);
    EXPECT_EQ(kind(400, "BadDigest", writes), Errc::Storage);
    EXPECT_EQ(kind(404, "", writes), Errc::Io) << "a 404 that names no object is not an absent object";
    EXPECT_EQ(kind(301, "PermanentRedirect", writes), Errc::Configuration);
    for (const int status : {500, 502, 503, 504, 429, 408}) EXPECT_EQ(kind(status, "", writes), writes ? Errc::Unknown : Errc::Storage) << status;
    EXPECT_EQ(kind(503, "SlowDown", writes), writes ? Errc::Unknown : Errc::Storage);
    EXPECT_EQ(kind(400, "RequestTimeout", writes), writes ? Errc::Unknown : Errc::Storage);
  }
}

TEST(S3Answer, AServicesWordsAreHarmlessOnATerminal) {
  const auto error = s3_error(answer(403, error_body("AccessDenied", "\x1b[31mred&#10;next line" + std::string(4000, 'x'))), "read a", false);
  EXPECT_EQ(error.describe().find('\x1b'), std::string::npos);
  EXPECT_EQ(error.describe().find('\n'), std::string::npos);
  EXPECT_LT(error.describe().size(), 500u);
}

TEST(S3Answer, ReadsTheDateOfAnAnswer) {
  EXPECT_EQ(parse_http_date("Thu, 26 Nov 2026 23:59:59 GMT"), *parse_time("2026-11-26T23:59:59Z"));
  for (const char* text : {"", "2026-11-26T23:59:59Z", "Thu, 26 Nov 2026 23:59:59", "Thu, 26 Nov 2026 23:59:59 GMT and more"}) EXPECT_FALSE(parse_http_date(text)) << text;
}

TEST(S3Address, MakesUrlsOfBothStyles) {
  const auto path = S3Address::parse("s3://bucket/team a/x/", "https://localhost:17443/", "us-east-1", true);
  ASSERT_TRUE(path) << path.failure().describe();
  EXPECT_EQ(path->object_url("c/1/log/0"), "https://localhost:17443/bucket/team%20a/x/c/1/log/0");
  EXPECT_EQ(path->bucket_url("a=b"), "https://localhost:17443/bucket/?a=b");
  EXPECT_EQ(path->describe(), "s3://bucket/team a/x");
  const auto host = S3Address::parse("s3://bucket", "", "eu-central-1", false);
  ASSERT_TRUE(host);
  EXPECT_EQ(host->object_url("format"), "https://bucket.s3.eu-central-1.amazonaws.com/format");
  EXPECT_EQ(host->describe(), "s3://bucket");
  EXPECT_EQ(S3Address::parse("s3://a.b.c/x", "", "eu-central-1", false)->object_url("format"), "https://s3.eu-central-1.amazonaws.com/a.b.c/x/format")
      << "no certificate covers dots before the host";
}

TEST(S3Address, RefusesWhatIsNone) {
  for (const char* url : {"s3://", "s3:///x", "s3://bu/", "s3://-bucket", "s3://bucket/../x", "s3://bucket/a//b", "s3://bucket/./a", "s3://buck et/x", "http://bucket/x",
                          "s3://bucket/a\nb", "s3://bucket@host/x"})
    EXPECT_FALSE(S3Address::parse(url, "", "r", false)) << url;
  for (const char* endpoint : {"localhost:80", "ftp://host", "https://", "https://host/path", "https://user:secret@host", "https://host?x"}) {
    const auto made = S3Address::parse("s3://bucket/x", endpoint, "r", true);
    ASSERT_FALSE(made) << endpoint;
    EXPECT_EQ(made.failure().describe().find("secret"), std::string::npos) << made.failure().describe();
  }
}

}  // namespace
}  // namespace pgmint::storage

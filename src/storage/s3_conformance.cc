// The conformance suite against an S3 service that the environment names. Each store is a prefix of its own in the bucket.
#include <unistd.h>

#include <atomic>
#include <cstdlib>

#include "storage/blob_store_conformance.h"
#include "storage/instant_clock.h"
#include "storage/retry_store.h"
#include "storage/s3_store.h"

namespace pgmint::storage {
namespace {

std::string given(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

std::unique_ptr<BlobStore> open_fresh(bool path_style) {
  static std::atomic<int> number{0};
  S3Options options;
  options.url = fmt::format("s3://{}/conformance {}+&/{}", given("PGMINT_TEST_S3_BUCKET"), ::getpid(), ++number);
  options.endpoint = given("PGMINT_TEST_S3_ENDPOINT");
  options.path_style = path_style;
  // In a bucket with versions, where RGW 16 lets every racer win, the oldest version decides.
  if (!given("PGMINT_TEST_S3_BY_VERSIONS").empty()) options.decided_by_versions = [](const std::string&) { return true; };
  options.page_size = 300;  // so that listings of a thousand take several
  http::ClientOptions client;
  client.ca_file = given("PGMINT_TEST_S3_CA_FILE");
  auto store = open_s3_store(options, http::make_client(client),
                             http::fixed_credentials({given("AWS_ACCESS_KEY_ID"), given("AWS_SECRET_ACCESS_KEY"), "", {}, "environment"}), system_clock());
  PGMINT_ASSERT(store);
  return std::move(*store);
}

StoreFactory plain(bool path_style) {
  return {path_style ? "S3PathStyle" : "S3VirtualStyle", [path_style] { return StoreUnderTest{{}, open_fresh(path_style)}; }};
}

StoreFactory retried() {
  return {"S3Retried", [] {
            StoreUnderTest subject;
            subject.store = make_retry_store(open_fresh(true), {}, system_clock(), system_random());
            return subject;
          }};
}

INSTANTIATE_TEST_SUITE_P(S3, BlobStoreConformance, testing::Values(plain(true), plain(false), retried()), factory_name);

TEST(S3, ABucketThatIsNotThereIsNoAbsentObject) {
  S3Options options;
  options.url = "s3://no-such-bucket-" + std::to_string(::getpid()) + "/x";
  options.endpoint = given("PGMINT_TEST_S3_ENDPOINT");
  options.path_style = true;
  http::ClientOptions client;
  client.ca_file = given("PGMINT_TEST_S3_CA_FILE");
  auto store = open_s3_store(options, http::make_client(client),
                             http::fixed_credentials({given("AWS_ACCESS_KEY_ID"), given("AWS_SECRET_ACCESS_KEY"), "", {}, "environment"}), system_clock());
  ASSERT_TRUE(store);
  Bytes room(1);
  const auto refused = [](const auto& result) { return !result && result.failure().code() == Errc::Precondition; };
  EXPECT_TRUE(refused((*store)->read("format", 100)));
  EXPECT_TRUE(refused((*store)->stat("format")));
  EXPECT_TRUE(refused((*store)->read_range("format", 0, room)));
  EXPECT_TRUE(refused((*store)->create("format", as_bytes("x"))));
  EXPECT_TRUE(refused((*store)->list("", "", [](const BlobInfo&) { return ok(); })));
  EXPECT_TRUE(refused((*store)->list_parts("")));
}

}  // namespace
}  // namespace pgmint::storage

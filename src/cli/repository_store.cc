#include "cli/repository_store.h"

#include <fmt/format.h>

#include "cli/aws_identity.h"
#include "service/channel.h"
#include "storage/posix_store.h"

namespace pgmint::cli {
namespace {

Status check_endpoint(const std::string& endpoint) {
  const auto to = service::Destination::parse(endpoint);
  if (!to || (to->scheme != "https" && to->scheme != "http"))
    return Error(Errc::Configuration, "endpoint in [s3] is no https:// URL", Hint{"endpoint = \"https://host:port\""});
  if (to->scheme == "http" && !to->loopback)
    return Error(Errc::Configuration, fmt::format("the endpoint {} is without TLS, which is for this host alone", to->host), Hint{"endpoint = \"https://...\" in [s3]"});
  return ok();
}

http::AwsCredentialSettings identity_of(const S3Settings& s3, const std::string& region) {
  http::AwsCredentialSettings who;
  who.access_key_id = s3.access_key_id;
  who.secret_access_key = s3.secret_access_key;
  who.session_token = s3.session_token;
  who.profile = s3.profile;
  who.role_arn = s3.role_arn;
  who.external_id = s3.external_id;
  who.sts_endpoint = s3.sts_endpoint;
  who.region = region;
  return who;
}

struct BucketUse {
  storage::RetryPolicy patience{};
  bool one_writer = false;
};

Result<RepositoryStore> open_bucket(const std::string& url, const S3Settings& s3, const BucketUse& use, CancelToken& cancel) {
  if (s3.endpoint) TRY(check_endpoint(*s3.endpoint));
  storage::S3Options options;
  options.url = url;
  options.one_writer = use.one_writer;
  options.endpoint = s3.endpoint.value_or("");
  options.region = TRY(http::aws_region(s3.region, s3.profile, aws_environment())).value_or(options.region);
  options.path_style = s3.path_style.value_or(false);
  options.storage_class = s3.storage_class.value_or("");
  options.encryption = s3.server_side_encryption.value_or("");
  options.kms_key_id = s3.kms_key_id.value_or("");
  http::ClientOptions client;
  client.ca_file = s3.ca_file.value_or("");
  client.proxy = s3.proxy.value_or("");
  client.allow_tls_1_2 = s3.tls_min == "1.2";
  if (s3.stall_time_max) client.stall_time_max = *s3.stall_time_max;
  auto identity = TRY(aws_identity(identity_of(s3, options.region), client));
  auto bucket = TRY(storage::open_s3_store(options, http::make_client(client, &cancel), std::move(identity), system_clock()));
  RepositoryStore made;
  made.bucket = bucket.get();
  made.store = storage::make_retry_store(std::move(bucket), use.patience, system_clock(), system_random(), &cancel);
  return made;
}

}  // namespace

Result<RepositoryStore> open_repository_store(const RepositorySettings& repository, const S3Settings& s3, bool create, const storage::RetryPolicy& patience, CancelToken& cancel) {
  if (repository.is_s3()) return open_bucket(repository.url, s3, {patience, false}, cancel);
  storage::PosixOptions options;
  options.create_root = create;
  return RepositoryStore{TRY(storage::open_posix_store(TRY(repository.directory()), options))};
}

Result<RepositoryStore> open_mirror_store(const MirrorSettings& mirror, const S3Settings& general, bool create, bool brief, CancelToken& cancel) {
  RepositorySettings place;
  place.url = mirror.url;
  const auto what = fmt::format("mirror {}", mirror.name);
  if (!place.is_s3()) return open_repository_store(place, {}, create, {}, cancel).context(what);
  BucketUse use{{}, mirror.one_writer};
  if (brief) use.patience.attempts_max = 2;
  return open_bucket(mirror.url, mirror.s3.empty() ? general : mirror.s3, use, cancel).context(what);
}

}  // namespace pgmint::cli

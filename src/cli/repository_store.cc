#include "cli/repository_store.h"

#include <fmt/format.h>

#include "service/channel.h"
#include "storage/posix_store.h"
#include "storage/retry_store.h"

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

Result<http::AwsCredentials> credentials_of(const S3Settings& s3) {
  if (s3.access_key_id.has_value() != s3.secret_access_key.has_value())
    return Error(Errc::Configuration, fmt::format("[s3] has {} alone", s3.access_key_id ? "access_key_id" : "secret_access_key"),
                 Hint{"access_key_id and secret_access_key belong together"});
  if (s3.access_key_id) return http::AwsCredentials{*s3.access_key_id, *s3.secret_access_key, s3.session_token.value_or(""), {}, "the configuration"};
  const auto id = process_environment("AWS_ACCESS_KEY_ID"), secret = process_environment("AWS_SECRET_ACCESS_KEY");
  if (!id || !secret)
    return Error(Errc::Configuration, "no credentials for the object store", Hint{"access_key_id and secret_access_key in [s3], or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"});
  return http::AwsCredentials{*id, *secret, process_environment("AWS_SESSION_TOKEN").value_or(""), {}, "the environment"};
}

Result<RepositoryStore> open_bucket(const RepositorySettings& repository, const S3Settings& s3, CancelToken& cancel) {
  if (s3.endpoint) TRY(check_endpoint(*s3.endpoint));
  storage::S3Options options;
  options.url = repository.url;
  options.endpoint = s3.endpoint.value_or("");
  options.region = s3.region.value_or(options.region);
  options.path_style = s3.path_style.value_or(false);
  options.storage_class = s3.storage_class.value_or("");
  options.encryption = s3.server_side_encryption.value_or("");
  options.kms_key_id = s3.kms_key_id.value_or("");
  http::ClientOptions client;
  client.ca_file = s3.ca_file.value_or("");
  client.proxy = s3.proxy.value_or("");
  client.allow_tls_1_2 = s3.tls_min == "1.2";
  if (s3.stall_time_max) client.stall_time_max = *s3.stall_time_max;
  auto bucket = TRY(storage::open_s3_store(options, http::make_client(client, &cancel), http::fixed_credentials(TRY(credentials_of(s3))), system_clock()));
  RepositoryStore made;
  made.bucket = bucket.get();
  made.store = storage::make_retry_store(std::move(bucket), {}, system_clock(), system_random(), &cancel);
  return made;
}

}  // namespace

Result<RepositoryStore> open_repository_store(const RepositorySettings& repository, const S3Settings& s3, bool create, CancelToken& cancel) {
  if (repository.is_s3()) return open_bucket(repository, s3, cancel);
  storage::PosixOptions options;
  options.create_root = create;
  return RepositoryStore{TRY(storage::open_posix_store(TRY(repository.directory()), options))};
}

}  // namespace pgmint::cli

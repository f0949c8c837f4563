#include "cli/s3_connection.h"

#include <fmt/format.h>

#include "cli/aws_identity.h"
#include "cli/store_probe.h"
#include "service/channel.h"

namespace pgmint::cli {
namespace {

Status check_endpoint(const std::string& endpoint) {
  const auto to = service::Destination::parse(endpoint);
  if (!to || (to->scheme != "https" && to->scheme != "http"))
    return Error(Errc::Configuration, "endpoint is no https:// URL", Hint{"endpoint = \"https://host:port\""});
  if (to->scheme == "http" && !to->loopback)
    return Error(Errc::Configuration, fmt::format("the endpoint {} is without TLS, which is for this host alone", to->host), Hint{"endpoint = \"https://...\" in [s3] or the bucket's own table"});
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

}  // namespace

std::optional<storage::S3LockRule> lock_rule(const S3Settings& s3) {
  if (!s3.object_lock) return std::nullopt;
  return storage::S3LockRule{*s3.object_lock == "compliance" ? storage::LockMode::Compliance : storage::LockMode::Governance, std::chrono::days(s3.object_lock_days.value_or(kObjectLockDays))};
}

Result<S3Connection> s3_connection(const std::string& url, const S3Settings& s3, const CancelToken& cancel) {
  if (s3.endpoint) TRY(check_endpoint(*s3.endpoint));
  S3Connection made;
  auto& options = made.options;
  options.url = url;
  options.endpoint = s3.endpoint.value_or("");
  options.region = TRY(http::aws_region(s3.region, s3.profile, aws_environment())).value_or(options.region);
  options.path_style = s3.path_style.value_or(false);
  options.storage_class = s3.storage_class.value_or("");
  options.encryption = s3.server_side_encryption.value_or("");
  options.kms_key_id = s3.kms_key_id.value_or("");
  if (const auto rule = lock_rule(s3)) options.lock = rule;
  // The probe's objects and the marks of mirrors are replaced by newer ones.
  options.never_locked = {std::string(kProbePrefix), "mirror/"};
  http::ClientOptions client;
  client.ca_file = s3.ca_file.value_or("");
  client.proxy = s3.proxy.value_or("");
  client.allow_tls_1_2 = s3.tls_min == "1.2";
  if (s3.stall_time_max) client.stall_time_max = *s3.stall_time_max;
  made.identity = TRY(aws_identity(identity_of(s3, options.region), client));
  made.client = http::make_client(client, &cancel);
  return made;
}

}  // namespace pgmint::cli

#include "cli/kms_keys.h"

#include <fmt/format.h>

#include "cli/key_uris.h"
#include "repository/key_service.h"

namespace pgmint::cli {
namespace {

constexpr std::string_view kScheme = "awskms:///";

bool may_stand_in_a_key(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == ':' || c == '/' || c == '_' || c == '-';
}

}  // namespace

Result<std::string> parse_kms_uri(std::string_view uri) {
  const auto wrong = [&] {
    return Error(Errc::Usage, fmt::format("\"{}\" is not the URI of a KMS key", uri), Hint{"awskms:///ARN, awskms:///ID or awskms:///alias/NAME"});
  };
  if (!uri.starts_with(kScheme)) return wrong();
  const auto key = uri.substr(kScheme.size());
  if (key.empty() || key.size() > repository::kServiceKeyNameMax || key.front() == '/' || !std::ranges::all_of(key, may_stand_in_a_key)) return wrong();
  return std::string(key);
}

const std::vector<Key<KmsSettings>>& kms_keys() {
  using T = KmsSettings;
  static const std::vector<Key<T>> keys = {
      {"endpoint", "URL", "Where KMS listens, such as a VPC endpoint. Absent: AWS's own of the region. http:// is for this host alone.",
       [](T& t, const Value& v) { return read_service_url(t.endpoint, v); }},
      {"region", "text", "The region of keys that are not named by an ARN. Absent: AWS_REGION, AWS_DEFAULT_REGION, the profile's.",
       [](T& t, const Value& v) { return assign(t.region, v.line()); }},
      {"ca_file", "path", "Certificates to trust, in PEM, and no others. Absent: the system's.",
       [](T& t, const Value& v) { return assign(t.ca_file, v.absolute_path()); }},
      {"profile", "text", "The profile of ~/.aws to take credentials from. Absent: environment, profile, web identity, container, instance metadata, in this order.",
       [](T& t, const Value& v) { return assign(t.profile, v.line()); }},
      {"role_arn", "text", "A role to take on with those credentials.", [](T& t, const Value& v) { return assign(t.role_arn, v.line()); }},
      {"external_id", "text", "Belongs to role_arn.", [](T& t, const Value& v) { return assign(t.external_id, v.line()); }},
  };
  return keys;
}

}  // namespace pgmint::cli

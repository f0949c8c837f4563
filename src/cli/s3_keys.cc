#include "cli/s3_keys.h"

namespace pgmint::cli {
const std::vector<Key<S3Settings>>& s3_keys() {
  using T = S3Settings;
  static const std::vector<Key<T>> keys = {
      {"endpoint", "URL", "Where the service listens, as https://host:port; absent: AWS. http:// is for this host alone.",
       [](T& t, const Value& v) { return assign(t.endpoint, v.line()); }},
      {"region", "text", "The region to sign for. Default: us-east-1.", [](T& t, const Value& v) { return assign(t.region, v.line()); }},
      {"path_style", "true or false", "Bucket names in the path instead of the host name.",
       [](T& t, const Value& v) { return assign(t.path_style, v.boolean()); }},
      {"ca_file", "path", "Certificates to trust, in PEM, and no others. Absent: the system's.",
       [](T& t, const Value& v) { return assign(t.ca_file, v.absolute_path()); }},
      {"tls_min", "\"1.2\" or \"1.3\"", "The oldest TLS to speak. Default: \"1.3\"; doctor warns of \"1.2\".",
       [](T& t, const Value& v) { return one_of(t.tls_min, v, {"1.2", "1.3"}); }},
      {"proxy", "URL", "A proxy to go through. Absent: what https_proxy and no_proxy in the environment say.",
       [](T& t, const Value& v) { return assign(t.proxy, v.line()); }},
      {"stall_time_max", "duration", "How long a request may pass without one byte before it is given up and tried again. Default: 30s.",
       [](T& t, const Value& v) -> Status {
         t.stall_time_max = TRY(v.duration(std::chrono::seconds(1), std::chrono::hours(1)));
         return ok();
       }},
      {"access_key_id", "text", "Absent: the usual chain: environment, profile, web identity, container, instance metadata.",
       [](T& t, const Value& v) { return assign(t.access_key_id, v.line()); }},
      {"secret_access_key", "text", "Belongs to access_key_id. The file must then be readable by its owner alone.",
       [](T& t, const Value& v) { return assign(t.secret_access_key, v.line()); }},
      {"session_token", "text", "Belongs to temporary credentials.",
       [](T& t, const Value& v) { return assign(t.session_token, v.line()); }},
      {"profile", "text", "A profile of ~/.aws/credentials and ~/.aws/config; nothing else is looked at then.",
       [](T& t, const Value& v) { return assign(t.profile, v.line()); }},
      {"role_arn", "text", "A role to take on (STS AssumeRole) with the credentials that were found; renewed before it ends.",
       [](T& t, const Value& v) { return assign(t.role_arn, v.line()); }},
      {"external_id", "text", "What the role's owner asks for besides.", [](T& t, const Value& v) { return assign(t.external_id, v.line()); }},
      {"sts_endpoint", "URL", "Where STS listens, for a service of one's own. Absent: AWS.",
       [](T& t, const Value& v) { return assign(t.sts_endpoint, v.line()); }},
      {"storage_class", "text", "Of all objects, such as STANDARD_IA. Absent: the bucket's. A class that must be asked before it gives (GLACIER) holds no repository.",
       [](T& t, const Value& v) { return assign(t.storage_class, v.line()); }},
      {"server_side_encryption", "text", "\"AES256\" or \"aws:kms\": what the store does beside pgmint's own encryption. Absent, or \"none\": as the bucket says.",
       [](T& t, const Value& v) -> Status {
         TRY(one_of(t.server_side_encryption, v, {"AES256", "aws:kms", "none"}));
         if (t.server_side_encryption == "none") t.server_side_encryption = "";
         return ok();
       }},
      {"object_lock", "\"governance\" or \"compliance\"", "Objects are locked when they are created, and pgmint lock extends the locks of what is needed: until then nobody removes them, in the mode governance but for who may "
       "bypass it. The bucket must have been made with object lock. Absent, or \"none\": none.",
       [](T& t, const Value& v) -> Status {
         TRY(one_of(t.object_lock, v, {"governance", "compliance", "none"}));
         if (t.object_lock == "none") t.object_lock.reset();
         return ok();
       }},
      {"object_lock_days", "number", "How many days a new object is locked for, before pgmint lock has looked at it: 35 (the default) to 3650. pgmint lock must run more often than that.",
       [](T& t, const Value& v) { return assign(t.object_lock_days, v.number(kObjectLockDays, 3650)); }},
      {"kms_key_id", "text", "The key for aws:kms. Absent: the service's own.",
       [](T& t, const Value& v) { return assign(t.kms_key_id, v.line()); }},
  };
  return keys;
}

Status read_s3(S3Settings& target, const Value& value, std::string table) {
  return read_table(*TRY(value.table()), target, s3_keys(), {value.place.source, std::move(table)});
}

}  // namespace pgmint::cli

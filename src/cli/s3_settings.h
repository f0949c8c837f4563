// What [s3] says: where the service of an s3:// repository is, who we are to it, and how objects are kept there.
#pragma once

#include <chrono>
#include <optional>
#include <string>

namespace pgmint::cli {

/// How long a new object is locked, unless it is said: a month, and some days for a batch that comes late.
inline constexpr unsigned kObjectLockDays = 35;

struct S3Settings {
  std::optional<std::string> endpoint, region, ca_file, proxy;
  std::optional<bool> path_style;
  std::optional<std::string> tls_min;  ///< "1.2" or "1.3"
  std::optional<std::chrono::seconds> stall_time_max;
  std::optional<std::string> access_key_id, secret_access_key, session_token;
  std::optional<std::string> profile, role_arn, external_id, sts_endpoint;
  std::optional<std::string> storage_class, server_side_encryption, kms_key_id;
  std::optional<std::string> object_lock;  ///< "governance" or "compliance"
  std::optional<unsigned> object_lock_days;

  bool operator==(const S3Settings&) const = default;
  bool empty() const { return *this == S3Settings{}; }
};

}  // namespace pgmint::cli

// Who we are to AWS, and where that comes from: configuration, environment, shared files, a role.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/clock.h"
#include "base/error.h"

namespace pgmint::http {

struct AwsCredentials {
  std::string access_key_id;
  std::string secret_access_key;
  std::string session_token;         ///< empty: long-lived
  std::optional<TimePoint> expires;  ///< absent: never
  std::string source;                ///< for people: "the configuration", "profile backup"; no secret
};

/// Thread-safe.
class AwsCredentialSource {
 public:
  virtual ~AwsCredentialSource() = default;
  /// Credentials that are valid now, renewed before they expire.
  /// @errors Configuration (none found, or what was found cannot be read), Key (refused), Storage (a service that gives them is not reached)
  virtual Result<AwsCredentials> get() = 0;
  /// The store said that these have expired or are unknown: the next get() asks anew where that can help.
  virtual void forget(const AwsCredentials& refused) = 0;
};

/// Those given, always.
std::unique_ptr<AwsCredentialSource> fixed_credentials(AwsCredentials credentials);

}  // namespace pgmint::http

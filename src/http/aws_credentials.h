// Who we are to AWS: the contract of a source of credentials. Where they come from: aws_credential_chain.h.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/clock.h"
#include "base/error.h"

namespace pgmint::http {

class Client;

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

/// Those of `ask`, which is called by one thread at a time however many want them: at the first get(), after forget(), and from five minutes
/// before they expire. While it fails then, the old ones are used as long as they are valid, with a warning at most once a minute.
std::unique_ptr<AwsCredentialSource> renewed_credentials(std::function<Result<AwsCredentials>()> ask, Clock& clock);

/// What came from outside, before it is signed with or sent in a header. @errors Configuration: empty, or with characters that no key has
Result<AwsCredentials> checked_credentials(AwsCredentials credentials);

/// nullopt: not set. A variable that is empty counts as not set.
using AwsEnvironment = std::function<std::optional<std::string>(const std::string& name)>;

/// What sources work with; outlives them.
struct AwsSurroundings {
  AwsEnvironment environment;
  Client& services;  ///< to STS
  Client& machine;   ///< to services of this machine: without a proxy
  Clock& clock;
};

/// One place where credentials may be.
class AwsCredentialPlace {
 public:
  virtual ~AwsCredentialPlace() = default;
  struct Look {
    std::optional<AwsCredentials> found;
    std::string absent;  ///< why there are none: "AWS_ACCESS_KEY_ID is not set"
  };
  /// Nothing configured there is no failure; something that is wrong, or a service that refuses, is one.
  /// @errors Configuration, Key, Storage
  virtual Result<Look> look() = 0;
  /// "the environment"
  virtual std::string name() const = 0;
};

}  // namespace pgmint::http

// AWS KMS: data keys that one of its keys wraps. Source: "GenerateDataKey" and "Decrypt" in the AWS KMS API reference.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "crypto/secret.h"
#include "http/aws_credentials.h"

namespace pgmint::http {

/// Not secret; it is part of what is authenticated, and stands in AWS's audit log.
using KmsContext = std::map<std::string, std::string>;

/// Thread-safe. Borrows all that it is made of. A request that met an outage is repeated a few times.
class AwsKms {
 public:
  /// @param endpoint  empty: AWS's own of `region`, which must then be set
  AwsKms(Client& client, AwsCredentialSource& credentials, Clock& clock, std::string endpoint, std::string region);

  struct DataKey {
    crypto::Key256 key;
    Bytes wrapped;
    std::string key_id;  ///< of the wrapping key: its ARN
  };
  /// @param key_id  an id, an ARN, or an alias ("alias/pgmint")
  /// @errors Key (refused, disabled, gone), Storage (not reached, or not able just now), Configuration (no credentials)
  Result<DataKey> generate_data_key(const std::string& key_id, const KmsContext& context) const;
  /// nullopt: another key wrapped it. @errors as above, and Key for another context or damage
  Result<std::optional<crypto::Key256>> decrypt(const std::string& key_id, ByteView wrapped, const KmsContext& context) const;

 private:
  Client& client_;
  AwsCredentialSource& credentials_;
  Clock& clock_;
  const std::string endpoint_, region_;

  friend class KmsRequest;
};

/// "eu-central-1" of "arn:aws:kms:eu-central-1:111122223333:key/..."; empty when it is no ARN.
std::string region_of_arn(std::string_view arn);

}  // namespace pgmint::http

// Objects in an S3 bucket: one request for each operation, PUT with If-None-Match: * as the operation that decides.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "http/aws_credentials.h"
#include "http/client.h"
#include "storage/blob_store.h"
#include "storage/object_versions.h"

namespace pgmint::storage {

/// How long each new object is locked for.
struct S3LockRule {
  LockMode mode = LockMode::Governance;
  std::chrono::days period{};
};

struct S3Options {
  std::string url;       ///< s3://bucket/prefix
  std::string endpoint;  ///< empty: AWS
  std::string region = "us-east-1";
  bool path_style = false;
  std::string storage_class;  ///< empty: the bucket's, as a rule STANDARD
  std::string encryption;     ///< "AES256" or "aws:kms", by the store itself, beside ours; empty: as the bucket says
  std::string kms_key_id;     ///< for aws:kms; empty: the service's own
  std::optional<S3LockRule> lock;                 ///< nullopt: none
  std::vector<std::string> never_locked;          ///< names that begin so bear no lock: what is removed again soon
  /// The service has no create-if-absent: create() looks first and then writes, which is right as long as nobody else writes there.
  bool one_writer = false;
  /// Names that several may create at once: where the bucket keeps versions, the oldest version of such a name is what was created. A service that does not
  /// decide there (RGW 16) tells each of them that it did. Costs up to two requests more in such a bucket, none elsewhere. Null: the service decides.
  bool (*decided_by_versions)(const std::string& name) = nullptr;
  /// The bucket is known to keep versions: such a name is looked for before it is written, also before any answer has told of versions.
  bool keeps_versions = false;
  unsigned page_size = 1000;  ///< names asked for at once; services give no more than 1000
};

/// The headers of a new object that say how it is kept.
std::vector<http::Header> s3_keeping(const S3Options& options);

/// Something about a bucket that whoever keeps backups there should know.
struct S3Finding {
  enum class Grade { Fine, Warning, Bad };
  Grade grade = Grade::Fine;
  std::string subject;  ///< "bucket versioning"
  std::string detail;
  std::string hint;
};

class S3Store : public BlobStore {
 public:
  /// Versioning, object lock, lifecycle rules, the clock. What the credentials may not ask is a warning of its own.
  /// @errors as read()
  virtual Result<std::vector<S3Finding>> examine() = 0;
  /// What stands behind the names. Lives as long as the store.
  virtual ObjectVersions& versions() = 0;
  /// The bucket keeps versions: what is removed by name is only hidden. Asked of the store at most once. @errors as read()
  virtual Result<bool> is_versioned() = 0;
  /// The bucket was made with object lock. @errors as read(); Precondition, Key: the store does not say
  virtual Result<bool> takes_locks() = 0;
  /// As create(), locked until then whatever the options say.
  virtual Result<Created> create_locked(const std::string& name, ByteView data, const ObjectLock& lock) = 0;
};

/// Retries nothing that may have been carried out; a request that was refused for expired credentials or for the time is signed anew, once.
/// Every write is signed over the SHA-256 of its bytes, which the store checks. A bucket that is not there is an error, never an absent object.
/// Borrows the clock. Thread-safe; as many requests at once as threads ask. @errors Configuration
Result<std::unique_ptr<S3Store>> open_s3_store(const S3Options& options, std::unique_ptr<http::Client> client,
                                               std::unique_ptr<http::AwsCredentialSource> credentials, Clock& clock);

}  // namespace pgmint::storage

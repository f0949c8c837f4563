// ObjectVersions of an S3 bucket: ListObjectVersions, DELETE and GET with a versionId, PutObjectRetention.
#pragma once

#include <atomic>

#include "storage/object_versions.h"
#include "storage/s3_address.h"
#include "storage/s3_session.h"

namespace pgmint::storage {

/// One page of ListObjectVersions; whole keys.
struct S3VersionsPage {
  std::vector<ObjectVersion> versions;
  std::string next_key, next_id;  ///< both empty: the last page
};
/// @errors Storage (no such document)
Result<S3VersionsPage> parse_s3_versions(ByteView xml);

/// Of ?retention. nullopt: there is none, or it is no such document.
std::optional<ObjectLock> parse_s3_retention(ByteView xml);
/// A lock was asked for in a bucket that was made without.
Error no_object_lock(const std::string& what);
/// "2027-01-01T00:00:00Z", as the headers and documents of locks have it.
std::string s3_lock_time(TimePoint time);

/// Borrows both.
class S3Versions final : public ObjectVersions {
 public:
  S3Versions(S3Session& session, const S3Address& address, unsigned page_size) : session_(session), address_(address), page_size_(page_size) {}

  Status list(const std::string& prefix, const std::string& from, const std::function<Status(const ObjectVersion&)>& visit) override;
  Result<std::optional<Bytes>> read_front(const std::string& name, const std::string& id, std::size_t length) override;
  Status bring_back(const std::string& name, const std::string& id) override;
  Result<std::vector<Refused>> remove(std::span<const ObjectVersion> versions) override;
  Result<bool> remove_bypassing(const ObjectVersion& version) override;
  Result<std::optional<ObjectLock>> lock_of(const std::string& name, const std::string& id) override;
  Status lock(const std::string& name, const std::string& id, const ObjectLock& lock) override;

 private:
  std::string url_of(const std::string& name, const std::string& topic, const std::string& id) const;
  Result<S3VersionsPage> page(const std::string& prefix, std::string_view more);
  Result<std::vector<Refused>> remove_some(std::span<const ObjectVersion> versions);
  Result<std::vector<Refused>> remove_singly(std::span<const ObjectVersion> versions);
  /// nullopt: it is gone.
  Result<std::optional<Refused>> remove_one(const ObjectVersion& version);
  /// What a refusal was about: S3 says AccessDenied of both.
  Result<Refused> refused(const ObjectVersion& version);

  S3Session& session_;
  const S3Address& address_;
  const unsigned page_size_;
  std::atomic<bool> many_at_once_{true};  ///< until that is refused
};

}  // namespace pgmint::storage

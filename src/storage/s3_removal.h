// Objects of a bucket are removed: by their names, and where the bucket keeps versions all of them that stand behind a name.
#pragma once

#include <atomic>
#include <mutex>
#include <optional>

#include "storage/s3_versions.h"

namespace pgmint::storage {

/// In a bucket with versioning DELETE by name frees nothing: it hides the object behind a marker. So versions are listed and removed for good, unless the
/// credentials may not (docs/manual/object-storage.md): then names are hidden. Thread-safe. Borrows all.
class S3Removal {
 public:
  S3Removal(S3Session& session, const S3Address& address, ObjectVersions& versions) : session_(session), address_(address), versions_(versions) {}

  /// Returns the names that stay since the store has locked them. @errors Storage, Unknown, Key
  Result<std::vector<std::string>> remove(std::span<const std::string> names);
  /// Puts markers before them; nothing is freed. @errors as above
  Status hide(std::span<const std::string> names);
  /// @errors Storage, Key
  Result<bool> is_versioned();

 private:
  Status hide_some(std::span<const std::string> names);
  Status hide_singly(std::span<const std::string> names);
  Status hide_one(const std::string& name);
  Result<std::vector<ObjectVersion>> versions_of(std::span<const std::string> names);
  /// Whether names are removed with what stands behind them.
  Result<bool> removes_versions();

  S3Session& session_;
  const S3Address& address_;
  ObjectVersions& versions_;
  std::atomic<bool> many_at_once_{true};   ///< names go in one request until that is refused
  std::atomic<bool> may_remove_versions_{true};
  std::mutex mutex_;
  std::optional<bool> versioned_;
};

}  // namespace pgmint::storage

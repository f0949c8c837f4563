// What this host knows of the locks of objects, so that the store need not be asked for each of them once more each month.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <unordered_map>

#include "base/bytes.h"
#include "storage/object_versions.h"

namespace pgmint::repository {

/// By version of an object. A lock is only ever extended, so that what is known is a lower bound, unless somebody who may bypass it has taken it off. Not thread-safe.
class LockMemory {
 public:
  /// Nothing is known when the file is absent, or is none of ours.
  static LockMemory load(const std::filesystem::path& file);
  /// Only what was noted since it was loaded, and when `all` also what was known before. @errors Io
  Status save(const std::filesystem::path& file, bool all) const;

  std::optional<storage::ObjectLock> find(const storage::ObjectVersion& version) const;
  void note(const storage::ObjectVersion& version, const storage::ObjectLock& lock);
  std::size_t size() const { return known_.size(); }

 private:
  using Key = ByteArray<16>;
  struct Hash {
    std::size_t operator()(const Key& key) const;
  };
  using Locks = std::unordered_map<Key, storage::ObjectLock, Hash>;
  static Key key_of(const storage::ObjectVersion& version);
  Locks known_, noted_;
};

}  // namespace pgmint::repository

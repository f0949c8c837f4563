// What a bucket with versioning keeps behind the names of objects: their versions, markers that hide them, and locks.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/clock.h"
#include "storage/blob_store.h"

namespace pgmint::storage {

/// One version of an object, or a marker that says that it was deleted.
struct ObjectVersion {
  std::string name;
  std::string id;
  bool marker = false;
  bool latest = false;      ///< what is read under the name
  std::uint64_t size = 0;   ///< 0 of a marker
  TimePoint modified{};     ///< by the store's clock
  std::string etag{};
};

enum class LockMode {
  Governance,  ///< who has s3:BypassGovernanceRetention may take it off
  Compliance   ///< nobody may, until it has passed
};
/// "GOVERNANCE", "COMPLIANCE"
std::string_view lock_mode_name(LockMode mode);

/// Until then no request removes the version.
struct ObjectLock {
  LockMode mode = LockMode::Governance;
  TimePoint until{};
  bool operator==(const ObjectLock&) const = default;
};

/// Thread-safe. Errors as those of BlobStore; Key: these credentials may not, Precondition: the store has no versions.
class ObjectVersions {
 public:
  virtual ~ObjectVersions() = default;

  /// All versions and markers below `prefix`, in byte order of names and the newest of each name first; starts at the name `from` ("" for the first).
  /// What is no name of ours is passed over. The first failure of `visit` ends it.
  virtual Status list(const std::string& prefix, const std::string& from, const std::function<Status(const ObjectVersion&)>& visit) = 0;

  /// The beginning of one version, at most `length` bytes. nullopt: it is not there.
  virtual Result<std::optional<Bytes>> read_front(const std::string& name, const std::string& id, std::size_t length) = 0;

  /// Puts a copy of that version before all others: it is what is read under the name from then on.
  virtual Status bring_back(const std::string& name, const std::string& id) = 0;

  struct Refused {
    ObjectVersion version;
    bool locked = false;  ///< else the credentials may not
  };
  /// For good. Absence is success. Returns what was refused.
  virtual Result<std::vector<Refused>> remove(std::span<const ObjectVersion> versions) = 0;

  /// One, and a lock of the mode governance does not stand in the way of who may bypass it. False: refused.
  virtual Result<bool> remove_bypassing(const ObjectVersion& version) = 0;

  /// nullopt: none. @param id  empty: of what is read under the name
  virtual Result<std::optional<ObjectLock>> lock_of(const std::string& name, const std::string& id) = 0;
  /// Sets or extends it. @errors Key: it would be shorter, or these credentials may not; Precondition: the bucket has no object lock; NotFound: it is gone
  virtual Status lock(const std::string& name, const std::string& id, const ObjectLock& lock) = 0;
};

}  // namespace pgmint::storage

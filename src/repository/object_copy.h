// Copies of objects from one store into another, many at a time: create-if-absent, and what stands there already has to be the same.
#pragma once

#include <atomic>
#include <mutex>

#include "repository/replicate.h"

namespace pgmint::repository {

/// What one run has copied, and how it tells so. Thread-safe.
class ObjectCopy {
 public:
  ObjectCopy(storage::BlobStore& source, storage::BlobStore& mirror, const ReplicateOptions& options) : source_(source), mirror_(mirror), options_(options) {}

  enum class Outcome { Copied, WasThere, Vanished, Differs };
  /// `info` as the source listed it. @errors Storage, Unknown, Key, Cancelled
  Result<Outcome> copy(const storage::BlobInfo& info);

  struct Done {
    std::vector<std::string> copied, differing;
    ObjectCount count;
    std::uint64_t vanished = 0;
  };
  /// All of them, `workers` at a time, in no particular order unless that is one. @errors as copy()
  Result<Done> copy_all(const std::vector<storage::BlobInfo>& objects, unsigned workers);

  void expect(std::uint64_t bytes) { total_ += bytes; }
  void tell(std::string_view phase, std::string detail);
  /// @errors Cancelled
  Status check() const { return options_.cancel == nullptr ? ok() : options_.cancel->check(); }

 private:
  Status pay(std::uint64_t bytes);
  Result<storage::Created> create(const storage::BlobInfo& info, bool& vanished);
  Result<bool> is_same(const storage::BlobInfo& info);

  storage::BlobStore& source_;
  storage::BlobStore& mirror_;
  const ReplicateOptions& options_;
  std::mutex telling_;
  std::atomic<std::uint64_t> done_{0}, total_{0};
};

/// Whether both stores hold the same bytes under that name, `size` of them. Reads both. @errors Storage, NotFound (one has it no more)
Result<bool> same_bytes(storage::BlobStore& a, storage::BlobStore& b, const std::string& name, std::uint64_t size);

}  // namespace pgmint::repository

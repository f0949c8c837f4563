// The store in memory: for tests and simulation, and the plainest reading of the contract.
#pragma once

#include <map>
#include <memory>
#include <shared_mutex>
#include <string>

#include "storage/blob_store.h"

namespace pgmint::storage {

/// The objects of a store at one moment. Shares the bytes, so a copy costs one pointer an object.
using BlobSnapshot = std::map<std::string, std::shared_ptr<const Bytes>>;

/// Refuses names of which one is a directory of another ("a" beside "a/b"), as a file system must, so that tests in
/// memory find what would fail on disk.
class MemoryStore final : public BlobStore {
 public:
  MemoryStore() = default;
  explicit MemoryStore(BlobSnapshot objects) : objects_(std::move(objects)) {}

  Result<Created> create(const std::string& name, ByteView data) override;
  Result<std::optional<Bytes>> read(const std::string& name, std::uint64_t limit) override;
  Status read_range(const std::string& name, std::uint64_t offset, MutableByteView out) override;
  Result<std::optional<BlobInfo>> stat(const std::string& name) override;
  Status list(const std::string& prefix, const std::string& after,
              const std::function<Status(const BlobInfo&)>& visit) override;
  Result<std::vector<std::string>> list_parts(const std::string& prefix) override;
  Status remove(const std::string& name) override;
  std::string describe() const override { return "memory"; }

  BlobSnapshot snapshot() const;
  /// Becomes that snapshot.
  void restore(BlobSnapshot objects);
  /// Puts or overwrites behind the contract's back: how tests damage an object.
  void replace(const std::string& name, Bytes data);

 private:
  std::shared_ptr<const Bytes> find(const std::string& name) const;
  mutable std::shared_mutex mutex_;
  BlobSnapshot objects_;
};

std::unique_ptr<MemoryStore> make_memory_store();

}  // namespace pgmint::storage

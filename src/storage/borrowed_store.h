// For tests: a store that belongs to somebody else, where a decorator wants one of its own.
#pragma once

#include "storage/blob_store.h"

namespace pgmint::storage {

class BorrowedStore final : public BlobStore {
 public:
  explicit BorrowedStore(BlobStore& to) : to_(to) {}
  Result<Created> create(const std::string& name, ByteView data) override { return to_.create(name, data); }
  Result<std::optional<Bytes>> read(const std::string& name, std::uint64_t limit) override { return to_.read(name, limit); }
  Status read_range(const std::string& name, std::uint64_t offset, MutableByteView out) override { return to_.read_range(name, offset, out); }
  Result<std::optional<BlobInfo>> stat(const std::string& name) override { return to_.stat(name); }
  Status list(const std::string& prefix, const std::string& after, const std::function<Status(const BlobInfo&)>& visit) override {
    return to_.list(prefix, after, visit);
  }
  Result<std::vector<std::string>> list_parts(const std::string& prefix) override { return to_.list_parts(prefix); }
  Status remove(const std::string& name) override { return to_.remove(name); }
  std::string describe() const override { return to_.describe(); }

 private:
  BlobStore& to_;
};

}  // namespace pgmint::storage

// What the decorators share: every operation goes to the inner store unless overridden.
#pragma once

#include <memory>
#include <utility>

#include "storage/blob_store.h"

namespace pgmint::storage {

/// Owns the inner store.
class ForwardingStore : public BlobStore {
 public:
  explicit ForwardingStore(std::unique_ptr<BlobStore> inner) : inner_(std::move(inner)) {}

  Result<Created> create(const std::string& name, ByteView data) override { return inner_->create(name, data); }
  Result<std::optional<Bytes>> read(const std::string& name, std::uint64_t limit) override {
    return inner_->read(name, limit);
  }
  Status read_range(const std::string& name, std::uint64_t offset, MutableByteView out) override {
    return inner_->read_range(name, offset, out);
  }
  Result<std::optional<BlobInfo>> stat(const std::string& name) override { return inner_->stat(name); }
  Status list(const std::string& prefix, const std::string& after,
              const std::function<Status(const BlobInfo&)>& visit) override {
    return inner_->list(prefix, after, visit);
  }
  Result<std::vector<std::string>> list_parts(const std::string& prefix) override { return inner_->list_parts(prefix); }
  std::string take_created_etag(const std::string& name) override { return inner_->take_created_etag(name); }
  Status remove(const std::string& name) override { return inner_->remove(name); }
  std::optional<TimePoint> store_time() override { return inner_->store_time(); }
  std::string describe() const override { return inner_->describe(); }

 protected:
  BlobStore& inner() { return *inner_; }

 private:
  std::unique_ptr<BlobStore> inner_;
};

}  // namespace pgmint::storage

#include "storage/cancel_store.h"

#include "storage/forwarding_store.h"

namespace pgmint::storage {
namespace {

class CancelStore final : public ForwardingStore {
 public:
  CancelStore(std::unique_ptr<BlobStore> inner, const CancelToken& cancel)
      : ForwardingStore(std::move(inner)), cancel_(cancel) {}

  Result<Created> create(const std::string& name, ByteView data) override {
    TRY(cancel_.check());
    return inner().create(name, data);
  }
  Result<Created> create_from(const std::string& name, const BlobStream& stream) override {
    TRY(cancel_.check());
    return inner().create_from(name, stream);
  }
  Result<std::optional<Bytes>> read(const std::string& name, std::uint64_t limit) override {
    TRY(cancel_.check());
    return inner().read(name, limit);
  }
  Status read_range(const std::string& name, std::uint64_t offset, MutableByteView out) override {
    TRY(cancel_.check());
    return inner().read_range(name, offset, out);
  }
  Result<std::optional<BlobInfo>> stat(const std::string& name) override {
    TRY(cancel_.check());
    return inner().stat(name);
  }
  Result<std::optional<BlobFront>> read_front(const std::string& name, std::size_t length) override {
    TRY(cancel_.check());
    return inner().read_front(name, length);
  }
  Status list(const std::string& prefix, const std::string& after,
              const std::function<Status(const BlobInfo&)>& visit) override {
    TRY(cancel_.check());
    return inner().list(prefix, after, [&](const BlobInfo& blob) -> Status {
      TRY(cancel_.check());
      return visit(blob);
    });
  }
  Result<std::vector<std::string>> list_parts(const std::string& prefix) override {
    TRY(cancel_.check());
    return inner().list_parts(prefix);
  }
  Status remove(const std::string& name) override {
    TRY(cancel_.check());
    return inner().remove(name);
  }

 private:
  const CancelToken& cancel_;
};

}  // namespace

std::unique_ptr<BlobStore> make_cancel_store(std::unique_ptr<BlobStore> inner, const CancelToken& cancel) {
  return std::make_unique<CancelStore>(std::move(inner), cancel);
}

}  // namespace pgmint::storage

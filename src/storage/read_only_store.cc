#include "storage/read_only_store.h"

#include <utility>

namespace pgmint::storage {
namespace {

class ReadOnlyStore final : public BlobStore {
 public:
  ReadOnlyStore(BlobStore& inner, std::function<Error()> refusal) : inner_(inner), refusal_(std::move(refusal)) {}

  Result<Created> create(const std::string&, ByteView) override { return refusal_(); }
  Result<Created> create_from(const std::string&, const BlobStream&) override { return refusal_(); }
  Result<std::optional<Bytes>> read(const std::string& name, std::uint64_t limit) override { return inner_.read(name, limit); }
  Status read_range(const std::string& name, std::uint64_t offset, MutableByteView out) override { return inner_.read_range(name, offset, out); }
  Result<std::optional<BlobFront>> read_front(const std::string& name, std::size_t length) override { return inner_.read_front(name, length); }
  Result<std::optional<BlobInfo>> stat(const std::string& name) override { return inner_.stat(name); }
  Status list(const std::string& prefix, const std::string& after, const std::function<Status(const BlobInfo&)>& visit) override {
    return inner_.list(prefix, after, visit);
  }
  Result<std::vector<std::string>> list_parts(const std::string& prefix) override { return inner_.list_parts(prefix); }
  Status remove(const std::string&) override { return refusal_(); }
  Status remove_all(std::span<const std::string>) override { return refusal_(); }
  Result<std::vector<std::string>> remove_unlocked(std::span<const std::string>) override { return refusal_(); }
  std::optional<TimePoint> store_time() override { return inner_.store_time(); }
  std::string describe() const override { return inner_.describe(); }

 private:
  BlobStore& inner_;
  const std::function<Error()> refusal_;
};

}  // namespace

std::unique_ptr<BlobStore> make_read_only_store(BlobStore& inner, std::function<Error()> refusal) {
  return std::make_unique<ReadOnlyStore>(inner, std::move(refusal));
}

}  // namespace pgmint::storage

#include "storage/meter_store.h"

#include <algorithm>

#include "storage/forwarding_store.h"

namespace pgmint::storage {

std::string_view operation_name(Operation operation) {
  switch (operation) {
    case Operation::Create: return "create";
    case Operation::Read: return "read";
    case Operation::ReadRange: return "read_range";
    case Operation::Stat: return "stat";
    case Operation::List: return "list";
    case Operation::ListParts: return "list_parts";
    case Operation::Remove: return "remove";
  }
  return "unknown";
}

namespace {

class MeterStore final : public ForwardingStore {
 public:
  MeterStore(std::unique_ptr<BlobStore> inner, StoreMeter& meter, Clock& clock)
      : ForwardingStore(std::move(inner)), meter_(meter), clock_(clock) {}

  Result<Created> create(const std::string& name, ByteView data) override {
    return metered(Operation::Create, [&] { return inner().create(name, data); },
                   [&](Created created) { return created == Created::Yes ? data.size() : 0; });
  }
  Result<std::optional<Bytes>> read(const std::string& name, std::uint64_t limit) override {
    return metered(Operation::Read, [&] { return inner().read(name, limit); },
                   [](const std::optional<Bytes>& data) { return data ? data->size() : 0; });
  }
  Status read_range(const std::string& name, std::uint64_t offset, MutableByteView out) override {
    auto start = clock_.now();
    auto status = inner().read_range(name, offset, out);
    count(Operation::ReadRange, status.has_value(), out.size(), clock_.now() - start);
    return status;
  }
  Result<std::optional<BlobInfo>> stat(const std::string& name) override {
    return metered(Operation::Stat, [&] { return inner().stat(name); }, [](const auto&) { return 0u; });
  }
  Status list(const std::string& prefix, const std::string& after,
              const std::function<Status(const BlobInfo&)>& visit) override {
    auto start = clock_.now();
    std::chrono::microseconds visiting{};
    bool visitor_failed = false;
    auto status = inner().list(prefix, after, [&](const BlobInfo& info) {
      auto visit_start = clock_.now();
      auto visited = visit(info);
      visiting += clock_.now() - visit_start;
      visitor_failed = !visited;
      return visited;
    });
    count(Operation::List, status || visitor_failed, 0, clock_.now() - start - visiting);
    return status;
  }
  Result<std::vector<std::string>> list_parts(const std::string& prefix) override {
    return metered(Operation::ListParts, [&] { return inner().list_parts(prefix); }, [](const auto&) { return 0u; });
  }
  Status remove(const std::string& name) override {
    auto start = clock_.now();
    auto status = inner().remove(name);
    count(Operation::Remove, status.has_value(), 0, clock_.now() - start);
    return status;
  }

 private:
  template <class F, class B>
  auto metered(Operation kind, F operation, B bytes) -> decltype(operation()) {
    auto start = clock_.now();
    auto result = operation();
    count(kind, result.has_value(), result ? bytes(*result) : 0, clock_.now() - start);
    return result;
  }
  void count(Operation kind, bool success, std::uint64_t bytes, std::chrono::microseconds time) {
    auto& meter = meter_.of(kind);
    meter.calls.fetch_add(1, std::memory_order_relaxed);
    if (success) meter.bytes.fetch_add(bytes, std::memory_order_relaxed);
    else meter.failures.fetch_add(1, std::memory_order_relaxed);
    // The system's clock may be set back.
    meter.time_us.fetch_add(static_cast<std::uint64_t>(std::max<std::int64_t>(time.count(), 0)), std::memory_order_relaxed);
  }

  StoreMeter& meter_;
  Clock& clock_;
};

}  // namespace

std::unique_ptr<BlobStore> make_meter_store(std::unique_ptr<BlobStore> inner, StoreMeter& meter, Clock& clock) {
  return std::make_unique<MeterStore>(std::move(inner), meter, clock);
}

}  // namespace pgmint::storage

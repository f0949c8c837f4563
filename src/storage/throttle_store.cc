#include "storage/throttle_store.h"

#include <algorithm>

#include "storage/forwarding_store.h"
#include "storage/interruptible_sleep.h"

namespace pgmint::storage {

RateLimiter::RateLimiter(ByteCount bytes_per_second, Clock& clock, const CancelToken* cancel)
    : bytes_per_second_(bytes_per_second.value()), clock_(clock), cancel_(cancel) {
  PGMINT_ASSERT(bytes_per_second_ > 0);
}

Status RateLimiter::take(std::uint64_t bytes) {
  // Whole seconds apart from the rest, so that nothing overflows.
  const auto cost = std::chrono::seconds(bytes / bytes_per_second_) +
                    std::chrono::microseconds(static_cast<std::int64_t>(
                        static_cast<double>(bytes % bytes_per_second_) * 1e6 / static_cast<double>(bytes_per_second_)));
  std::chrono::microseconds wait{};
  {
    std::lock_guard lock(mutex_);
    const auto now = clock_.now();
    const auto start = std::max(now, free_at_);
    wait = start - now;
    free_at_ = start + cost;
  }
  return interruptible_sleep(clock_, wait, cancel_);
}

namespace {

class ThrottleStore final : public ForwardingStore {
 public:
  ThrottleStore(std::unique_ptr<BlobStore> inner, RateLimiter& limiter)
      : ForwardingStore(std::move(inner)), limiter_(limiter) {}

  Result<Created> create(const std::string& name, ByteView data) override {
    TRY(limiter_.take(data.size()));
    return inner().create(name, data);
  }
  Result<std::optional<Bytes>> read(const std::string& name, std::uint64_t limit) override {
    auto data = inner().read(name, limit);
    // Its size is known only now; the next one waits for it.
    if (data && *data) TRY(limiter_.take((*data)->size()));
    return data;
  }
  Status read_range(const std::string& name, std::uint64_t offset, MutableByteView out) override {
    TRY(limiter_.take(out.size()));
    return inner().read_range(name, offset, out);
  }
  Result<std::optional<BlobFront>> read_front(const std::string& name, std::size_t length) override {
    TRY(limiter_.take(length));
    return inner().read_front(name, length);
  }

 private:
  RateLimiter& limiter_;
};

}  // namespace

std::unique_ptr<BlobStore> make_throttle_store(std::unique_ptr<BlobStore> inner, RateLimiter& limiter) {
  return std::make_unique<ThrottleStore>(std::move(inner), limiter);
}

}  // namespace pgmint::storage

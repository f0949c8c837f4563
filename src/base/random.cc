#include "base/random.h"

#include <pthread.h>
#include <sys/random.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace pgmint {
namespace {

void fill_from_kernel(MutableByteView out) {
  while (!out.empty()) {
    ssize_t n = ::getrandom(out.data(), out.size(), 0);
    if (n < 0) {
      PGMINT_ASSERT(errno == EINTR);
      continue;
    }
    out = out.subspan(static_cast<std::size_t>(n));
  }
}

class SystemRandom final : public RandomSource {
 public:
  void fill(MutableByteView out) override {
    // A forked child must not replay its parent's batch: the batch belongs to one process id.
    thread_local ByteArray<4096> batch;
    thread_local std::size_t used = batch.size();
    thread_local pid_t owner = 0;
    if (out.size() > batch.size() / 4) return fill_from_kernel(out);
    if (used + out.size() > batch.size() || owner != ::getpid()) {
      fill_from_kernel(batch);
      used = 0;
      owner = ::getpid();
    }
    std::memcpy(out.data(), batch.data() + used, out.size());
    std::memset(batch.data() + used, 0, out.size());
    used += out.size();
  }
};

}  // namespace

std::uint64_t RandomSource::u64() {
  ByteArray<8> raw;
  fill(raw);
  std::uint64_t value;
  std::memcpy(&value, raw.data(), 8);
  return value;
}

RandomSource& system_random() {
  static SystemRandom random;
  return random;
}

std::uint64_t SeededRandom::next() {
  std::uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

void SeededRandom::fill(MutableByteView out) {
  for (auto& b : out) b = static_cast<std::byte>(next());
}

}  // namespace pgmint

#include "base/scratch.h"

#include <sys/mman.h>

#include <cstdlib>
#include <new>
#include <utility>

namespace pgmint {
namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;

constexpr std::size_t rounded_up(std::size_t size, std::size_t unit) {
  return (size + unit - 1) / unit * unit;
}

}  // namespace

Scratch::Scratch(Scratch&& other) noexcept
    : bytes_(std::exchange(other.bytes_, nullptr)), capacity_(std::exchange(other.capacity_, 0)) {}

Scratch& Scratch::operator=(Scratch&& other) noexcept {
  std::swap(bytes_, other.bytes_);
  std::swap(capacity_, other.capacity_);
  return *this;
}

Scratch::~Scratch() {
  std::free(bytes_);
}

void Scratch::release() {
  std::free(std::exchange(bytes_, nullptr));
  capacity_ = 0;
}

MutableByteView Scratch::of(std::size_t size) {
  if (size > capacity_) {
    release();
    const bool large = size >= kHugePage;
    const std::size_t unit = large ? kHugePage : std::size_t{64};
    const std::size_t rounded = rounded_up(size, unit);
    bytes_ = static_cast<std::byte*>(std::aligned_alloc(unit, rounded));
    if (bytes_ == nullptr) throw std::bad_alloc();
    capacity_ = rounded;
    // A wish: where the kernel has none to give, small pages serve.
    if (large) ::madvise(bytes_, rounded, MADV_HUGEPAGE);
  }
  return {bytes_, size};
}

}  // namespace pgmint

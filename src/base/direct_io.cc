#include "base/direct_io.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <new>

namespace pgmint {
namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;

bool set_direct(const Fd& fd, bool on) {
  const int flags = ::fcntl(fd.get(), F_GETFL);
  if (flags < 0) return false;
  return ::fcntl(fd.get(), F_SETFL, on ? flags | O_DIRECT : flags & ~O_DIRECT) == 0;
}

}  // namespace

bool ask_for_direct_writes(const Fd& fd) { return set_direct(fd, true); }

Status end_direct_writes(const Fd& fd, std::string_view what) {
  if (!set_direct(fd, false)) return errno_error(errno, fmt::format("set flags of {}", what));
  return ok();
}

Status write_at_direct(const Fd& fd, ByteView data, std::uint64_t offset, std::string_view what) {
  while (!data.empty()) {
    const ssize_t n = ::pwrite(fd.get(), data.data(), data.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EINVAL && set_direct(fd, false)) return write_at(fd, data, offset, what);
    if (n < 0) return errno_error(errno, fmt::format("write {}", what));
    data = data.subspan(static_cast<std::size_t>(n));
    offset += static_cast<std::uint64_t>(n);
  }
  return ok();
}

DirectBuffer::~DirectBuffer() { std::free(bytes_); }

void DirectBuffer::reserve(std::size_t capacity) {
  if (capacity <= capacity_) return;
  const bool large = capacity >= kHugePage;
  const std::size_t unit = large ? kHugePage : kDirectAlignment;
  const std::size_t rounded = (capacity + unit - 1) / unit * unit;
  auto* const bytes = static_cast<std::byte*>(std::aligned_alloc(unit, rounded));
  if (bytes == nullptr) throw std::bad_alloc();
  if (large) ::madvise(bytes, rounded, MADV_HUGEPAGE);  // a wish: where the kernel has none to give, small pages serve
  if (size_ != 0) std::memcpy(bytes, bytes_, size_);
  std::free(std::exchange(bytes_, bytes));
  capacity_ = rounded;
}

MutableByteView DirectBuffer::extend(std::size_t n) {
  if (n > capacity_ - size_) reserve(std::max(size_ + n, 2 * capacity_));
  return {bytes_ + std::exchange(size_, size_ + n), n};
}

}  // namespace pgmint

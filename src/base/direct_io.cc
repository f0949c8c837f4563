#include "base/direct_io.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>

namespace pgmint {
namespace {

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

void* allocate_direct(std::size_t size) {
  constexpr std::size_t kHugePage = std::size_t{2} << 20;
  const bool large = size >= kHugePage;
  const std::size_t unit = large ? kHugePage : kDirectAlignment;
  const std::size_t rounded = (size + unit - 1) / unit * unit;
  void* const memory = std::aligned_alloc(unit, rounded);
  if (memory == nullptr) throw std::bad_alloc();
  if (large) ::madvise(memory, rounded, MADV_HUGEPAGE);  // a wish, as in scratch.cc
  return memory;
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

}  // namespace pgmint

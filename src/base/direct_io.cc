#include "base/direct_io.h"

#include <fcntl.h>
#include <fmt/format.h>
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

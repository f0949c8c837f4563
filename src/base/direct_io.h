// Writing past the page cache. What a restore writes is most often more than memory holds: through the cache it costs a copy, memory that
// the kernel must find first, and the cached pages of the server beside it. A wish: where a file system has no direct I/O, or a write does not
// suit it, the cache serves.
#pragma once

#include "base/file.h"

namespace pgmint {

/// Offsets, sizes and addresses of direct writes are multiples of this.
inline constexpr std::size_t kDirectAlignment = 4096;

/// Asks for direct writes from now on. False where the file system has none (tmpfs, some FUSE).
bool ask_for_direct_writes(const Fd& fd);

/// pwrite(2) of all of it, from and to aligned places. @errors Io
Status write_at_direct(const Fd& fd, ByteView data, std::uint64_t offset, std::string_view what);

}  // namespace pgmint

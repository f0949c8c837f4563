// Writing past the page cache. What a backup or a restore writes is most often more than memory holds: through the cache it costs a copy, memory
// that the kernel must find first, and the cached pages of the server beside it. A wish: where a file system has no direct I/O, or a write does
// not suit it, the cache serves.
#pragma once

#include <cstdlib>
#include <new>
#include <vector>

#include "base/file.h"

namespace pgmint {

/// Offsets, sizes and addresses of direct writes are multiples of this.
inline constexpr std::size_t kDirectAlignment = 4096;

/// Asks for direct writes from now on. False where the file system has none (some FUSE).
bool ask_for_direct_writes(const Fd& fd);
/// Writes through the cache again. @errors Io
Status end_direct_writes(const Fd& fd, std::string_view what);

/// pwrite(2) of all of it, from and to aligned places. @errors Io
Status write_at_direct(const Fd& fd, ByteView data, std::uint64_t offset, std::string_view what);

/// Memory that direct writes can start from; large blocks ask for huge pages, which also are fewer for the kernel to pin.
void* allocate_direct(std::size_t size);

template <class T>
struct DirectAllocator {
  using value_type = T;
  DirectAllocator() = default;
  template <class U>
  DirectAllocator(const DirectAllocator<U>&) {}
  T* allocate(std::size_t n) { return static_cast<T*>(allocate_direct(n * sizeof(T))); }
  void deallocate(T* p, std::size_t) { std::free(p); }
  bool operator==(const DirectAllocator&) const { return true; }
};

/// Bytes whose first stands where a direct write can start.
using DirectBytes = std::vector<std::byte, DirectAllocator<std::byte>>;
inline void append(DirectBytes& to, ByteView what) { to.insert(to.end(), what.begin(), what.end()); }

}  // namespace pgmint

// Writing past the page cache. What a backup or a restore writes is most often more than memory holds: through the cache it costs a copy, memory
// that the kernel must find first, and the cached pages of the server beside it. A wish: where a file system has no direct I/O, or a write does
// not suit it, the cache serves.
#pragma once

#include <algorithm>
#include <utility>

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

/// Bytes that grow at their end, in memory from whose start direct writes can be made. What is added is not zeroed first, and a recycled
/// buffer costs no page faults. Not thread-safe.
class DirectBuffer {
 public:
  DirectBuffer() = default;
  DirectBuffer(DirectBuffer&& other) noexcept { swap(other); }
  DirectBuffer& operator=(DirectBuffer&& other) noexcept {
    swap(other);
    return *this;
  }
  ~DirectBuffer();

  void clear() { size_ = 0; }
  /// Makes room for so many bytes in all.
  void reserve(std::size_t capacity);
  /// `n` more bytes of undefined content, for the caller to write before the buffer is used again.
  MutableByteView extend(std::size_t n);
  void append(ByteView what) { std::ranges::copy(what, extend(what.size()).begin()); }

  std::size_t size() const { return size_; }
  const std::byte* data() const { return bytes_; }
  const std::byte* begin() const { return bytes_; }
  const std::byte* end() const { return bytes_ + size_; }

 private:
  void swap(DirectBuffer& other) noexcept {
    std::swap(bytes_, other.bytes_);
    std::swap(size_, other.size_);
    std::swap(capacity_, other.capacity_);
  }
  std::byte* bytes_ = nullptr;
  std::size_t size_ = 0, capacity_ = 0;
};

}  // namespace pgmint

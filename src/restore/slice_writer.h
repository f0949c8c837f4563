// Extents of one file, one after the other, as few writes past the page cache as there can be.
#pragma once

#include <fcntl.h>

#include <cerrno>

#include "base/direct_io.h"
#include "repository/segment_map.h"

namespace pgmint::restore {

/// Borrows everything. Not thread-safe: one per slice. flush() at the end; destroying an unflushed writer loses what it holds.
class SliceWriter {
 public:
  /// @param buffer  aligned, at least as large as the largest record
  /// @param direct  whether `fd` was asked for direct writes: then extents are gathered, since each write waits for the disk
  SliceWriter(const Fd& fd, bool direct, std::string_view what, MutableByteView buffer, std::uint64_t offset)
      : fd_(fd), direct_(direct), what_(what), buffer_(buffer), offset_(offset) {}

  /// Asks the file system for the blocks of a slice without holes at once: writes into them then need not wait for each other. A wish,
  /// unless there is no room for them. @errors Io (no space)
  Status reserve(const repository::SegmentMap& map, std::uint64_t first, std::uint64_t last) {
    std::uint64_t size = 0;
    for (auto i = first; i < last; ++i) {
      if (!map.extents[i].location) return ok();
      size += map.extent_length(i);
    }
    if (!direct_ || ::fallocate(fd_.get(), 0, static_cast<off_t>(offset_), static_cast<off_t>(size)) == 0) return ok();
    if (errno != ENOSPC && errno != EDQUOT) return ok();  // interrupted, not supported: writing allocates too, and tells
    return errno_error(errno, "reserve space for " + what_);
  }

  /// Where the next `size` bytes of the file are to be put, before anything else is asked of the writer. @errors Io
  Result<MutableByteView> next(std::size_t size) {
    if (filled_ != 0 && (!direct_ || filled_ + size > buffer_.size())) TRY(flush());
    const auto place = buffer_.subspan(filled_, size);
    filled_ += size;
    return place;
  }

  /// Leaves `size` bytes of the file as they are. @errors Io
  Status skip(std::uint64_t size) {
    TRY(flush());
    offset_ += size;
    return ok();
  }

  /// @errors Io
  Status flush() {
    const auto data = ByteView(buffer_).first(std::exchange(filled_, 0));
    const auto at = std::exchange(offset_, offset_ + data.size());
    if (data.empty()) return ok();
    return direct_ ? write_at_direct(fd_, data, at, what_) : write_at(fd_, data, at, what_);
  }

 private:
  const Fd& fd_;
  bool direct_;
  std::string what_;
  MutableByteView buffer_;
  std::uint64_t offset_;
  std::size_t filled_ = 0;
};

}  // namespace pgmint::restore

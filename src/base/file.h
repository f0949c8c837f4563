// The local file system with errors as values: descriptors, whole reads and writes, durable publication.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <utility>

#include "base/bytes.h"
#include "base/error.h"

namespace pgmint {

namespace fs = std::filesystem;

/// Owns one descriptor. close() reports errors; the destructor is for paths that have already failed, or only read.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept;
  ~Fd();
  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  int release() { return std::exchange(fd_, -1); }
  Status close(std::string_view what);

 private:
  int fd_ = -1;
};

/// open(2) with O_CLOEXEC; EINTR is retried. A missing file is Errc::NotFound. A new file is its directory's owner's (base/owner.h). @errors NotFound, Key, Io
Result<Fd> open_file(const fs::path& path, int flags, mode_t mode = 0600);
/// As above, absence as a value.
Result<std::optional<Fd>> open_if_exists(const fs::path& path, int flags);

/// Reads until `out` is full or the file ends; returns the bytes read. @errors Io
Result<std::size_t> read_at(const Fd& fd, MutableByteView out, std::uint64_t offset, std::string_view what);
/// Writes all of it. @errors Io
Status write_at(const Fd& fd, ByteView data, std::uint64_t offset, std::string_view what);
/// Writes all of it at the descriptor's position. @errors Io
Status write_all(const Fd& fd, ByteView data, std::string_view what);
/// fsync(2). Never retried: after a failure the kernel may have dropped the pages. @errors Io
Status sync_file(const Fd& fd, std::string_view what);
/// Makes names inside `directory` durable. @errors Io
Status sync_directory(const fs::path& directory);

/// The whole file, at most `limit` bytes. @errors NotFound, Key, Io, ResourceLimit (larger than limit)
Result<Bytes> read_file(const fs::path& path, std::uint64_t limit);
Result<std::string> read_text_file(const fs::path& path, std::uint64_t limit);
/// lstat(2), absence as a value. @errors Key, Io
Result<std::optional<struct stat>> stat_if_exists(const fs::path& path);
/// mkdir(2); a new directory goes to its parent's owner (above). False: something of that name is there. @errors NotFound, Key, Io
Result<bool> make_directory(const fs::path& path, mode_t mode);
/// mkdir -p with `mode`; each new directory's parent is fsynced. @errors Key, Io
Status create_directories(const fs::path& path, mode_t mode);
/// Writes beside `path`, fsyncs, renames over it, fsyncs the directory. @errors Key, Io
Status write_file_durably(const fs::path& path, ByteView data, mode_t mode);
/// As above, but refuses to replace. @errors Precondition (exists), Key, Io
Status create_file_durably(const fs::path& path, ByteView data, mode_t mode);
/// Calls `visit(name, d_type)` for every entry but . and .. in no order; the first failure ends it. @errors NotFound, Key, Io
Status list_directory(const fs::path& path, const std::function<Status(const std::string&, unsigned char)>& visit);
/// Free bytes for an ordinary user on the file system of `path` (or its nearest existing parent). @errors Io
Result<std::uint64_t> free_space(const fs::path& path);

}  // namespace pgmint

#include "base/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>

#include "base/owner.h"
#include "base/random.h"

namespace pgmint {

Fd& Fd::operator=(Fd&& other) noexcept {
  if (this != &other) {
    if (fd_ >= 0) ::close(fd_);
    fd_ = std::exchange(other.fd_, -1);
  }
  return *this;
}

Fd::~Fd() {
  if (fd_ >= 0) ::close(fd_);
}

Status Fd::close(std::string_view what) {
  if (fd_ < 0) return ok();
  if (::close(std::exchange(fd_, -1)) != 0 && errno != EINTR) return errno_error(errno, fmt::format("close {}", what));
  return ok();
}

static fs::path directory_of(const fs::path& path) { return path.has_parent_path() ? path.parent_path() : fs::path("."); }

/// By the directory as it was opened, and nothing but a new file: links of the directory's owner lead root nowhere. Invalid: there is no such directory, or the name is taken.
static Fd create_for_owner(const fs::path& path, int flags, mode_t mode) {
  const Fd directory(::open(directory_of(path).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!directory.valid()) return {};
  for (;;) {
    Fd made(make_for_owner_of(directory.get(), [&] { return ::openat(directory.get(), path.filename().c_str(), flags | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode); }));
    if (made.valid() || errno != EINTR) return made;
  }
}

Result<Fd> open_file(const fs::path& path, int flags, mode_t mode) {
  if ((flags & O_CREAT) != 0 && ::geteuid() == 0)
    if (auto made = create_for_owner(path, flags, mode); made.valid()) return made;
  for (;;) {
    int fd = ::open(path.c_str(), flags | O_CLOEXEC, mode);
    if (fd >= 0) return Fd(fd);
    if (errno == EINTR) continue;
    return errno_error(errno, fmt::format("open {}", path.string()), errno == ENOENT ? Errc::NotFound : Errc::Io);
  }
}

Result<std::optional<Fd>> open_if_exists(const fs::path& path, int flags) {
  auto fd = open_file(path, flags);
  if (fd) return std::optional<Fd>(std::move(*fd));
  if (fd.failure().code() == Errc::NotFound) return std::optional<Fd>();
  return std::move(fd).failure();
}

Result<std::size_t> read_at(const Fd& fd, MutableByteView out, std::uint64_t offset, std::string_view what) {
  std::size_t done = 0;
  while (done < out.size()) {
    ssize_t n = ::pread(fd.get(), out.data() + done, out.size() - done, static_cast<off_t>(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno_error(errno, fmt::format("read {}", what));
    if (n == 0) break;
    done += static_cast<std::size_t>(n);
  }
  return done;
}

Status write_at(const Fd& fd, ByteView data, std::uint64_t offset, std::string_view what) {
  while (!data.empty()) {
    ssize_t n = ::pwrite(fd.get(), data.data(), data.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno_error(errno, fmt::format("write {}", what));
    data = data.subspan(static_cast<std::size_t>(n));
    offset += static_cast<std::uint64_t>(n);
  }
  return ok();
}

Status write_all(const Fd& fd, ByteView data, std::string_view what) {
  while (!data.empty()) {
    ssize_t n = ::write(fd.get(), data.data(), data.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno_error(errno, fmt::format("write {}", what));
    data = data.subspan(static_cast<std::size_t>(n));
  }
  return ok();
}

Status sync_file(const Fd& fd, std::string_view what) {
  if (::fsync(fd.get()) != 0) return errno_error(errno, fmt::format("fsync {}", what));
  return ok();
}

Status sync_directory(const fs::path& directory) {
  auto fd = TRY(open_file(directory, O_RDONLY | O_DIRECTORY));
  if (::fsync(fd.get()) != 0) return errno_error(errno, fmt::format("fsync {}", directory.string()));
  return ok();
}

Result<Bytes> read_file(const fs::path& path, std::uint64_t limit) {
  auto fd = TRY(open_file(path, O_RDONLY));
  Bytes data;
  std::size_t chunk = 64 << 10;
  for (;;) {
    std::size_t old = data.size();
    data.resize(old + chunk);
    std::size_t n = TRY(read_at(fd, MutableByteView(data).subspan(old), old, path.string()));
    data.resize(old + n);
    if (data.size() > limit)
      return Error(Errc::ResourceLimit, fmt::format("{} is larger than {} bytes", path.string(), limit));
    if (n < chunk) return data;
    chunk *= 2;
  }
}

Result<std::string> read_text_file(const fs::path& path, std::uint64_t limit) {
  auto data = TRY(read_file(path, limit));
  return std::string(as_text(data));
}

Result<std::optional<struct stat>> stat_if_exists(const fs::path& path) {
  struct stat st {};
  if (::lstat(path.c_str(), &st) == 0) return std::optional(st);
  if (errno == ENOENT || errno == ENOTDIR) return std::optional<struct stat>();
  return errno_error(errno, fmt::format("stat {}", path.string()));
}

Result<bool> make_directory(const fs::path& path, mode_t mode) {
  const auto named = path.has_filename() ? path : path.parent_path();  // "x/" is x
  const Fd directory(::open(directory_of(named).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  const auto leaf = named == "/" ? fs::path(".") : named.filename();
  if (directory.valid() && make_for_owner_of(directory.get(), [&] { return ::mkdirat(directory.get(), leaf.c_str(), mode); }) == 0) return true;
  if (errno == EEXIST) return false;
  return errno_error(errno, fmt::format("create directory {}", path.string()), errno == ENOENT ? Errc::NotFound : Errc::Io);
}

Status create_directories(const fs::path& path, mode_t mode) {
  if (path.empty()) return ok();
  auto made = make_directory(path, mode);
  bool is_in_new_one = false;
  if (!made && made.failure().code() == Errc::NotFound && path.has_parent_path() && path.parent_path() != path) {
    TRY(create_directories(path.parent_path(), mode));
    is_in_new_one = true;
    made = make_directory(path, mode);
  }
  if (!made) {
    auto failure = std::move(made).failure();
    return failure.code() == Errc::NotFound ? std::move(failure).with_code(Errc::Io) : failure;  // its parent went meanwhile
  }
  struct stat st {};
  if (!*made && (::stat(path.c_str(), &st) != 0 || !S_ISDIR(st.st_mode)))
    return Error(Errc::Precondition, fmt::format("{} exists and is not a directory", path.string()));
  // Also where another process was faster: it may not have got to its fsync yet.
  return *made || is_in_new_one ? sync_directory(directory_of(path)) : ok();
}

static Result<fs::path> write_beside(const fs::path& path, ByteView data, mode_t mode) {
  ByteArray<8> nonce;
  system_random().fill(nonce);
  fs::path temporary = path;
  temporary += ".tmp-" + to_hex(nonce);
  auto written = [&]() -> Status {
    auto fd = TRY(open_file(temporary, O_WRONLY | O_CREAT | O_EXCL, mode));
    TRY(write_all(fd, data, temporary.string()));
    if (::fchmod(fd.get(), mode) != 0) return errno_error(errno, fmt::format("chmod {}", temporary.string()));
    TRY(sync_file(fd, temporary.string()));
    return fd.close(temporary.string());
  }();
  if (!written) {
    ::unlink(temporary.c_str());
    return std::move(written).failure();
  }
  return temporary;
}

Status write_file_durably(const fs::path& path, ByteView data, mode_t mode) {
  auto temporary = TRY(write_beside(path, data, mode));
  if (::rename(temporary.c_str(), path.c_str()) != 0) {
    int e = errno;
    ::unlink(temporary.c_str());
    return errno_error(e, fmt::format("rename to {}", path.string()));
  }
  return sync_directory(directory_of(path));
}

Status create_file_durably(const fs::path& path, ByteView data, mode_t mode) {
  auto temporary = TRY(write_beside(path, data, mode));
  int linked = ::link(temporary.c_str(), path.c_str());
  int e = errno;
  ::unlink(temporary.c_str());
  if (linked != 0) {
    if (e == EEXIST) return Error(Errc::Precondition, fmt::format("{} exists already", path.string()));
    return errno_error(e, fmt::format("create {}", path.string()));
  }
  return sync_directory(directory_of(path));
}

Status list_directory(const fs::path& path, const std::function<Status(const std::string&, unsigned char)>& visit) {
  DIR* dir = ::opendir(path.c_str());
  if (dir == nullptr)
    return errno_error(errno, fmt::format("list {}", path.string()), errno == ENOENT ? Errc::NotFound : Errc::Io);
  struct Closer {
    DIR* dir;
    ~Closer() { ::closedir(dir); }
  } closer{dir};
  for (;;) {
    errno = 0;
    const dirent* entry = ::readdir(dir);
    if (entry == nullptr) {
      if (errno != 0) return errno_error(errno, fmt::format("list {}", path.string()));
      return ok();
    }
    std::string name(entry->d_name);
    if (name == "." || name == "..") continue;
    TRY(visit(name, entry->d_type));
  }
}

Result<std::uint64_t> free_space(const fs::path& path) {
  fs::path probe = path.empty() ? fs::path(".") : path;
  for (;;) {
    struct statvfs info {};
    if (::statvfs(probe.c_str(), &info) == 0) return std::uint64_t{info.f_bavail} * info.f_frsize;
    if (errno != ENOENT || !probe.has_parent_path() || probe.parent_path() == probe)
      return errno_error(errno, fmt::format("statvfs {}", probe.string()));
    probe = probe.parent_path();
  }
}

}  // namespace pgmint
